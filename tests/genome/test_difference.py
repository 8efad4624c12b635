"""Diffs of two genomes."""

import subprocess

from agent.genome import Genome, diff
from tests.genome.programs import SMALL_MODULE


def test_a_diff_can_be_applied_by_git(tmp_path):
    new = SMALL_MODULE.replace("return x", "return -x").rstrip("\n")
    (tmp_path / "m.py").write_text(SMALL_MODULE)
    patch = diff(Genome({"m.py": SMALL_MODULE}), Genome({"m.py": new}))
    subprocess.run(["git", "apply", "-"], input=patch, text=True, cwd=tmp_path, check=True)
    assert (tmp_path / "m.py").read_text() == new
    assert diff(Genome({"m.py": new}), Genome({"m.py": new})) == ""

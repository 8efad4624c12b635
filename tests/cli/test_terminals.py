"""The commands on terminals of several widths: what a user of a split screen reads."""

import re
import shutil
from pathlib import Path

import pytest

from tests import terminal

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def run(evolve, tmp_path_factory):
    home = tmp_path_factory.mktemp("run")
    folder = home / "r"
    shutil.copytree(ROOT / "seeds/tiny_cnn", home / "tiny_cnn")  # its branches are made there, not in this repository
    small = ("--set", "budget.epochs=1", "--variants", 4, "--set", "noise.trainings=1")
    done = evolve("run", home / "tiny_cnn", "--llm", "offline", "--out", folder, *small)
    assert done.returncode == 0, done.stderr
    assert "data digits: 10 classes" in done.stderr and "to validate" in done.stderr
    return folder


def on_terminal(columns, *arguments):
    """What the command shows on a terminal of so many columns, without colours."""
    shown, code = terminal.on_terminal(*arguments, columns=columns)
    assert code == 0, shown
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown).replace("\r", "")


@pytest.mark.parametrize("columns", [80, 40])
def test_ids_values_and_costs_are_whole(run, columns):
    listed, status = on_terminal(columns, "show", run), on_terminal(columns, "status", run)
    for shown in (listed, status):
        assert max(map(len, shown.splitlines())) <= columns
        values = [line.rpartition(")")[0] for line in shown.splitlines() if "sigma" in line]  # an intention behind may be cut
        assert "…" not in "".join(values)
    assert all(f"000{n}" in listed for n in range(1, 5))
    assert re.search(r"accuracy 0\.\d+", listed) and re.search(r"parameters [\d,]+", listed)
    assert "* is on the front" in listed
    assert "isolation" in status and "USD" in status.replace("\n", " ")

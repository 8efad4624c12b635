"""Programs of the kinds that people publish, small and our own, evolved as their owner would: the command, in a git repository.

Each folder is a project with an `evolve.toml` beside its files: the `arguments` of `evolve run`, what the run `says` at its
start, names that it may `never` touch, and with `refused` another command line that ends at once with a remedy.
"""

import json
import math
import os
import re
import shutil
import tomllib
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.projects.pictures import write_pictures
from tests.repositories import git, user_state

pytestmark = pytest.mark.slow

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
PROJECTS = sorted(path.parent.name for path in HERE.glob("*/evolve.toml"))
FEW = ["--llm", "offline", "--variants", "2", "--slots", "1", "--set", "noise.trainings=0", "--set", "search.first_population=2"]


def table(name):
    return tomllib.loads((HERE / name / "evolve.toml").read_text())


class Output(str):
    """What a command printed, with its exit `code`."""

    code = 0


@dataclass(frozen=True)
class Project:
    """A copy of a project in a repository of its own."""

    folder: Path
    expected: dict

    def run(self, evolve, arguments, out, *, installed=True):
        """`installed`: as `pip install -e .` makes the project known, where it has a folder for that."""
        own = self.expected.get("installed") if installed else None
        paths = os.pathsep.join([str(ROOT), *([str(self.folder / own)] if own else [])])
        environment = {"PYTHONPATH": paths, "PYTHONSAFEPATH": "1", "OMP_NUM_THREADS": "1", "COLUMNS": "400"}
        done = evolve("run", *FEW, *arguments, "--out", out, cwd=self.folder, env=environment)
        text = Output(done.stdout + done.stderr)
        text.code = done.returncode
        assert "Traceback" not in text, text
        return text


@pytest.fixture(params=PROJECTS)
def project(request, tmp_path):
    expected, folder = table(request.param), tmp_path / "project"
    shutil.copytree(HERE / request.param, folder, ignore=shutil.ignore_patterns("__pycache__", "evolve.toml"))
    if "images" in expected:
        write_pictures(folder / "colours", *expected["images"])
    git(folder, "init", "-q", "-b", "trunk")
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "The project")
    return Project(folder, expected)


def test_it_evolves(project, evolve, tmp_path):
    before, out, expected = user_state(project.folder), tmp_path / "run", project.expected
    text = project.run(evolve, expected["arguments"], out)
    assert text.code == 0, text
    for words in expected.get("says", ()):
        assert words in text, words
    if "--command" in expected["arguments"]:
        assert re.search(r"(?i)^evolves:", text, re.MULTILINE) and "self-reported" in text
    assert user_state(project.folder) == before
    variants = json.loads(evolve("show", out, "--json").stdout)
    variants = [one for one in variants if one["id"] != "seed"]
    trained = [one for one in variants if one["outcome"] == "trained"]
    assert trained, text
    names = json.loads(evolve("status", out, "--json").stdout)["objectives"]
    for one in trained:
        assert all(math.isfinite(one["fitness"][name]) for name in names)
        assert one["branch"]
    lost = [one for one in variants if one["outcome"] in ("contract", "answer") or "seed" in one["reason"]]
    assert not lost, f"rules that do not fit cost a child: {lost}"
    for name in expected.get("never", ()):
        assert not [one for one in variants if name in one["block"]]


@pytest.mark.parametrize("project", [name for name in PROJECTS if "refused" in table(name)], indirect=True)
def test_what_cannot_run_is_refused_with_the_remedy(project, evolve, tmp_path):
    refused = project.expected["refused"]
    text = project.run(evolve, refused["arguments"], tmp_path / "run", installed=False)
    assert text.code in (1, 2)
    for words in refused["says"]:
        assert words in " ".join(text.split()), words

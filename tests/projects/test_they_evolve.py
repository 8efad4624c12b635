"""Programs of the kinds that people publish, small and our own, evolved as their owner would: the command, in a git repository.

Each folder is a project with an `evolve.toml` beside its files: the `arguments` of `evolve run`, what the run `says` at its
start, names that it may `never` touch, and with `refused` another command line that ends at once with a remedy.
"""

import json
import os
import re
import shutil
import tomllib
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.projects.pictures import write_pictures
from tests.repositories import git, make_repository, user_state

pytestmark = pytest.mark.slow

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
PROJECTS = sorted(path.parent.name for path in HERE.glob("*/evolve.toml"))
FEW = ["--llm", "offline", "--variants", "2", "--slots", "1", "--set", "noise.trainings=0", "--set", "search.first_population=2"]


@dataclass(frozen=True)
class Project:
    """A copy of a project in a repository of its own."""

    folder: Path
    expected: dict

    @property
    def environment(self):
        installed = self.expected.get("installed")
        paths = [str(ROOT), *([str(self.folder / installed)] if installed else [])]
        return {"PYTHONPATH": os.pathsep.join(paths), "PYTHONSAFEPATH": "1", "OMP_NUM_THREADS": "1"}


@pytest.fixture(params=PROJECTS)
def project(request, tmp_path):
    expected = tomllib.loads((HERE / request.param / "evolve.toml").read_text())
    folder = make_repository(tmp_path / "project", {})
    shutil.copytree(HERE / request.param, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__", "evolve.toml"))
    if "images" in expected:
        write_pictures(folder / "colours", *expected["images"])
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "The project")
    return Project(folder, expected)


def test_it_evolves(project, evolve, tmp_path):
    before, out = user_state(project.folder), tmp_path / "run"
    done = evolve(
        "run", *project.expected["arguments"], *FEW, "--out", out, cwd=project.folder, env=project.environment, stdin=None
    )
    text = done.stdout + done.stderr
    assert done.returncode == 0, text
    assert "Traceback" not in text
    for words in project.expected.get("says", ()):
        assert words in text, f"{words!r} is not in:\n{text}"
    assert user_state(project.folder) == before
    shown = json.loads(evolve("show", out, "--json", env=project.environment).stdout)
    print(json.dumps(shown)[:3000])

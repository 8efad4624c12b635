"""Runs the small inputs that lie outside of the repository, each as its own README says, on a copy of its folder.

They lie in `shared/cases` beside the repository or above it, or where EVOLVE_CASES says. Without them these tests are skipped.
A test names its folder, runs a mode of its `run.sh`, and checks what the README calls right:

    def test_it(case):
        done = case("git/worktree-filters").run("eol")
        assert "Traceback" not in done.output
"""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def cases_folder():
    """The folder of the cases; None if there is none."""
    named = os.environ.get("EVOLVE_CASES")
    places = [Path(named)] if named else [folder / "shared" / "cases" for folder in ROOT.parents]
    return next((place for place in places if place.is_dir()), None)


def pytest_collection_modifyitems(items):
    """All of them are slow."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.slow)


@dataclass(frozen=True)
class Done:
    """What `run.sh` printed."""

    output: str
    """Both streams, in their order."""
    scratch: Path
    """The folder that it worked in: its `$W`."""

    @property
    def exit_code(self):
        """That of `evolve`, as the script prints it."""
        return int(re.search(r"exit code (\d+)", self.output)[1])

    @property
    def requests(self):
        """How many requests reached the server of the case."""
        return int(re.search(r"reached the server: (\d+)", self.output)[1])

    @property
    def run(self):
        """The run folder."""
        return self.scratch / "run"

    def counts(self):
        """The numbers of the line `proposed 3  invalid 0 ...` at the end of the run."""
        line = re.findall(r"^proposed \d+.*$", self.output, re.MULTILINE)[-1]
        return {name: int(number) for name, number in re.findall(r"(\w+) (\d+)", line)}


class Case:
    """A copy of a case's folder."""

    def __init__(self, folder, environment):
        self.folder, self.environment = folder, environment
        self._runs = 0

    def run(self, *arguments, timeout=170, **environment):
        """Run `run.sh` with these arguments and variables; a test fails if it takes longer than `timeout` seconds."""
        self._runs += 1
        scratch = self.folder.parent / f"scratch-{self._runs}"
        scratch.mkdir()
        env = {**self.environment, "TMPDIR": str(scratch), "PORT": str(free_port()), **environment}
        done = subprocess.run(
            ["bash", "./run.sh", *arguments], cwd=self.folder, env=env, timeout=timeout, check=False,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        made = [path for path in scratch.glob("tmp.*") if path.is_dir()]
        return Done(done.stdout.decode(errors="replace"), made[0])

    def evolve(self, *arguments, **environment):
        """Run the command itself: (exit code, both streams)."""
        env = {**self.environment, **environment}
        done = subprocess.run(
            [env["EVOLVE"], *map(str, arguments)], cwd=self.folder, env=env, timeout=150, check=False,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        return done.returncode, done.stdout

    def ask(self, *arguments):
        """What the command prints with `--json`."""
        code, text = self.evolve(*arguments, "--json")
        assert "Traceback" not in text
        return code, json.loads(text[min(i for i in (text.find("{"), text.find("[")) if i >= 0) :])

    @contextmanager
    def server(self, mode):
        """The server of the case by itself: its address for `--api-base`."""
        port = free_port()
        command = [sys.executable, "server.py", str(port), mode]
        with subprocess.Popen(command, cwd=self.folder, stdout=subprocess.DEVNULL) as server:
            try:
                wait_for(port)
                yield f"http://127.0.0.1:{port}/v1"
            finally:
                server.kill()


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def wait_for(port):
    for _ in range(200):
        with socket.socket() as tried:
            if tried.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise AssertionError("the server of the case does not start")


@pytest.fixture
def case(tmp_path, cache):
    """`case("git/worktree-filters")`: a copy of the folder of a case."""
    cases = cases_folder()
    if cases is None:
        pytest.skip("there is no folder shared/cases beside the repository")
    command = tmp_path / "evolve"
    command.write_text(f'#!/bin/bash\nexec "{sys.executable}" -m agent.cli "$@"\n')
    command.chmod(0o755)
    environment = {
        **os.environ, "EVOLVE": str(command), "EVOLVE_CACHE": str(cache), "PYTHONPATH": str(ROOT), "COLUMNS": "200",
    }  # fmt: skip

    def copied(name):
        place = tmp_path / "case"
        shutil.copytree(cases / name, place, dirs_exist_ok=True)
        return Case(place, environment)

    return copied

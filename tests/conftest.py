import json
import os
import shutil
import socket
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

ROOT = Path(__file__).resolve().parents[1]
SECRET = "5e" * 16
"""Of the data sets in `cache`: trainings depend on the order of their images."""


settings.register_profile("calm", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("calm")  # a busy machine is no reason to fail


def pytest_configure(config):
    """No test reaches beyond this machine, and no library of this process tries to."""
    os.environ.update({"HF_HUB_OFFLINE": "1", "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull})
    for name in [n for n in os.environ if n.endswith("_API_KEY") or n.lower().endswith("_proxy")]:
        del os.environ[name]
    connect = socket.socket.connect

    def only_loopback(self, address):
        inet = self.family in (socket.AF_INET, socket.AF_INET6)
        if inet and address[0] not in ("127.0.0.1", "::1", "localhost"):
            raise OSError(f"tests may not reach the network: {address}")
        return connect(self, address)

    socket.socket.connect = only_loopback


@pytest.fixture(scope="session")
def cache(tmp_path_factory):
    """Decoded data sets, shared by the tests of one process, in orders that are the same in every session."""
    folder = tmp_path_factory.mktemp("cache")
    (folder / "secret").write_text(SECRET)
    return folder


@pytest.fixture(scope="session")
def evolve(cache):
    """Runs the command as a user would: `evolve("status", run, cwd=...)` gives the completed process."""

    def call(*arguments, cwd=ROOT, timeout=150, env=None, **options):
        environment = {**os.environ, "EVOLVE_CACHE": str(cache), "PYTHONPATH": str(ROOT), "COLUMNS": "200", **(env or {})}
        command = [sys.executable, "-m", "agent.cli", *map(str, arguments)]
        return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=timeout, **options)

    return call


class ScratchCopy:
    """A copy of the sources that a test may add to, and the command that runs them."""

    def __init__(self, root, evolve):
        self.root, self._evolve = root, evolve
        self.added = {}
        """Path -> number of lines that `write` and `insert` put there."""
        self.messages = ""
        """What the last command wrote to stderr."""
        for folder in ("agent", "prompts", "sandbox", "seeds"):
            shutil.copytree(ROOT / folder, root / folder, ignore=shutil.ignore_patterns("__pycache__"))

    def write(self, path, text):
        """A new file."""
        assert not (self.root / path).exists()
        (self.root / path).parent.mkdir(exist_ok=True)
        (self.root / path).write_text(text)
        self.added[path] = len(text.splitlines())

    def insert(self, path, before, text):
        """Add lines in front of the one line that begins with `before`, indented as that one."""
        lines = (self.root / path).read_text().splitlines()
        (at,) = [number for number, one in enumerate(lines) if one.strip().startswith(before)]
        lines.insert(at, textwrap.indent(text, lines[at][: len(lines[at]) - len(lines[at].lstrip())]))
        (self.root / path).write_text("\n".join(lines) + "\n")
        self.added[path] = len(text.splitlines())

    def evolve(self, *arguments):
        """Run the command of the copy in its root. Returns its stdout; fails the test if the command does."""
        done = self._evolve(*arguments, cwd=self.root, env={"PYTHONPATH": str(self.root)})
        assert done.returncode == 0, done.stderr
        self.messages = done.stderr
        return done.stdout

    def ask(self, *arguments):
        """What the command prints with `--json`."""
        return json.loads(self.evolve(*arguments, "--json"))


@pytest.fixture
def scratch_copy(evolve, tmp_path):
    """For tests that extend the project as a contributor would: `scratch_copy.write`, `.insert`, `.evolve`, `.ask`."""
    return ScratchCopy(tmp_path / "scratch", evolve)


@pytest.fixture
def plain_git(monkeypatch, tmp_path):
    """No setting of this machine, and no identity: git would have to guess one."""
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)
    (tmp_path / "home").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.setenv("GIT_CONFIG_SYSTEM", os.devnull)

import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

from agent.core.errors import MachineError, UserError
from agent.run.folder import RunFolder, is_locked, locked
from tests.repositories import git, make_repository

ROOT = Path(__file__).resolve().parents[2]
HOLD = """
import subprocess, sys
from pathlib import Path
from agent.run.folder import locked
with locked(Path(sys.argv[1])):
    child = subprocess.Popen(["sleep", "60"])
    print(child.pid, flush=True)
    sys.stdin.read()
child.kill()
"""

LOOK = """
import sys
from pathlib import Path
from agent.run.folder import is_locked
for turn in range(10**9):
    is_locked(Path(sys.argv[1]))
    if turn == 1000:
        print(flush=True)
"""


@contextmanager
def holder(path):
    """Another process with the lock and a child process, as a run has: (process, id of the child process)."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", HOLD, str(path)]
    with subprocess.Popen(
        command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        running = int(process.stdout.readline())
        try:
            yield process, running
        finally:
            process.kill()
            if alive(running):
                os.kill(running, signal.SIGKILL)


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.fixture
def path(tmp_path):
    return tmp_path / "lock"


def test_a_second_process_is_refused_with_the_runs_folder(path):
    with holder(path):
        assert is_locked(path)
        with pytest.raises(UserError, match=str(path.parent)), locked(path):
            pytest.fail("two processes hold the lock")
        assert is_locked(path)


def test_the_lock_goes_with_a_process_that_is_killed_even_if_its_children_live_on(path):
    with holder(path) as (process, running):
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert alive(running)
        assert not is_locked(path)
        with locked(path):
            assert is_locked(path)


def test_the_lock_is_given_back_at_the_end_of_the_work(path):
    with holder(path) as (process, _):
        process.stdin.close()
        process.wait()
        with locked(path):
            pass
    assert not is_locked(path)


def test_the_lock_is_given_back_when_the_work_fails(path):
    with pytest.raises(RuntimeError), locked(path):
        raise RuntimeError
    assert not is_locked(path)


def test_a_run_that_never_had_a_lock_is_not_locked_and_asking_makes_none(path):
    assert not is_locked(path)
    assert not path.exists()


def test_looking_is_never_in_the_way_of_taking(path):
    path.touch()
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    watchers = [
        subprocess.Popen([sys.executable, "-c", LOOK, str(path)], env=environment, stdout=subprocess.PIPE)
        for _ in range(2)
    ]
    try:
        for watcher in watchers:
            assert watcher.stdout.readline()
        for _ in range(2000):
            with locked(path):
                pass
    finally:
        for watcher in watchers:
            watcher.kill()
            watcher.communicate()


def test_a_folder_that_cannot_hold_a_lock_is_the_machines_fault(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(MachineError, match="cannot be locked"), locked(tmp_path / "file" / "lock"):
        pass


def test_a_run_is_named_after_its_folder_however_it_is_written(tmp_path, monkeypatch):
    (tmp_path / "night").mkdir()
    monkeypatch.chdir(tmp_path / "night")
    assert {RunFolder(path).name for path in (tmp_path / "night", tmp_path / "night" / ".", type(tmp_path)("."))} == {
        "night"
    }


@pytest.mark.usefixtures("plain_git")
@pytest.mark.parametrize("place", ["runs/first", "results", "models/mine/out"])
def test_a_run_folder_in_a_repository_is_not_staged_by_git_add(tmp_path, place):
    repository = make_repository(tmp_path / "project", {"a.py": "", ".gitignore": "!runs/**\n!*.db\n"})
    folder = RunFolder(repository / place)
    folder.make("")
    folder.guidance.write_text("Be bold.")
    (folder.root / "lineage.git" / "refs").mkdir(parents=True)
    (folder.root / "lineage.git" / "HEAD").write_text("ref: refs/heads/main")
    git(repository, "add", "-A")
    assert git(repository, "status", "--porcelain", "--untracked-files=all") == ""

"""What a process leaves in the temporary folder: nothing at its end, and nothing after the next one if it was killed."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
MAKES = """
import sys, time
from sandbox.launch import temporary
folder = temporary.folder()
deep = folder + "/a/b"
import os
os.makedirs(deep)
open(deep + "/file", "w").write("x")
print(folder, flush=True)
if "ends" in sys.argv:
    temporary.close()
else:
    time.sleep(60)
"""


@pytest.fixture
def begin(tmp_path):
    started = []

    def start(*arguments):
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path)}
        command = [sys.executable, "-c", MAKES, *arguments]
        process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True, cwd=tmp_path)
        started.append(process)
        return process, Path(process.stdout.readline().strip())

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_nothing_is_left_at_the_end(begin, tmp_path):
    process, _ = begin("ends")
    assert process.wait() == 0 and not list(tmp_path.iterdir())


def test_the_next_process_clears_what_a_killed_one_left_and_nothing_of_a_living_one(begin, tmp_path):
    killed, left = begin()
    _, alive = begin()
    foreign = tmp_path / "evolve-of-somebody"
    foreign.mkdir()
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    assert left.is_dir()
    begin("ends")[0].wait()
    assert sorted(tmp_path.iterdir()) == sorted([alive, foreign])


def test_a_link_that_looks_like_ours_is_left_alone(begin, tmp_path):
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "file").write_text("mine")
    (tmp_path / "evolve-run-link").symlink_to(precious)
    begin("ends")[0].wait()
    assert (precious / "file").read_text() == "mine" and (tmp_path / "evolve-run-link").is_symlink()

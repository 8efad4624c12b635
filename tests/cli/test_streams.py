"""Commands whose standard streams are closed, full, without UTF-8, or read by a program that has ended."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
COMMANDS = ["status run", "show run", "show run --json", "--help"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("streams")
    (folder / "run").mkdir()
    shutil.copy(ROOT / "tests/journal/data/earlier_run.db", folder / "run/journal.db")
    return folder


def shell(folder, line, **environment):
    """Runs a line of bash in which `evolve` is the command."""
    script = f'set -o pipefail; evolve() {{ "{sys.executable}" -m agent.cli "$@"; }}; {line}'
    env = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    return subprocess.run(["bash", "-c", script], cwd=folder, env=env, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_full_disk_is_one_sentence_and_code_1(folder, command):
    done = shell(folder, f"evolve {command} > /dev/full")
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.lower().startswith("failed: the output")
    assert "No space left on device" in line


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("closed", [">&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_closed_streams_are_no_error(folder, command, closed):
    done = shell(folder, f"evolve {command} {closed}")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("command", COMMANDS)
def test_a_reader_that_has_ended_is_no_error(folder, command):
    done = shell(folder, f"evolve {command} | true; exit ${{PIPESTATUS[0]}}")
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("command", COMMANDS)
def test_what_the_terminal_cannot_show_is_no_error(folder, command):
    done = shell(folder, f"evolve {command}", PYTHONIOENCODING="ascii", LC_ALL="C")
    assert done.returncode == 0 and "Traceback" not in done.stderr and done.stdout.isascii() and done.stdout

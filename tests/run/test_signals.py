"""Signals at every moment of a command's life, also one upon the other."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

# The command in small: its way up, its work, its way down, and its last line.
COMMAND = """
import sys, time
from agent.run import signals

signals.begin()
signals.outlive_the_terminal()

def nap(seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(0.001)

def work():
    asked = []
    print("ready", flush=True)
    up, down = map(float, sys.argv[1].split("-"))
    nap(up)
    with signals.asked_to_stop(asked.append):
        print("working", flush=True)
        end = time.monotonic() + float(sys.argv[2])
        while time.monotonic() < end and not (asked and len(sys.argv) == 3):
            time.sleep(0.001)
    print(*asked, flush=True)
    nap(down)
    if asked:
        raise KeyboardInterrupt

try:
    work()
    code = 0
except KeyboardInterrupt:
    print("hurried" if signals.hurried() else "asked", flush=True)
    code = signals.INTERRUPTED
signals.end(code)
"""


@pytest.fixture
def start():
    """Starts the command: seconds on its way up and down, of its work, and whether it takes no notice of being asked."""
    started = []

    def begin(up=0.0, work=0.0, *stubborn, down=0.0, until="working"):
        command = [sys.executable, "-c", COMMAND, f"{up}-{down}", str(work), *stubborn]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        pipe = subprocess.PIPE
        process = subprocess.Popen(command, env=environment, stdout=pipe, stderr=pipe, text=True)
        started.append(process)
        while process.stdout.readline().strip() != until:
            pass
        return process

    yield begin
    for process in started:
        process.kill()
        process.communicate()


def ended(process):
    shown, complaints = process.communicate(timeout=20)
    assert complaints == ""
    return process.returncode, shown.split("\n")[:-1]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_before_it_works_a_command_ends_at_the_first(start, number):
    process = start(30.0, 30.0, until="ready")
    process.send_signal(number)
    assert ended(process) == (130, ["hurried"])


@pytest.mark.parametrize(
    ("number", "reason"), [(signal.SIGINT, "stopped by the user"), (signal.SIGTERM, "stopped by SIGTERM")]
)
def test_the_first_asks_and_the_work_comes_to_its_own_end(start, number, reason):
    process = start(0.1, 30.0, down=0.1)
    process.send_signal(number)
    assert ended(process) == (130, [reason, "asked"])


def test_the_second_ends_work_that_does_not_come_to_its_end(start):
    process = start(0.0, 30.0, "stubborn")
    process.send_signal(signal.SIGINT)
    time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    assert ended(process) == (130, ["hurried"])


def test_a_closed_terminal_changes_nothing(start):
    process = start(0.0, 0.3)
    process.send_signal(signal.SIGHUP)
    assert ended(process) == (0, [""])


def test_one_on_the_way_down_ends_the_process_with_the_code_of_a_stop(start):
    process = start(down=30.0, until="")
    process.send_signal(signal.SIGTERM)
    assert ended(process) == (130, [])


@pytest.mark.parametrize("chance", range(8))
def test_a_hail_of_them_at_any_moment_has_no_other_end_than_that_of_a_stop(start, chance):
    """Some arrive during the start, the work, its end, the handling of another one, and the last line."""
    rng = random.Random(chance)
    process = start(0.02, 0.02, down=0.02, until="ready")
    sent = 0
    while process.poll() is None:
        process.send_signal(rng.choice((signal.SIGINT, signal.SIGTERM, signal.SIGHUP)))
        sent += 1
        time.sleep(rng.random() * 0.01)
    assert sent
    code, _ = ended(process)
    assert code in (0, 130)

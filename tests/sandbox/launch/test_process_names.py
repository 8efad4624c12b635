"""The names that distinguish the processes of the sandbox in `ps -e` and `top`."""

from __future__ import annotations

import shutil
import time
from collections import Counter
from pathlib import Path

import pytest

from sandbox.launch.client import ForkServerSandbox
from sandbox.launch.start import ForkServer
from sandbox.launch.subprocess_backend import SubprocessSandbox
from sandbox.launch.supervisor import processes_of

OWN_NAME = "def main(call): return open('/proc/self/comm', 'rb').read().strip()"
NAMES_ITSELF = """
import ctypes
def main(call):
    ctypes.CDLL(None).prctl(15, ctypes.c_char_p(b"evolve-slot"), 0, 0, 0)
    return open('/proc/self/comm', 'rb').read().strip()
"""


def comm(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def until_named(pids: list[int], wanted: dict[str, int], seconds: float = 30.0) -> Counter[str]:
    """The names of the processes, as soon as they are those wanted, or when the time is over."""
    end = time.monotonic() + seconds
    while (found := Counter(map(comm, pids))) != wanted and time.monotonic() < end:
        time.sleep(0.05)
    return found


def test_a_fork_server_and_its_slot_servers_have_names(call) -> None:
    fork_server = ForkServer()
    box = ForkServerSandbox("none", fork_server=fork_server)
    try:
        assert box.run(call(OWN_NAME)).result == b"evolve-cand"
        assert fork_server._process is not None
        assert box._server is not None
        assert comm(fork_server._process.pid) == "evolve-forkserv"
        assert comm(box._server._process.pid) == "evolve-slot"
    finally:
        box.close()
        fork_server.close()


@pytest.mark.parametrize(
    ("level", "names"),
    [
        ("full", {"evolve-call": 1, "evolve-init": 1, "evolve-cand": 1}),
        ("contained", {"evolve-cand": 1}),
        ("none", {"evolve-cand": 1}),
    ],
)
def test_the_processes_of_a_call_have_names(level: str, names: dict[str, int], sandbox, call) -> None:
    box = ForkServerSandbox(level, warm=False)  # type: ignore[arg-type]
    sandbox(level)  # skips what this machine cannot do
    found: list[Counter[str]] = []

    def look(line: str) -> bool:
        assert box._server is not None
        found.append(until_named(processes_of(box._server._process.pid)[1:], names))
        return False

    try:
        box.run(call("import time\ndef main(call):\n    print('here', flush=True)\n    time.sleep(60)"), watch=look)
    finally:
        box.close()
    assert found == [names]


@pytest.mark.skipif(shutil.which("ps") is None, reason="there is no `ps` here")
def test_a_call_in_an_interpreter_of_its_own_is_named_too(call) -> None:
    box = SubprocessSandbox("none", {"rlimits": True})
    assert box.run(call(OWN_NAME)).result == b"evolve-cand"


def test_a_candidate_that_takes_the_name_of_a_slot_server_gains_nothing_by_it(call) -> None:
    box = ForkServerSandbox("none", warm=False)
    try:
        report = box.run(call(NAMES_ITSELF))
        assert (report.cause, report.result) == ("exit", b"evolve-slot")
        endless = f"{NAMES_ITSELF}\nname = main\ndef main(call):\n    name(call)\n    while True: pass"
        report = box.run(call(endless, seconds=1))
        assert report.cause == "timeout"
    finally:
        box.close()

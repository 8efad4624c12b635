"""The fork server with real slot servers: they share nothing, and a process that has died is replaced."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from sandbox import SandboxUnavailable
from sandbox.launch.client import ForkServerSandbox
from sandbox.launch.start import ForkServer

LEVEL = "contained"
QUICK = "def main(child): return child.device.encode()"


def has_ended(pid: int, seconds: float) -> bool:
    """Whether the process ends within so many seconds."""
    end = time.monotonic() + seconds
    while Path(f"/proc/{pid}").exists():
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True


class TestForkServer:
    """Slot servers that are forks of one warm process."""

    def test_its_servers_do_not_share_what_a_call_does(self, fork_server, call):
        source = """
import builtins, os
def main(child):
    seen = hasattr(builtins, "mark")
    builtins.mark = 1
    return repr((seen, os.environ.get("SECRET"))).encode()
"""
        boxes = [ForkServerSandbox(LEVEL, fork_server=fork_server) for _ in range(2)]
        try:
            for _ in range(2):
                for box in boxes:
                    assert box.run(call(source)).result == b"(False, None)"
            assert boxes[0]._server._process.pid != boxes[1]._server._process.pid
        finally:
            for box in boxes:
                box.close()

    def test_a_slot_server_that_is_killed_is_replaced_and_one_that_is_closed_is_gone(self, fork_server, call):
        box = ForkServerSandbox(LEVEL, fork_server=fork_server)
        box.run(call(QUICK))
        process = box._server._process
        process.kill()
        process.wait(10)
        with pytest.raises(SandboxUnavailable):
            box.run(call(QUICK))
        assert box.run(call(QUICK)).result == b"cpu"
        pid = box._server._process.pid
        box.close()
        assert has_ended(pid, 5)

    @pytest.mark.slow  # starts two more
    def test_a_fork_server_that_has_died_is_replaced_and_a_closed_one_refuses(self, call):
        fork_server = ForkServer()
        first, second = ForkServerSandbox(LEVEL, fork_server=fork_server), ForkServerSandbox(LEVEL, fork_server=fork_server)
        assert first.run(call(QUICK)).result == b"cpu"
        os.kill(fork_server._process.pid, signal.SIGKILL)
        assert first.run(call(QUICK)).result == b"cpu"  # its slot server lives on
        assert second.run(call(QUICK)).result == b"cpu"
        fork_server.close()
        with pytest.raises(SandboxUnavailable):
            ForkServerSandbox(LEVEL, fork_server=fork_server).run(call(QUICK))
        for box in (first, second):
            box.close()

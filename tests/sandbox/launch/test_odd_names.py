"""A candidate chooses names that the supervisor reads from outside: of its process, its threads, its files. None ends the run."""

from __future__ import annotations

import pytest

from sandbox.launch import slot_server, supervisor

pytestmark = pytest.mark.attack

NAMES = {
    "bytes that are no text": rb"\xff\xfe\x80",
    "another end of a line": rb"\x0bVmPTE: x",
    "a number that is none": rb"\x1cVmSwap:\xff",
    "the end of a name": rb") R 1 ",
    "lines": rb"\nVmPTE:\n",
}
SOURCE = """
import ctypes, mmap, os, threading, time

def main(child):
    libc = ctypes.CDLL(None)
    folder = os.fsencode(child.scratch)
    name = folder + b"/" + NAME
    with open(name, "wb") as file:
        file.write(bytes(8192))
    file = os.open(name, os.O_RDWR)
    pages = [mmap.mmap(file, 8192, flags) for flags in (mmap.MAP_SHARED, mmap.MAP_PRIVATE)]
    os.mkdir(folder + b"/folder-" + NAME)
    libc.prctl(15, NAME, 0, 0, 0)
    thread = threading.Thread(target=lambda: (libc.prctl(15, NAME, 0, 0, 0), time.sleep(0.4)))
    thread.start()
    thread.join()
    return b"done"
"""


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("device", ["cpu", "cuda:0"])
@pytest.mark.parametrize("level", ["full", "contained"])
def test_odd_names_end_no_sandbox(level: str, device: str, name: str, sandbox, call) -> None:
    here = sandbox(level)
    report = here.run(call(SOURCE.replace("NAME", "b'" + NAMES[name].decode() + "'"), device=device))
    assert (report.cause, report.result) == ("exit", b"done"), report.log
    server = here._server
    assert here.run(call("def main(child): return b'next'")).result == b"next"
    assert here._server is server  # it was not replaced


def test_a_kernel_without_lists_of_children_is_read_with_odd_names_too(sandbox, call, monkeypatch: pytest.MonkeyPatch) -> None:
    import ctypes
    import os

    libc, before = ctypes.CDLL(None), ctypes.create_string_buffer(16)
    libc.prctl(16, before, 0, 0, 0)
    libc.prctl(15, b"\xff) R 1 (\xfe", 0, 0, 0)
    try:
        assert supervisor._parent(str(os.getpid())) == os.getppid()
        assert supervisor.resident(os.getpid(), *supervisor.OWN) > 0
    finally:
        libc.prctl(15, before.value, 0, 0, 0)


def test_what_cannot_be_read_of_a_call_ends_that_call(monkeypatch: pytest.MonkeyPatch) -> None:
    class Process:
        pid, scratch = 1, None

    def unreadable(*arguments: object) -> None:
        raise UnicodeDecodeError("utf-8", b"\xff", 0, 1, "no text")

    monkeypatch.setattr(supervisor, "limit_reached", unreadable)
    assert slot_server._limit_reached(Process(), {}, 1.0) == "unwatched"  # type: ignore[arg-type]

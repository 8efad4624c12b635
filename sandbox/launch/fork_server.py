"""The warm process: it imports torch once, and every process that needs torch is a fork of it.

`launch.start` runs this module with a clean environment, as the fork server, which forks slot servers, or as one slot server.
It holds no secret and no label, and reads nothing that a candidate wrote. It stays single-threaded (a fork of a multi-threaded
process can hang) and never touches CUDA.
"""

from __future__ import annotations

import ctypes
import gc
import os
import signal
import socket
import struct
import sys

from sandbox.isolation import linux
from sandbox.launch import slot_server

_PAGE = 2 << 20
_COLLAPSE = 25
"""MADV_COLLAPSE (Linux 6.1): it acts at once and regardless of the system's setting for large pages."""


def main() -> None:
    """Run the process. Arguments: the descriptor of the channel, then `--cold` (without torch) or `--fork-server`."""
    for number in (signal.SIGTERM, signal.SIGUSR1):  # a batch system sends them to all processes: the main one decides
        signal.signal(number, signal.SIG_IGN)
    channel = socket.socket(fileno=int(sys.argv[1]))
    warm, is_fork_server = "--cold" not in sys.argv, "--fork-server" in sys.argv
    linux.set_name("evolve-forkserv" if is_fork_server else "evolve-slot")
    if warm:
        _warm_up()
        gc.collect()
        gc.freeze()
        gc.disable()  # a collection would write to, and so copy, the pages that all forks share
        _use_large_pages()
    sys.dont_write_bytecode = True  # from here on, an imported module could be a candidate's code
    linux.set_dumpable(False)
    if is_fork_server:
        channel = _fork_slot_servers(channel)
    slot_server.serve_calls(channel, prepare_ahead=warm)


def _fork_slot_servers(channel: socket.socket) -> socket.socket:
    """The main loop of the fork server: fork once for each channel that arrives. Return only in the forks, with their channel."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # forks are not waited for here
    slot_server.send(channel, b"ready")
    while True:
        message = slot_server.receive(channel)
        if message is None:
            os._exit(0)
        pid = os.fork()
        theirs = socket.socket(fileno=message[1][0])
        if pid == 0:
            linux.set_name("evolve-slot")
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            os.setsid()
            channel.close()
            return theirs
        theirs.close()
        process = os.pidfd_open(pid)
        slot_server.send(channel, b"%d" % pid, process)
        os.close(process)


def _warm_up() -> None:
    """Load everything that a training imports late, so that no fork has to load it; start no thread."""
    import importlib
    import linecache  # noqa: F401 (tracebacks need it)

    import numpy  # noqa: F401
    import safetensors.torch  # noqa: F401
    import torch

    importlib.import_module("sandbox.tasks.image_classification.inside")
    torch.set_num_threads(1)
    model = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 1), torch.nn.BatchNorm2d(2), torch.nn.SiLU())
    optimizer = torch.optim.AdamW(model.parameters())  # the first optimizer imports a second of torch
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=2)
    loss = torch.nn.functional.cross_entropy(model(torch.zeros(1, 1, 2, 2)).mean((2, 3)), torch.zeros(1, dtype=torch.long))
    if not os.path.exists("/dev/nvidiactl"):  # the following code counts the GPUs, which would initialise CUDA's driver
        loss.backward()
        optimizer.step()
        schedule.step()
    with os.scandir("/proc/self/fd") as opened:
        links = [os.readlink(entry.path) for entry in opened]
    assert not any("nvidia" in link for link in links), "a fork of a process that has initialised CUDA cannot use it"


def _use_large_pages() -> None:
    """Put this process's private, writable memory into pages of 2 MiB, where the kernel agrees.

    A fork then copies, and an exit clears, one entry instead of 512. Pages that a fork writes to are still copied as small pages,
    so that what counts as its memory does not change.
    """
    madvise = ctypes.CDLL(None, use_errno=True).madvise
    madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    with open("/proc/self/maps") as file:
        areas = [line.split() for line in file]
    for span, access, _, _, inode, *name in areas:
        if access != "rw-p" or inode != "0" or name[:1] == ["[stack]"]:
            continue
        start, end = (int(edge, 16) for edge in span.split("-"))
        for address in range(-(-start // _PAGE) * _PAGE, end // _PAGE * _PAGE, _PAGE):
            madvise(address, _PAGE, _COLLAPSE)


if struct.calcsize("P") != 8:
    raise ImportError("only 64-bit systems are supported")

if __name__ == "__main__":
    main()

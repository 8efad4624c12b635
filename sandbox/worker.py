"""The process of one call, from fork to exit: it takes the layers upon itself and then runs the entry function.

Only the zygote calls `live`; it never returns. Descriptors: 1 and 2 the log, 3 the result (before the call has come: the
channel to the zygote), 4 where the trusted part reports (in the candidate's process: where a call that is held waits for
its start), 5 and on the inputs.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import signal
import socket
import struct
import sys
import tempfile
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sandbox.child import Child
from sandbox.isolation import landlock, limits, linux, namespaces, seccomp

RESULT = CHANNEL = 3
STATUS = START = 4
FIRST_INPUT = 5
_HIGH = 256
LENGTH = struct.Struct("<Q")
"""Heads the result: its length plus one; zero means that the entry function did not return."""
STOP, GO = b"stop", b"go"
"""What the trusted side says to the zygote, instead of a call: to end the one that runs, to start the one that is held."""
ENDED = struct.Struct("<iQdd")
"""What the trusted init of a pid namespace reports: wait status, peak memory in bytes, user and system seconds."""

_FILE_SIZE = 64 << 20
NOBODY = 65534
_SYSTEM_FILES = (
    "/proc/cpuinfo", "/proc/meminfo", "/proc/stat", "/sys/devices/system/cpu", "/dev/urandom", "/dev/random",
    "/etc/ld.so.cache", "/etc/localtime", "/usr/share/zoneinfo",
)  # fmt: skip
_GPU_FILES = ("/proc/driver/nvidia", "/sys")


def live(profile: Mapping[str, Any], channel: socket.socket, status: int, zygote: int) -> None:
    """Never returns. Takes on what depends on `profile` alone, then waits on `channel` for the call itself.

    So a process can be made ready before there is a call for it. `profile`: layers, readable, world_readable, devices,
    gpu, base, scratch_bytes. What goes wrong before a call has come is told on the channel.
    """
    try:
        channel = _detach(channel, status, zygote)
        try:
            if profile["layers"]["namespaces"]:
                layers, scratch = _in_namespaces(profile, channel), namespaces.SCRATCH
            else:
                layers, scratch = _unprivileged(profile), None
        except BaseException:  # a layer that this machine does not give
            channel.send(traceback.format_exc()[-4000:].encode())
            raise
        request = _receive(channel)
        scratch = scratch or request["scratch"]
        os.chdir(scratch)
        _run(request, Path(scratch), layers)
    except BaseException:  # the edge of the process: what happened goes to the log, and nothing comes after
        os.write(2, traceback.format_exc().encode())
    finally:
        os._exit(70)


def _detach(channel: socket.socket, status: int, zygote: int) -> socket.socket:
    """Own session, own descriptors, clean environment, default signals; dies with the zygote."""
    os.setsid()
    linux.die_with_parent()
    if os.getppid() != zygote:
        os._exit(71)
    linux.set_dumpable(True)  # needed to write one's own uid_map; there is no secret in this process
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    null = os.open("/dev/null", os.O_RDWR)
    _arrange({0: null, 1: null, 2: null, CHANNEL: channel.detach(), STATUS: status})
    os.environ.clear()
    os.environ.update({"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "OMP_WAIT_POLICY": "PASSIVE"})
    return socket.socket(fileno=CHANNEL)


def _arrange(wanted: Mapping[int, int]) -> None:
    """Exactly these descriptors: number -> what is to be there. Upwards first, so that none is overwritten too early."""
    high = {number: os.dup2(source, _HIGH + number, inheritable=False) for number, source in wanted.items()}
    os.closerange(0, _HIGH)
    for number, source in high.items():
        os.dup2(source, number, inheritable=False)
    os.closerange(_HIGH, 1024)


def _receive(channel: socket.socket) -> dict[str, Any]:
    """The call: its descriptors come to their places, the channel is closed."""
    _, descriptors, _, _ = socket.recv_fds(channel, 16, 128)
    if not descriptors:  # the zygote has ended
        os._exit(0)
    request, log, result, *inputs = descriptors
    with open(request, "rb", closefd=False) as file:
        file.seek(0)
        document = dict(json.load(file))
    channel.detach()
    places = {0: os.open("/dev/null", os.O_RDWR), 1: log, 2: log, RESULT: result}
    if document["held"]:
        places[START] = inputs.pop(0)
    _arrange(places | {FIRST_INPUT + i: source for i, source in enumerate(inputs)})
    return document


def _in_namespaces(profile: Mapping[str, Any], channel: socket.socket) -> tuple[str, ...]:
    """This process stays outside and waits; its child is init of the new pid namespace; its child returns from here."""
    base = profile["base"]
    namespaces.enter()
    readable = [*profile["readable"], *(_GPU_FILES if profile["gpu"] else ("/sys/devices/system/cpu",))]
    namespaces.build_root(base, readable, profile["hidden"], profile["devices"], profile["scratch_bytes"])
    init = os.fork()
    if init:
        os.close(STATUS)
        channel.close()
        _, status = os.waitpid(init, 0)
        os._exit(0 if status == 0 else 72)
    linux.die_with_parent()
    linux.set_dumpable(False)
    # Only a GPU's driver writes there, the names of its threads. Without Landlock, root could change the kernel's settings.
    proc = namespaces.mount_proc(base, writable=profile["gpu"] and profile["layers"]["landlock"])
    namespaces.change_root(base)
    worker = os.fork()
    if worker == 0:
        linux.set_dumpable(True)
        os.close(STATUS)
        linux.drop_capabilities()
        return "namespaces", "own /proc" if proc else "no /proc", "no capabilities"
    channel.close()
    while True:
        ended, status, usage = os.wait4(-1, 0)
        if ended == worker:
            break
    os.write(STATUS, ENDED.pack(status, usage.ru_maxrss * 1024, usage.ru_utime, usage.ru_stime))
    os._exit(0)  # init's end takes every process of the namespace with it


def _unprivileged(profile: Mapping[str, Any]) -> tuple[str, ...]:
    """Root without namespaces, as in a container: become nobody where the interpreter can be read by everybody."""
    os.close(STATUS)
    if os.geteuid() == 0 and _restricted(profile):
        if becomes_nobody(profile):
            os.setgroups([])
            os.setresgid(NOBODY, NOBODY, NOBODY)
            os.setresuid(NOBODY, NOBODY, NOBODY)
        linux.drop_capabilities()
        linux.die_with_parent()  # a change of uid clears it
        linux.set_dumpable(True)
    return ()


def becomes_nobody(profile: Mapping[str, Any]) -> bool:
    """Will the candidate run as nobody, so that its scratch folder has to be given to nobody?"""
    alone = os.geteuid() == 0 and not profile["layers"]["namespaces"]
    return alone and _restricted(profile) and bool(profile["world_readable"])


def _restricted(profile: Mapping[str, Any]) -> bool:
    return bool(profile["layers"]["landlock"] or profile["layers"]["seccomp"])


def _run(request: Mapping[str, Any], scratch: Path, layers: tuple[str, ...]) -> None:
    """Takes the last layers, then hands over to code that nobody has read. Never returns."""
    code = 1
    try:
        in_force = [*layers, *_restrict(request, scratch)]
        os.environ["TMPDIR"] = os.environ["HOME"] = str(scratch)
        tempfile.tempdir = str(scratch)
        sys.stdout, sys.stderr = open(1, "w", closefd=False), open(2, "w", closefd=False)  # noqa: SIM115 (kept open)
        os.write(1, f"{','.join(in_force)}\n".encode())
        gc.enable()
        if request["held"]:
            os.read(START, 1)
            os.close(START)
        module, _, function = request["entry"].partition(":")
        child = Child(
            sources=request["sources"],
            inputs={name: FIRST_INPUT + i for i, name in enumerate(request["inputs"])},
            options=request["options"],
            device=request["device"],
            threads=request["threads"],
            scratch=scratch,
        )
        result = getattr(importlib.import_module(module), function)(child)
        _return(result)
        code = 0
    except SystemExit as stop:
        print(f"SystemExit: the program ended itself with {stop.code!r}", file=sys.stderr)
    except BaseException:  # the candidate's doing, whatever it is; the trusted side reads it in the log
        traceback.print_exc()
    finally:
        try:
            sys.stdout.flush()
            sys.stderr.flush()
        finally:
            os._exit(code)


def _restrict(request: Mapping[str, Any], scratch: Path) -> list[str]:
    """rlimits, Landlock, seccomp, in this order; the names of what is in force."""
    wanted, limit, done = request["layers"], request["limits"], []
    if wanted["rlimits"]:
        data = None if request["gpu"] else limit["memory"] + request["baseline"] + (1 << 30)
        limits.apply(data, max(_FILE_SIZE, limit["scratch"]), int(limit["seconds"] * max(request["threads"], 1)) + 60)
        done.append("rlimits")
    if wanted["landlock"]:
        inside = bool(wanted["namespaces"])
        readable = ["/"] if inside else [*request["whole"], *_SYSTEM_FILES, f"/proc/{os.getpid()}"]
        listed = [] if inside else request["listed"]
        task = [f"/proc/{os.getpid()}/task"] if request["gpu"] else []  # the driver names its threads there
        writable = [str(scratch), "/dev/shm"] if inside else [str(scratch)]
        devices = ["/dev/null", *request["devices"], *task]
        # A tmpfs of fixed size needs no watching; an ordinary folder is watched by what is to be seen in it.
        done.append(f"landlock {landlock.restrict(readable, writable, devices, listed, removable=inside)}")
    if wanted["seccomp"]:
        seccomp.restrict(gpu=request["gpu"])
        done.append("seccomp")
    return done


def _return(result: Any) -> None:
    """Into the memory file of fixed size; written, not mapped, so that too much is an error and not a crash."""
    data = bytes(result)
    room = os.fstat(RESULT).st_size - LENGTH.size
    if len(data) > room:
        os.pwrite(RESULT, LENGTH.pack(2**64 - 1), 0)  # read by the trusted side as: larger than allowed
        return
    view, offset = memoryview(data), LENGTH.size
    while view:
        written = os.pwrite(RESULT, view, offset)
        view, offset = view[written:], offset + written
    os.pwrite(RESULT, LENGTH.pack(len(data) + 1), 0)

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
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sandbox.child import Child
from sandbox.isolation import cgroup, landlock, limits, linux, namespaces, seccomp

RESULT = CHANNEL = 3
STATUS = START = 4
FIRST_INPUT = 5
_HIGH = 256
LENGTH = struct.Struct("<Q")
"""Heads the result: its length plus one; zero means that the entry function did not return."""
MAX_ORDER = 1 << 16
"""Bytes of what the trusted side says to the zygote of one call; what a candidate wrote is in the request, a file."""
STOP, GO = b"stop", b"go"
"""What the trusted side says to the zygote, instead of a call: to end the one that runs, to start the one that is held."""
ENDED = struct.Struct("<iQdd")
"""What the trusted init of a pid namespace reports: wait status, peak memory in bytes, user and system seconds."""

NOBODY = 65534

_FILE_SIZE = 64 << 20
_SYSTEM_FILES = (
    "/proc/cpuinfo", "/proc/meminfo", "/proc/stat", "/sys/devices/system/cpu", "/dev/urandom", "/dev/random",
    "/etc/ld.so.cache", "/etc/localtime", "/usr/share/zoneinfo",
)  # fmt: skip
_GPU_FILES = ("/proc/driver/nvidia", "/sys")


def live(profile: Mapping[str, Any], place: Mapping[str, Any], channel: socket.socket, status: int, zygote: int) -> None:
    """Never returns. Takes all layers on, then waits on `channel` for the call itself: so it is ready before there is one.

    `profile`: layers, devices, gpu, scratch_bytes. `place`: what of this machine is to be seen, and this worker's own folders
    (`scratch`: None where the root is its own). What goes wrong before a call has come is told on the channel.
    """
    try:
        channel = _detach(channel, status, zygote)
        try:
            layers = _layers(profile, place, channel)
        except BaseException:  # a layer that this machine does not give
            channel.send(_told()[-4000:].encode())
            raise
        order, request = _receive(channel)
        run(order, request, Path(place["scratch"] or namespaces.SCRATCH), layers)
    except BaseException:  # the edge of the process: what happened goes to the log, and nothing comes after
        os.write(2, _told().encode())
    finally:
        os._exit(70)


def _layers(profile: Mapping[str, Any], place: Mapping[str, Any], channel: socket.socket) -> tuple[str, ...]:
    """Every layer but the limits, which are those of the call; the names of what is in force."""
    done: tuple[str, ...] = ()
    if place["cgroup"]:
        done += (f"cgroup {cgroup.join(place['cgroup'])}".strip(),)
    inside = bool(profile["layers"]["namespaces"])
    done += _in_namespaces(profile, place, channel) if inside else _unprivileged(profile, place)
    os.chdir(place["scratch"] or namespaces.SCRATCH)
    if profile["layers"]["landlock"]:
        done += (f"landlock {_with_landlock(profile, place)}",)
    if profile["layers"]["seccomp"]:
        seccomp.restrict(gpu=profile["gpu"])
        done += ("seccomp",)
    return done


def _told() -> str:
    import traceback  # imported late: a tenth of a cold start

    return traceback.format_exc()


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
    arrange({0: null, 1: null, 2: null, CHANNEL: channel.detach(), STATUS: status})
    os.environ.clear()
    os.environ.update({"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "OMP_WAIT_POLICY": "PASSIVE"})
    return socket.socket(fileno=CHANNEL)


def arrange(wanted: Mapping[int, int]) -> None:
    """Exactly these descriptors: number -> what is to be there. Upwards first, so that none is overwritten too early."""
    high = {number: os.dup2(source, _HIGH + number, inheritable=False) for number, source in wanted.items()}
    os.closerange(0, _HIGH)
    for number, source in high.items():
        os.dup2(source, number, inheritable=False)
    os.closerange(_HIGH, 1024)


def _receive(channel: socket.socket) -> tuple[dict[str, Any], dict[str, Any]]:
    """The call, as (order, request): its descriptors come to their places, the channel is closed."""
    order, descriptors, _, _ = socket.recv_fds(channel, MAX_ORDER, 128)
    if not descriptors:  # the zygote has ended
        os._exit(0)
    request, log, result, *inputs = descriptors
    told = dict(json.loads(order))
    with open(request, "rb", closefd=False) as file:
        document = dict(json.load(file))
    channel.detach()
    places = {0: os.open("/dev/null", os.O_RDWR), 1: log, 2: log, RESULT: result}
    if told["held"]:
        places[START] = inputs.pop(0)
    arrange(places | {FIRST_INPUT + i: source for i, source in enumerate(inputs)})
    return told, document


def _in_namespaces(profile: Mapping[str, Any], place: Mapping[str, Any], channel: socket.socket) -> tuple[str, ...]:
    """This process stays outside and waits; its child is init of the new pid namespace; its child returns from here."""
    root = place["root"]
    namespaces.enter()
    readable = [*place["readable"], *profile["readable"], *(_GPU_FILES if profile["gpu"] else ("/sys/devices/system/cpu",))]
    namespaces.build_root(root, readable, place["hidden"], profile["devices"], profile["scratch_bytes"])
    init = os.fork()
    if init:
        os.close(STATUS)
        channel.close()
        _, status = os.waitpid(init, 0)
        os._exit(0 if status == 0 else 72)
    linux.die_with_parent()
    linux.set_dumpable(False)
    # Only a GPU's driver writes there, the names of its threads. Without Landlock there is no /proc at all: in it any file
    # that is open for reading can be opened for writing, and root can change the kernel's settings.
    proc = profile["layers"]["landlock"] and namespaces.mount_proc(root, writable=profile["gpu"])
    namespaces.change_root(root)
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


def _unprivileged(profile: Mapping[str, Any], place: Mapping[str, Any]) -> tuple[str, ...]:
    """Root without namespaces, as in a container: become nobody where the interpreter can be read by everybody."""
    os.close(STATUS)
    if os.geteuid() != 0 or not _restricted(profile):
        return ()
    if becomes_nobody(profile, place):
        os.setgroups([])
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)
    linux.drop_capabilities()
    linux.die_with_parent()  # a change of uid clears it
    linux.set_dumpable(True)
    return ("no capabilities",) if os.geteuid() == 0 else ("nobody", "no capabilities")


def becomes_nobody(profile: Mapping[str, Any], place: Mapping[str, Any]) -> bool:
    """Will the candidate run as nobody, so that its scratch folder has to be given to nobody?"""
    alone = os.geteuid() == 0 and not profile["layers"]["namespaces"]
    return alone and _restricted(profile) and bool(place["world_readable"] and profile["world_readable"])


def _restricted(profile: Mapping[str, Any]) -> bool:
    return bool(profile["layers"]["landlock"] or profile["layers"]["seccomp"])


def _with_landlock(profile: Mapping[str, Any], place: Mapping[str, Any]) -> int:
    """The version of Landlock that is then in force."""
    scratch = place["scratch"]
    own = f"/proc/{os.getpid()}"
    readable = ["/"] if scratch is None else [*place["whole"], *profile["readable"], *_SYSTEM_FILES, own]
    listed = [] if scratch is None else place["listed"]
    if profile["gpu"] and scratch is not None:
        readable += _GPU_FILES
    named = [f"{own}/task"] if profile["gpu"] else []  # if the driver cannot name its threads it does not start
    writable = [namespaces.SCRATCH, "/dev/shm"] if scratch is None else [scratch]
    devices = ["/dev/null", *profile["devices"]]
    # A tmpfs of fixed size needs no watching; an ordinary folder is watched by what is to be seen in it.
    return landlock.restrict(readable, writable, devices, listed, named, removable=scratch is None)


def run(order: Mapping[str, Any], request: Mapping[str, Any], scratch: Path, layers: tuple[str, ...]) -> None:
    """Takes the limits of the call, then hands over to code that nobody has read. Never returns."""
    code = 1
    try:
        in_force = (*layers, *_limited(order, request["threads"]))
        os.environ["TMPDIR"] = os.environ["HOME"] = str(scratch)
        if "tempfile" in sys.modules:  # it may have looked for a folder before
            setattr(sys.modules["tempfile"], "tempdir", str(scratch))  # noqa: B010 (a module's own global)
        sys.stdout, sys.stderr = open(1, "w", closefd=False), open(2, "w", closefd=False)  # noqa: SIM115 (kept open)
        os.write(1, f"{','.join(in_force)}\n".encode())
        gc.enable()
        if order["held"]:
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
        print(_told(), end="", file=sys.stderr)
    finally:
        try:
            sys.stdout.flush()
            sys.stderr.flush()
        finally:
            os._exit(code)


def _limited(order: Mapping[str, Any], threads: int) -> tuple[str, ...]:
    if not order["layers"]["rlimits"]:
        return ()
    limit = order["limits"]
    data = None if order["gpu"] else limit["memory"] + order["baseline"] + (1 << 30)
    limits.apply(data, max(_FILE_SIZE, limit["scratch"]), int(limit["seconds"] * max(threads, 1)) + 60)
    return ("rlimits",)


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

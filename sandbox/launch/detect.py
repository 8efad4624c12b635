"""Finds the level of isolation that this machine offers, by trying levels and never by comparing versions.

Each level takes a few hundredths of a second; most machines offer the first one that is tried.
"""

from __future__ import annotations

import json
import os
import platform
import socket
import sys
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from sandbox.inside.canary import ALLOWED, WORKS
from sandbox.isolation import landlock, levels, linux
from sandbox.launch import temporary
from sandbox.launch.opening import open_sandbox
from sandbox.pool.gpus import gpus
from sandbox.sandbox import Call, CallLimits, Level, Report, SandboxUnavailable

_GPU_LIMITS = CallLimits(seconds=60, memory=8 << 30, result=1 << 16, scratch=1 << 20)
_LIMITS = CallLimits(seconds=10, memory=256 << 20, result=1 << 16, scratch=1 << 20)


@dataclass(frozen=True)
class Isolation:
    """The isolation of candidates on this machine, with its proof."""

    level: Level
    layers: Mapping[str, bool]
    """The layers to pass to `open_sandbox`."""
    in_force: tuple[str, ...] = ()
    """The layers that the kernel granted."""
    canaries: Mapping[str, str] = field(default_factory=dict)
    """Each attempt from inside (see `canary.TRIED`) -> `refused: why` or `allowed`."""
    hints: tuple[str, ...] = ()
    """Why no higher level is available here, and what would help."""


def detect() -> Isolation:
    """Return the highest level at which every canary is refused. Raises SandboxUnavailable if not even a plain process runs."""
    hints: list[str] = []
    for level, layers in levels.candidates():
        last = level == "none"
        try:
            in_force, canaries = prove(level, layers)
        except SandboxUnavailable as error:
            if last:
                raise
            hints.append(f"{level}: {error}")
            continue
        leaks = [name for name, answer in canaries.items() if answer == ALLOWED]
        if leaks and (level in ("full", "contained") or "seatbelt" in layers):
            hints.append(f"{level}: its layers do not hold here, not refused: {', '.join(leaks)}")
            continue
        return Isolation(level, layers, in_force, canaries, (*hints, *(_remedies() if hints else ())))
    raise AssertionError("the last candidate always returns or raises")


def prove(level: Level, layers: Mapping[str, bool]) -> tuple[tuple[str, ...], dict[str, str]]:
    """Run the canaries at one level; return (layers in force, answers). Raises SandboxUnavailable if a layer cannot be set up."""
    try:
        report = _attempt(level, layers)
    except OSError as error:
        raise SandboxUnavailable(f"a trial call cannot be made: {error.strerror or error}") from error
    if not report.ok:
        raise SandboxUnavailable(f"a trial call ended by {report.cause} {report.status}: {report.log.strip()[-300:]}")
    return report.layers, dict(json.loads(report.result))


def _attempt(level: Level, layers: Mapping[str, bool]) -> Report:
    """The report of a call that tries what a candidate must not do."""
    sandbox = open_sandbox(level, layers, warm=False)
    place = tempfile.TemporaryDirectory(prefix="canary-", dir=temporary.folder())
    with place as folder, socket.create_server(("127.0.0.1", 0)) as listener:
        secret = Path(folder) / "secret"
        secret.write_text("a secret")
        options = {"secret": str(secret), "port": listener.getsockname()[1], "pid": os.getpid()}
        try:
            return sandbox.run(Call("sandbox.inside.canary:attempt", {}, _LIMITS, options=options))
        finally:
            sandbox.close()


def without_layers() -> dict[str, str]:
    """Run the canaries in a process without layers: if one is refused even there, its refusal elsewhere proves nothing."""
    return prove(*levels.candidates()[-1])[1]


def prove_gpu(isolation: Isolation, device: str, all_devices: Iterable[str]) -> dict[str, str]:
    """Try whether CUDA starts on this `cuda:N` under these layers, and whether other GPUs can be opened. See `canary.cuda`.

    Raises SandboxUnavailable.
    """
    others = [levels.gpu_devices(other)[0] for other in all_devices if other != device]
    call = Call("sandbox.inside.canary:cuda", {}, _GPU_LIMITS, options={"others": others}, device=device)
    sandbox = open_sandbox(isolation.level, isolation.layers, warm=False)
    try:
        report = sandbox.run(call)
    finally:
        sandbox.close()
    if not report.ok:
        raise SandboxUnavailable(f"a trial call on {device} ended by {report.cause} {report.status}: {report.log.strip()[-300:]}")
    return dict(json.loads(report.result))


def gpu_trouble(isolation: Isolation, devices: Iterable[str]) -> str | None:
    """Return why a run must not start on these devices, in a sentence; None if each GPU among them works and reaches no other."""
    for device in sorted({device for device in devices if device != "cpu"}):
        try:
            answers = prove_gpu(isolation, device, [gpu.device for gpu in gpus(environment={})])
        except SandboxUnavailable as error:
            answers = {"cuda": str(error)}
        if not answers["cuda"].startswith(WORKS):
            return f"CUDA does not start in the sandbox on {device}: {answers['cuda']}. `--slots cpu:N` trains on the CPU."
        if within_reach := [node for node, answer in answers.items() if answer == ALLOWED]:
            return f"In the sandbox of {device} other GPUs are within reach: {', '.join(within_reach)}."
    return None


def _remedies() -> list[str]:
    """Return a sentence for each common cause, present on this machine, of missing namespaces or Landlock."""
    if platform.system() != "Linux":
        return [f"{platform.system()} offers no more: run on Linux, or in a virtual machine with Linux"]
    found = []
    if _setting("kernel/apparmor_restrict_unprivileged_userns") == "1":
        found.append(
            "AppArmor restricts user namespaces: `sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0`, "
            f"or a profile with the rule `userns,` for {os.path.realpath(sys.executable)}"
        )
    if _setting("kernel/unprivileged_userns_clone") == "0":
        found.append("user namespaces are off: `sudo sysctl -w kernel.unprivileged_userns_clone=1`")
    if _setting("user/max_user_namespaces") == "0":
        found.append("user namespaces are off: `sudo sysctl -w user.max_user_namespaces=15000`")
    if os.geteuid() == 0 and not linux.has_capability(linux.CAP_SETFCAP):
        found.append("root without its capabilities may make no user namespace: an ordinary user may (`docker run --user 1000`)")
    if not landlock.abi():
        found.append("there is no Landlock: it needs Linux 5.13 or newer with landlock among the boot parameter lsm=...")
    if Path("/.dockerenv").exists() or Path("/run/.containerenv").exists():
        found.append("a container's own filter may forbid namespaces; Landlock with seccomp (`contained`) needs no right of it")
    return found


def _setting(name: str) -> str:
    try:
        return Path("/proc/sys", name).read_text().strip()
    except OSError:
        return ""

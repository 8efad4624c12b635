"""Which level of isolation this machine gives: found by trying, never by asking for versions.

A few hundredths of a second for each level tried; most machines give the first one.
"""

from __future__ import annotations

import json
import os
import platform
import socket
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from sandbox.isolation import landlock
from sandbox.isolation.canary import ALLOWED
from sandbox.isolation.levels import CANDIDATES
from sandbox.sandbox import Call, Level, Limits, SandboxUnavailable
from sandbox.warm import WarmSandbox

_LIMITS = Limits(seconds=10, memory=256 << 20, result=1 << 16, scratch=1 << 20)


@dataclass(frozen=True)
class Isolation:
    """What stands between a candidate and the machine, with the proof."""

    level: Level
    layers: Mapping[str, bool]
    """What a `WarmSandbox` is to be told."""
    in_force: tuple[str, ...] = ()
    """The layers as the kernel granted them."""
    canaries: Mapping[str, str] = field(default_factory=dict)
    """What was tried from inside -> `refused: why` or `allowed`."""
    hints: tuple[str, ...] = ()
    """Why a higher level is not had here, and what would help."""


def detect() -> Isolation:
    """The highest level of which every canary is refused. Raises SandboxUnavailable if not even a plain child can run."""
    hints: list[str] = []
    for level, layers in CANDIDATES:
        last = level == "none"
        try:
            in_force, canaries = prove(level, layers)
        except SandboxUnavailable as error:
            if last:
                raise
            hints.append(f"{level}: {error}")
            continue
        leaks = [name for name, told in canaries.items() if told == ALLOWED]
        if level in ("full", "contained") and leaks:
            hints.append(f"{level}: its layers do not hold here, not refused: {', '.join(leaks)}")
            continue
        return Isolation(level, layers, in_force, canaries, (*hints, *(_remedies() if hints else ())))
    raise AssertionError("the last candidate always returns or raises")


def prove(level: Level, layers: Mapping[str, bool]) -> tuple[tuple[str, ...], dict[str, str]]:
    """(layers in force, canaries) of one level. Raises SandboxUnavailable if a layer cannot be set up."""
    sandbox = WarmSandbox(level, layers, warm=False)
    with tempfile.TemporaryDirectory(prefix="evolve-canary-") as folder, socket.create_server(("127.0.0.1", 0)) as listener:
        secret = Path(folder) / "secret"
        secret.write_text("a secret")
        options = {"secret": str(secret), "port": listener.getsockname()[1], "pid": os.getpid()}
        try:
            report = sandbox.run(Call("sandbox.isolation.canary:attempt", {}, _LIMITS, options=options))
        finally:
            sandbox.close()
    if not report.ok:
        raise SandboxUnavailable(f"a trial call ended by {report.cause} {report.status}: {report.log.strip()[-300:]}")
    return report.layers, dict(json.loads(report.result))


def _remedies() -> list[str]:
    """What keeps namespaces and Landlock away on common systems."""
    if platform.system() != "Linux":
        return [f"{platform.system()} has no layers that are supported yet: run on Linux, or inside a virtual machine"]
    told = []
    if _setting("kernel/apparmor_restrict_unprivileged_userns") == "1":
        told.append("AppArmor restricts user namespaces: sysctl kernel.apparmor_restrict_unprivileged_userns=0, or a profile")
    if _setting("kernel/unprivileged_userns_clone") == "0":
        told.append("user namespaces are off: sysctl kernel.unprivileged_userns_clone=1")
    if _setting("user/max_user_namespaces") == "0":
        told.append("user namespaces are off: sysctl user.max_user_namespaces=15000")
    if not landlock.abi():
        told.append("there is no Landlock: it needs Linux 5.13 or newer with landlock among the boot parameter lsm=...")
    if Path("/.dockerenv").exists() or Path("/run/.containerenv").exists():
        told.append("a container's own filter may forbid namespaces; Landlock with seccomp (`contained`) needs no right of it")
    return told


def _setting(name: str) -> str:
    try:
        return Path("/proc/sys", name).read_text().strip()
    except OSError:
        return ""

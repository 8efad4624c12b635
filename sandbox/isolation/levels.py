"""What each level of isolation consists of, and what of the machine a candidate may see at all."""

from __future__ import annotations

import os
import sys
import sysconfig
from collections.abc import Mapping, Sequence
from functools import cache
from glob import escape, glob
from pathlib import Path

from sandbox.data import PUBLISHED
from sandbox.sandbox import Level

LAYERS: Mapping[Level, Mapping[str, bool]] = {
    "full": {"rlimits": True, "namespaces": True, "landlock": True, "seccomp": True},
    "contained": {"rlimits": True, "namespaces": False, "landlock": True, "seccomp": True},
    "reduced": {"rlimits": True, "namespaces": False, "landlock": False, "seccomp": True},
    "none": {"rlimits": True, "namespaces": False, "landlock": False, "seccomp": False},
}

CANDIDATES: Sequence[tuple[Level, Mapping[str, bool]]] = (
    ("full", LAYERS["full"]),
    ("contained", LAYERS["contained"]),
    ("contained", {"rlimits": True, "namespaces": True, "landlock": False, "seccomp": True}),  # a kernel without Landlock
    ("reduced", LAYERS["reduced"]),
    ("none", LAYERS["none"]),
)
"""What is tried on a machine, best first. `contained` and above keep secrets and the network out of reach."""

_SYSTEM = ("/usr", "/lib", "/lib64", "/bin", "/etc/ld.so.cache", "/etc/alternatives")
_GPU = ("/dev/nvidiactl", "/dev/nvidia-uvm", "/dev/nvidia-uvm-tools")


@cache
def readable_paths() -> list[str]:
    """System libraries, the interpreter, its packages and the package `sandbox`: just those, wherever they lie.

    Of an editable checkout only `sandbox/` is visible: not the run folder, not git, not a `.env`.
    """
    paths = {sys.base_prefix, sys.prefix, *package_folders(), str(Path(__file__).resolve().parents[1])}
    wanted = [*_SYSTEM, *sorted(os.path.realpath(p) for p in paths), sys.prefix]
    kept: list[str] = []
    for path in dict.fromkeys(wanted):
        if os.path.exists(path) and not any(Path(path).is_relative_to(k) for k in kept if not os.path.islink(k)):
            kept.append(path)
    return kept


def package_folders() -> list[str]:
    """Where this interpreter finds installed packages: a virtual environment's, the system's or the user's own folder."""
    named = [p for p in sys.path if Path(p).name in ("site-packages", "dist-packages")]
    return list(dict.fromkeys([*named, sysconfig.get_path("purelib"), sysconfig.get_path("platlib")]))


@cache
def hidden_paths() -> list[str]:
    """Folders below the readable ones that hold labels: real paths, of every Python installation that can be seen."""
    prefixes = {"/usr", "/usr/local", sys.prefix, sys.base_prefix}
    trees = set(package_folders())
    for prefix in map(escape, prefixes):
        for pattern in ("", "envs/*/", "pkgs/*/"):  # conda keeps environments and unpacked packages below its prefix
            trees.update(glob(f"{prefix}/{pattern}lib*/python3*/*-packages"))
        trees.update(glob(f"{prefix}/pkgs/*/*-packages"))
    paths = {f"{tree}/{name}" for tree in trees for name in PUBLISHED}
    return sorted({os.path.realpath(path) for path in paths if os.path.isdir(path)})


@cache
def readable_around() -> tuple[list[str], list[str]]:
    """`readable_paths` without `hidden_paths`, for a layer that can only allow: (whole trees, folders only listed)."""
    hidden = [Path(path) for path in hidden_paths()]
    whole: list[str] = []
    listed: list[str] = []
    waiting = [os.path.realpath(path) for path in readable_paths()]
    while waiting:
        path = waiting.pop()
        if not any(h.is_relative_to(path) for h in hidden):
            whole.append(path)
        elif Path(path) not in hidden:
            listed.append(path)
            # What a link points to is readable only if it is so by its own name.
            waiting += [entry.path for entry in os.scandir(path) if not entry.is_symlink()]
    return sorted(set(whole)), sorted(set(listed))


def world_readable(paths: Sequence[str]) -> bool:
    """Can every user reach these paths? Then a sandbox started by root can become nobody."""
    folders = {parent for path in paths for parent in (Path(path), *Path(path).parents)}
    return all(os.stat(folder).st_mode & 0o005 for folder in folders)


def gpu_devices(device: str) -> list[str]:
    """Device nodes of one GPU, `cuda:N`, and those that every process with CUDA needs."""
    return [f"/dev/nvidia{device.partition(':')[2] or '0'}", *_GPU]

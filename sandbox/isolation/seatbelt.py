"""macOS's Seatbelt, through `sandbox-exec`: no network, no other process, no files but libraries and the scratch folder.

UNTESTED: written from documentation, never run on macOS. `sandbox-exec` is deprecated but still available; the rules are in
Apple's own language, and the last rule that matches decides.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterable, Sequence

from sandbox.isolation import levels

_PROGRAM = "/usr/bin/sandbox-exec"
_SYSTEM = ("/usr/lib", "/usr/share", "/System", "/Library/Frameworks", "/private/var/db/timezone", "/private/etc/localtime")
_DEVICES = ("/dev/null", "/dev/random", "/dev/urandom")


def command(scratch: str, also: Sequence[str] = ()) -> list[str]:
    """Return the words to put before a command line to run it under these rules. `also`: what this call may read besides."""
    hidden = [path for path in (*levels.hidden_paths(), *levels.closed_packages(), *levels.other_trees()) if path not in also]
    readable = [path for path in levels.readable_paths() if not os.path.islink(path)]
    return [_PROGRAM, "-p", rules([*readable, *also], hidden, scratch)]


def rules(readable: Iterable[str], hidden: Iterable[str], scratch: str) -> str:
    """Return the rules as text. All paths must be real paths. Metadata is readable everywhere, so that paths can be resolved."""
    return "\n".join(
        [
            "(version 1)",
            "(deny default)",
            "(allow process-exec" + _subpaths(levels.interpreter_paths()) + ")",  # to start it; nothing can be forked
            "(deny process-fork)",
            "(deny network*)",
            "(allow sysctl-read)",
            "(allow signal (target self))",
            "(allow file-read-metadata)",
            "(allow file-read*" + _subpaths((*_SYSTEM, *readable)) + _literals(_DEVICES) + ")",
            "(deny file-read-data" + _subpaths(hidden) + ")",
            '(allow file-write-data (literal "/dev/null"))',
            "(allow file-read* file-write*" + _subpaths([scratch]) + ")",
        ]
    )


def in_force() -> bool:
    """Whether this process runs under any rules of Seatbelt."""
    if sys.platform != "darwin":
        return False
    return bool(ctypes.CDLL(None).sandbox_check(os.getpid(), None, 0))


def _subpaths(paths: Iterable[str]) -> str:
    return "".join(f" (subpath {_quoted(os.path.realpath(path))})" for path in paths)


def _literals(paths: Iterable[str]) -> str:
    return "".join(f" (literal {_quoted(path)})" for path in paths)


def _quoted(path: str) -> str:
    return '"' + path.replace("\\", "\\\\").replace('"', '\\"') + '"'

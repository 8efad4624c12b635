"""Standard streams as they may be: closed, full, without UTF-8, or read by a program that has ended."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Sequence
from contextlib import suppress

from agent.core.errors import UserError

_UNWRITABLE = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EBADF, errno.EFBIG)


def prepare() -> None:
    """Open what is closed, so that no other file gets its descriptor, and let no character be an error. Call this first."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest free descriptor, which is this one
    for name, number in (("stdout", 1), ("stderr", 2)):
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, "w", encoding="utf-8", closefd=False))  # noqa: SIM115 (kept open)
        with suppress(AttributeError, ValueError):  # a stream of another kind, as in tests
            getattr(sys, name).reconfigure(errors="replace")
    if sys.stdin is None:
        sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115 (kept open)


def check_arguments(arguments: Sequence[str]) -> None:
    """Raises UserError for a name that is not UTF-8, also of the working folder: neither a journal nor a branch can hold it."""
    folder = ""
    with suppress(OSError):  # it may have been removed
        folder = os.getcwd()
    for what, names in (("argument", arguments), ("working folder", (folder,))):
        if wrong := next((name for name in names if any("\ud800" <= character <= "\udfff" for character in name)), None):
            raise UserError(f"The {what} {wrong} is not UTF-8: rename what it names.")


def is_utf8() -> bool:
    """Whether standard output takes every character."""
    return (getattr(sys.stdout, "encoding", None) or "utf-8").lower().replace("-", "") in ("utf8", "utf8sig")


def reader_has_ended() -> bool:
    """Whether click ended the command because the program that reads the output has (`evolve show RUN | head`)."""
    return type(sys.stdout).__name__.endswith("PacifyFlushWrapper")


def trouble(error: OSError) -> str:
    """A sentence for an error of the file system that nothing has handled; empty for one that may be a bug."""
    if error.errno in (*_UNWRITABLE, errno.EACCES, errno.EPERM, errno.EROFS):
        where = f" {error.filename}" if error.filename else " the output"
        return f"{where.strip()} cannot be written or read: {error.strerror}."
    return ""


def flushed() -> str:
    """Write what standard output still holds. Returns why it cannot be written, in a sentence; else nothing."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        give_up_output()
    except (OSError, ValueError) as error:
        give_up_output()
        return f"The output cannot be written: {getattr(error, 'strerror', None) or error}."
    return ""


def give_up_output() -> None:
    """Forget what standard output holds, and whatever else comes."""
    sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 (kept open)

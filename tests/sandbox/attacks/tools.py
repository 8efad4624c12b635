"""What the attacks share. It is sent into the sandbox beside each of them, as `tools.py`."""

import ctypes
import os
import platform
import re
import time

libc = ctypes.CDLL(None, use_errno=True)
X86_64 = platform.machine() == "x86_64"
SECRET = re.compile(rb"sk-evolve-[0-9a-f]{32}")  # does not match itself, wherever a copy of it lies in memory


def number(x86_64: int, aarch64: int) -> int:
    return x86_64 if X86_64 else aarch64


def syscall(nr: int, *arguments: object) -> int:
    result = libc.syscall(ctypes.c_long(nr), *arguments)
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    return result


def wait(child: object) -> None:
    """For whoever watches to notice: where it should, however busy the machine is."""
    time.sleep(child.options.get("patience", 0.3))


def secret(data: bytes) -> str:
    """Raises OSError if there is no secret in it."""
    found = SECRET.search(data)
    if not found:
        raise FileNotFoundError("no secret here")
    return found.group().decode()


def read(path: str) -> str:
    with open(path, "rb") as file:
        return secret(file.read())


def tried(*ways: object) -> bytes:
    """What the first way that is not refused has got; anything but a refusal comes through as the error it is."""
    for way in ways:
        try:
            found = way()
        except OSError:
            continue
        return f"leak: {getattr(way, '__name__', way)}: {found}".encode()
    return b"blocked"

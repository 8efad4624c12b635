"""The memory of another process of the same user: traced, read by a system call, read as a file."""

import ctypes
import os

from tools import libc, number, secret, syscall, tried

LEAKS = "none"
CUDA = True
ALONE = ("namespaces",)
PTRACE = True


class Span(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("length", ctypes.c_size_t)]


def main(child):
    pid, address = child.options["victim"], child.options["address"]

    def file():
        descriptor = os.open(f"/proc/{pid}/mem", os.O_RDONLY)
        return secret(os.pread(descriptor, 64, address))

    def read_by_call():
        buffer = ctypes.create_string_buffer(64)
        here, there = Span(ctypes.addressof(buffer), 64), Span(address, 64)
        one, none = ctypes.c_ulong(1), ctypes.c_ulong(0)
        syscall(number(310, 270), ctypes.c_int(pid), ctypes.byref(here), one, ctypes.byref(there), one, none)
        return secret(buffer.raw)

    def traced():
        for target in (pid, child.options["main"]):
            syscall(number(101, 117), ctypes.c_long(0x4206), ctypes.c_long(target), None, None)  # PTRACE_SEIZE
            libc.ptrace(ctypes.c_long(17), ctypes.c_long(target), None, None)  # PTRACE_DETACH
        return "attached"

    return tried(file, read_by_call, traced)

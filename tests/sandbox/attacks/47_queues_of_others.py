"""A queue of System V that the user has: its number is small and can be guessed. It is read, filled and removed."""

import ctypes

from tools import number, secret, syscall, tried

LEAKS = "none"
ALONE = ("seccomp", "namespaces")

NO_WAIT, REMOVE = 0o4000, 0


def main(child):
    queue = ctypes.c_int(child.options["queue"])

    def read():
        message = ctypes.create_string_buffer(200)
        syscall(number(70, 188), queue, message, ctypes.c_size_t(100), ctypes.c_long(0), ctypes.c_int(NO_WAIT))
        return secret(message.raw)

    def fill():
        message = ctypes.create_string_buffer(b"\1".ljust(8, b"\0") + b"hello", 100)
        syscall(number(69, 189), queue, message, ctypes.c_size_t(5), ctypes.c_int(NO_WAIT))

    def remove():
        syscall(number(71, 187), queue, ctypes.c_int(REMOVE), None)

    return tried(read, fill, remove)

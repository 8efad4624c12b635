"""A datagram to a socket's file, whose address lies at a multiple of 4 GiB: the low word of that pointer is 0."""

import ctypes
import socket
import struct

from tools import libc, number, syscall, tried

LEAKS = "none"
ALONE = ("seccomp", "namespaces")
CUDA = True


def main(child):
    def send():
        ours = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        return [deliver(ours), ours]

    def send_from_a_pair():
        pair = socket.socketpair(socket.AF_UNIX, socket.SOCK_RAW)
        return [deliver(pair[0]), pair]

    def deliver(ours):
        address = struct.pack("H", socket.AF_UNIX) + child.options["datagram"].encode() + b"\0"
        libc.mmap.restype = ctypes.c_void_p
        libc.mmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t, *(ctypes.c_int,) * 4)
        place = libc.mmap(7 << 32, 4096, 3, 0x32, -1, 0)  # private, anonymous and fixed
        assert place == 7 << 32
        ctypes.memmove(place, address, len(address))
        arguments = (ctypes.c_int(ours.fileno()), b"told", ctypes.c_size_t(4), ctypes.c_int(0), ctypes.c_void_p(place))
        return syscall(number(44, 206), *arguments, ctypes.c_int(len(address)))

    return tried(send, send_from_a_pair)

"""Pairs of sockets of a kind that can be sent on to any address, or that no library needs."""

import socket

from tools import tried

LEAKS = "none"
ALONE = ("seccomp",)


def main(child):
    def datagram():
        return socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)

    def raw():  # the kernel takes it for a datagram socket; its number has the bit of a stream
        return socket.socketpair(socket.AF_UNIX, socket.SOCK_RAW)

    def flagged():
        return socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)

    assert all(socket.socketpair(socket.AF_UNIX, kind) for kind in (socket.SOCK_STREAM, socket.SOCK_SEQPACKET))
    return tried(datagram, raw, flagged)

"""A pair of datagram sockets needs no socket(), and each end can send to any address."""

import os
import socket

from tools import tried

LEAKS = "none"
CUDA = True
ALONE = ("seccomp", "namespaces")


def main(child):
    def send_to():
        one, other = socket.socketpair(type=socket.SOCK_DGRAM)
        with one, other:
            return one.sendto(b"hello", child.options["datagram"])

    def of_another_kind():
        one, other = socket.socketpair(type=socket.SOCK_STREAM | os.O_NONBLOCK)
        with one, other:
            return one.sendto(b"hello", child.options["datagram"])

    return tried(send_to, of_another_kind)

"""A datagram to loopback, as a DNS query would be."""

import socket

from tools import tried

LEAKS = "none"
CUDA = True
ALONE = ("seccomp", "namespaces")


def main(child):
    address = ("127.0.0.1", child.options["udp"])

    def send_to():
        with socket.socket(type=socket.SOCK_DGRAM) as datagrams:
            return datagrams.sendto(b"hello", address)

    def connected():
        with socket.socket(type=socket.SOCK_DGRAM) as datagrams:
            datagrams.connect(address)
            return datagrams.send(b"hello")

    def message():
        with socket.socket(type=socket.SOCK_DGRAM) as datagrams:
            return datagrams.sendmsg([b"hello"], [], 0, address)

    return tried(send_to, connected, message)

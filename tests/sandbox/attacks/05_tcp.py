"""A TCP connection to loopback."""

import socket

from tools import tried

LEAKS = "none"
CUDA = True
ALONE = ("seccomp", "namespaces")  # Landlock covers connect, not the connection that a first packet opens


def main(child):
    def connect():
        with socket.create_connection(("127.0.0.1", child.options["tcp"]), 2) as connection:
            return connection.send(b"hello")

    def fast_open():
        with socket.socket() as connection:
            return connection.sendto(b"hello", 0x20000000, ("127.0.0.1", child.options["tcp"]))  # MSG_FASTOPEN

    return tried(connect, fast_open)

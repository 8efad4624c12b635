"""An abstract unix socket of the session (a desktop bus)."""

import socket

from tools import tried

LEAKS = "none"
CUDA = True
ALONE = ("landlock 6", "seccomp", "namespaces")


def main(child):
    def connect():
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect("\0" + child.options["abstract"])
            return connection.send(b"hello")

    return tried(connect)

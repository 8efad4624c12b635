"""A unix socket in the file system (ssh-agent, docker.sock)."""

import socket

from tools import tried

LEAKS = "none"
CUDA = True
ALONE = ("seccomp", "namespaces")


def main(child):
    def connect():
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(child.options["stream"])
            return connection.send(b"hello")

    return tried(connect)

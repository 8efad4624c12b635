"""A private key in the user's home."""

import os

from tools import read, tried

LEAKS = "none"
ALONE = ("landlock", "namespaces")


def main(child):
    home = child.options["home"]

    def at_its_path():
        return read(f"{home}/.ssh/id_rsa")

    def listed():
        return [read(f"{home}/.ssh/{name}") for name in os.listdir(f"{home}/.ssh")]

    return tried(at_its_path, listed)

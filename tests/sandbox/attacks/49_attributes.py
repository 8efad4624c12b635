"""Attributes of a file that must not be read: Landlock does not cover them, and some programs keep tokens there."""

import os

from tools import secret, tried

LEAKS = "none"
ALONE = ("seccomp", "namespaces")


def main(child):
    path = f"{child.options['home']}/.ssh/id_rsa"

    def named():
        return secret(os.getxattr(path, "user.token"))

    def listed():
        return os.listxattr(path)

    return tried(named, listed)

"""Mode, times, owner and attributes of the user's files, by path and through a descriptor."""

import os

from tools import tried

LEAKS = "none"
CUDA = True
ALONE = ("seccomp",)  # the input lies outside, whatever the root


def main(child):
    path, given = f"{child.options['home']}/.bashrc", child.inputs["images"]
    ways = []
    for target in (path, given):
        ways += [
            lambda t=target: os.chmod(t, 0o777),
            lambda t=target: os.utime(t, (0, 0)),
            lambda t=target: os.chown(t, os.getuid(), os.getgid()),
            lambda t=target: os.setxattr(t, "user.evolve", b"hello"),
            lambda t=target: os.removexattr(t, "user.kept"),
        ]
    ways += [lambda: os.lchown(path, os.getuid(), os.getgid())]
    return tried(*ways)

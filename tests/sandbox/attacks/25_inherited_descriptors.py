"""Every descriptor that came with the process."""

import os
import stat

from tools import secret

LEAKS = "plain"


def main(child):
    given = {0, 1, 2, 3, *child.inputs.values()}
    for descriptor in range(4096):
        try:
            mode = os.fstat(descriptor).st_mode
        except OSError:
            continue
        if stat.S_ISSOCK(mode):
            return f"leak: {descriptor} is a socket".encode()
        try:
            return f"leak: {secret(os.pread(descriptor, 4096, 0))} in {descriptor}".encode()
        except OSError:
            pass
        if descriptor not in given:
            return f"leak: {descriptor} is {os.readlink(f'/proc/self/fd/{descriptor}')}".encode()
    return b"blocked"

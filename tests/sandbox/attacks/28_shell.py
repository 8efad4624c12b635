"""A shell. If it starts, it says so in the log; the result is then empty."""

import ctypes
import os

from tools import number, syscall, tried

LEAKS = "none"
ALONE = ("landlock", "seccomp")

SAYS = "leak-by-a-shell"


def main(child):
    command = ["sh", "-c", f"echo {SAYS}"]

    def executed():
        os.execv("/bin/sh", command)

    def by_the_loader():
        for loader in ("/lib64/ld-linux-x86-64.so.2", "/lib/ld-linux-aarch64.so.1"):
            if os.path.exists(loader):
                os.execv(loader, [loader, "/bin/sh", "-c", f"echo {SAYS}"])
        raise FileNotFoundError

    def by_descriptor():
        words = (ctypes.c_char_p * 4)(*(word.encode() for word in command), None)
        shell = os.open("/bin/sh", os.O_RDONLY | os.O_CLOEXEC)
        syscall(number(322, 281), ctypes.c_int(shell), b"", words, None, ctypes.c_int(0x1000))

    def spawned():
        pid = os.posix_spawn("/bin/sh", command, {})
        os.waitpid(pid, 0)
        return "spawned"

    return tried(spawned, executed, by_the_loader, by_descriptor)

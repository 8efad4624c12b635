"""A signal to a trusted process, by every call that can send one."""

import ctypes
import os
import signal

from tools import number, syscall, tried

LEAKS = "none"
CUDA = True
ALONE = ("landlock 6", "seccomp", "namespaces")


def main(child):
    pid, sign = child.options["victim"], signal.SIGUSR1
    c_pid, c_sign = ctypes.c_int(pid), ctypes.c_int(sign)

    def kill():
        os.kill(pid, sign)

    def whole_group():
        os.kill(-pid, sign)

    def tkill():
        syscall(number(200, 130), c_pid, c_sign)

    def tgkill():
        syscall(number(234, 131), c_pid, c_pid, c_sign)

    def queue():
        told = bytes([sign, *[0] * 7, 255, 255, 255, 255])  # si_code SI_QUEUE
        syscall(number(129, 138), c_pid, c_sign, ctypes.create_string_buffer(told, 128))

    def by_descriptor():
        signal.pidfd_send_signal(os.pidfd_open(pid), sign)

    return tried(kill, whole_group, tkill, tgkill, queue, by_descriptor)

"""seccomp: refuse system calls that a training never needs (seccomp(2), <linux/filter.h>, <linux/audit.h>).

This is a deny-list, because libc and CUDA differ too much between systems for an allow-list. But calls that kernels newer than
this table add do not exist for the candidate, and a call with another architecture's numbers kills it.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from collections.abc import Sequence

from sandbox.isolation import linux

_LAST_KNOWN = 470
_ARCHITECTURE = 0xC000003E if linux.X86_64 else 0xC00000B7  # AUDIT_ARCH_X86_64, AUDIT_ARCH_AARCH64
_X32_BIT = 0x40000000

# name: (x86_64, aarch64), from syscall_64.tbl and asm-generic/unistd.h; None: the architecture does not have it.
_Number = tuple[int | None, int | None]

_REFUSED: dict[str, _Number] = {
    # network
    "connect": (42, 203), "bind": (49, 200), "listen": (50, 201), "sendmsg": (46, 211), "sendmmsg": (307, 269),
    # other processes
    "ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271), "kcmp": (312, 272),
    "pidfd_open": (434, 434), "pidfd_getfd": (438, 438), "pidfd_send_signal": (424, 424), "tkill": (200, 130),
    "rt_sigqueueinfo": (129, 138), "rt_tgsigqueueinfo": (297, 240), "process_madvise": (440, 440),
    "setpriority": (141, 140), "ioprio_set": (251, 30), "move_pages": (279, 239), "migrate_pages": (256, 238),
    "execve": (59, 221), "execveat": (322, 281), "fork": (57, None), "vfork": (58, None),
    # namespaces and mounts
    "unshare": (272, 97), "setns": (308, 268), "mount": (165, 40), "umount2": (166, 39), "pivot_root": (155, 41),
    "chroot": (161, 51), "move_mount": (429, 429), "open_tree": (428, 428), "fsopen": (430, 430),
    "fsconfig": (431, 431), "fsmount": (432, 432), "fspick": (433, 433), "mount_setattr": (442, 442),
    "open_tree_attr": (467, 467), "statmount": (457, 457), "listmount": (458, 458),
    # kernel surfaces
    "bpf": (321, 280), "perf_event_open": (298, 241), "userfaultfd": (323, 282), "keyctl": (250, 219),
    "add_key": (248, 217), "request_key": (249, 218), "init_module": (175, 105), "finit_module": (313, 273),
    "delete_module": (176, 106), "kexec_load": (246, 104), "kexec_file_load": (320, 294), "reboot": (169, 142),
    "swapon": (167, 224), "swapoff": (168, 225), "acct": (163, 89), "quotactl": (179, 60), "syslog": (103, 116),
    "settimeofday": (164, 170), "clock_settime": (227, 112), "adjtimex": (159, 171), "clock_adjtime": (305, 266),
    "sethostname": (170, 161), "setdomainname": (171, 162), "iopl": (172, None), "ioperm": (173, None),
    "modify_ldt": (154, None), "name_to_handle_at": (303, 264), "open_by_handle_at": (304, 265),
    "memfd_secret": (447, 447), "vhangup": (153, 58), "lookup_dcookie": (212, 18), "nfsservctl": (180, 42),
    "fanotify_init": (300, 262), "fanotify_mark": (301, 263), "quotactl_fd": (443, 443),
    "uselib": (134, None), "sysfs": (139, None), "ustat": (136, None),
    # System V and POSIX IPC: making objects, and using those that the user has, whose numbers can be guessed
    "shmget": (29, 194), "shmat": (30, 196), "shmctl": (31, 195), "msgget": (68, 186), "msgsnd": (69, 189),
    "msgrcv": (70, 188), "msgctl": (71, 187), "semget": (64, 190), "semop": (65, 193), "semtimedop": (220, 192),
    "semctl": (66, 191), "mq_open": (240, 180), "mq_unlink": (241, 181),
    # what goes on in folders that cannot be read: Landlock does not cover it
    "inotify_init": (253, None), "inotify_init1": (294, 26), "inotify_add_watch": (254, 27),
    # which pages of a file are in memory: with it one stage could pass what it has learned to the next
    "fadvise64": (221, 223), "readahead": (187, 213), "mincore": (27, 232), "cachestat": (451, 451),
    # a call for all files of the machine: it would wait for, and hold up, what others write
    "sync": (162, 81), "syncfs": (306, 267),
    # filters and rules of one's own, after ours: the kernel keeps them in memory that no supervisor sees
    "seccomp": (317, 277), "landlock_create_ruleset": (444, 444), "landlock_add_rule": (445, 445),
    "landlock_restrict_self": (446, 446),
    # pages that a pipe holds when no process has them mapped any more
    "vmsplice": (278, 75),
    # files cut by their names: Landlock covers it from version 3 on
    "truncate": (76, 45),
    # metadata of files: Landlock does not cover it
    "chmod": (90, None), "fchmod": (91, 52), "fchmodat": (268, 53), "fchmodat2": (452, 452), "chown": (92, None),
    "fchown": (93, 55), "lchown": (94, None), "fchownat": (260, 54), "setxattr": (188, 5), "lsetxattr": (189, 6),
    "fsetxattr": (190, 7), "removexattr": (197, 14), "lremovexattr": (198, 15), "fremovexattr": (199, 16),
    "setxattrat": (463, 463), "removexattrat": (466, 466), "utime": (132, None), "utimes": (235, None),
    "futimesat": (261, None), "utimensat": (280, 88), "file_setattr": (469, 469),
}  # fmt: skip

_FOR_GPU = ("bind", "listen")
"""CUDA listens on a unix socket without a file (observed with driver 580). That is harmless: connect stays refused."""

_FLOCK: _Number = (73, 32)

_ABSENT: dict[str, _Number] = {
    # refused as if the kernel did not have them: libraries then take another way
    "io_setup": (206, 0), "io_destroy": (207, 1), "io_submit": (209, 2), "io_cancel": (210, 3),
    "io_getevents": (208, 4), "io_pgetevents": (333, 292),
    "clone3": (435, 435), "io_uring_setup": (425, 425), "io_uring_enter": (426, 426), "io_uring_register": (427, 427),
    "memfd_create": (319, 279), "openat2": (437, 437),
}  # fmt: skip

_UNSUPPORTED: dict[str, _Number] = {
    # attributes of files, as on a file system that has none; who copies files expects that
    "getxattr": (191, 8), "lgetxattr": (192, 9), "fgetxattr": (193, 10), "listxattr": (194, 11),
    "llistxattr": (195, 12), "flistxattr": (196, 13), "getxattrat": (464, 464), "listxattrat": (465, 465),
    "file_getattr": (468, 468),
}  # fmt: skip

_SOCKET: _Number = (41, 198)
_SOCKETPAIR: _Number = (53, 199)
_SENDTO: _Number = (44, 206)
_PRLIMIT64: _Number = (302, 261)
_CLONE: _Number = (56, 220)
_MMAP: _Number = (9, 222)
_OPEN: _Number = (2, None)
_OPENAT: _Number = (257, 56)
_PRCTL: _Number = (157, 167)
_FCNTL: _Number = (72, 25)
_IOCTL: _Number = (16, 29)
_PREADV2: _Number = (327, 286)
# sched_setparam, sched_setscheduler, sched_setaffinity, sched_setattr
_OF_THE_SCHEDULER: tuple[_Number, ...] = ((142, 118), (144, 119), (203, 122), (314, 274))
_KILL: _Number = (62, 129)
_TGKILL: _Number = (234, 131)

_CLONE_THREAD = 0x00010000
_CLONE_NEW_ANY = 0x7E020000 | 0x80
_AF_UNIX = 1
_MAP_SHARED_ANONYMOUS = 0x21
_O_TMPFILE = 0x400000
_PR_SET_PDEATHSIG, _PR_SET_SECCOMP = 1, 22
# <linux/fcntl.h>: copies and flags of descriptors, the size of a pipe, the seals of a file. Not among them: who gets signals
# (F_SETOWN), leases, F_NOTIFY, larger pipes, locks that belong to an open file.
_COMMANDS_OF_FILES = (0, 1, 2, 3, 4, 1030, 1032, 1034)
_LOCK_COMMANDS = (5, 6, 7)  # F_GETLK, F_SETLK, F_SETLKW
_STREAM, _SEQPACKET = 1, 5
_SOCKET_KIND = 0xFFFFFFFF & ~0x80800  # all but SOCK_NONBLOCK and SOCK_CLOEXEC
_FIOSETOWN, _SIOCSPGRP = 0x8901, 0x8902
_O_ACCESS, _O_TRUNC = 0x3, 0x200
_RWF_NOWAIT = 0x8
# <asm-generic/ioctls.h>: is it a terminal, its size, what can be read, closed on exec or not, blocking or not
_HARMLESS_IOCTLS = (0x5401, 0x5413, 0x541B, 0x5451, 0x5450, 0x5421)
# The second byte of those that change files and file systems, even through a descriptor for reading: FS_IOC_SETFLAGS,
# FS_IOC_FSSETXATTR, FS_IOC_SETVERSION, btrfs and clones of files, ext4, XFS
_IOCTLS_OF_FILES = (0x66, 0x58, 0x76, 0x94)

_ALLOW, _KILL_PROCESS, _ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
_SET_MODE_FILTER = 1

# <linux/bpf_common.h>: load a word, mask it, jump if equal / greater or equal / any bit set, return
_LOAD, _AND, _JEQ, _JGE, _JSET, _RETURN = 0x20, 0x54, 0x15, 0x35, 0x45, 0x06


class _Program:
    """A classic BPF program over `struct seccomp_data`: nr at 0, architecture at 4, arguments from 16, 8 bytes each."""

    def __init__(self) -> None:
        self.code: list[bytes] = []

    def emit(self, operation: int, value: int, if_true: int = 0, if_false: int = 0) -> None:
        self.code.append(struct.pack("HBBI", operation, if_true, if_false, value & 0xFFFFFFFF))

    def refuse(self, number: _Number, error: int) -> None:
        if (nr := _here(number)) is not None:
            self.emit(_JEQ, nr, 0, 1)
            self.emit(_RETURN, _ERRNO | error)

    def refuse_if(self, number: _Number, argument: int, test: int, value: int, *, holds: bool) -> None:
        """EPERM if the low word of the argument passes the test (or, with `holds` false, if it does not)."""
        if (nr := _here(number)) is not None:
            self.emit(_JEQ, nr, 0, 4)
            self.emit(_LOAD, 16 + 8 * argument)
            self.emit(test, value, *((0, 1) if holds else (1, 0)))
            self.emit(_RETURN, _ERRNO | errno.EPERM)
            self.emit(_LOAD, 0)

    def refuse_if_masked(self, number: _Number, argument: int, mask: int, value: int) -> None:
        """EPERM if the bits of the mask have this value."""
        if (nr := _here(number)) is not None:
            self.emit(_JEQ, nr, 0, 5)
            self.emit(_LOAD, 16 + 8 * argument)
            self.emit(_AND, mask)
            self.emit(_JEQ, value, 0, 1)
            self.emit(_RETURN, _ERRNO | errno.EPERM)
            self.emit(_LOAD, 0)

    def refuse_unless_null(self, number: _Number, argument: int) -> None:
        """EPERM if a pointer is not null. Both of its words count: an address may end with 32 zeros."""
        for word in (0, 4):
            if (nr := _here(number)) is not None:
                self.emit(_JEQ, nr, 0, 4)
                self.emit(_LOAD, 16 + 8 * argument + word)
                self.emit(_JEQ, 0, 1, 0)
                self.emit(_RETURN, _ERRNO | errno.EPERM)
                self.emit(_LOAD, 0)

    def refuse_unless(self, number: _Number, argument: int, values: Sequence[int], mask: int = 0xFFFFFFFF) -> None:
        """EPERM if the bits of the mask are none of these values."""
        if (nr := _here(number)) is not None:
            self.emit(_JEQ, nr, 0, len(values) + 4)
            self.emit(_LOAD, 16 + 8 * argument)
            self.emit(_AND, mask)
            for i, value in enumerate(values):
                self.emit(_JEQ, value, len(values) - i, 0)
            self.emit(_RETURN, _ERRNO | errno.EPERM)
            self.emit(_LOAD, 0)


def restrict(*, gpu: bool = False, locks: bool = False) -> None:
    """Install the filter for this process and all its threads, irrevocably. It holds the pid: call it in the process itself.

    `locks`: files may be locked, as libraries of scripts and the cache of CUDA do. Whoever else can read the file can see it.
    """
    program = _Program()
    program.emit(_LOAD, 4)
    program.emit(_JEQ, _ARCHITECTURE, 1, 0)
    program.emit(_RETURN, _KILL_PROCESS)
    program.emit(_LOAD, 0)
    for first in (_X32_BIT, _LAST_KNOWN):
        program.emit(_JGE, first, 0, 1)
        program.emit(_RETURN, _ERRNO | errno.ENOSYS)
    for name, number in _REFUSED.items():
        if not (gpu and name in _FOR_GPU):
            program.refuse(number, errno.EPERM)
    for number in _ABSENT.values():
        program.refuse(number, errno.ENOSYS)
    for number in _UNSUPPORTED.values():
        program.refuse(number, errno.EOPNOTSUPP)
    if gpu:
        program.refuse_if(_SOCKET, 0, _JEQ, _AF_UNIX, holds=False)
    else:
        program.refuse(_SOCKET, errno.EPERM)
    # A datagram socket could be sent on to any address.
    for number in (_SOCKET, _SOCKETPAIR):
        program.refuse_unless(number, 1, (_STREAM, _SEQPACKET), _SOCKET_KIND)
    program.refuse_if(_SOCKETPAIR, 0, _JEQ, _AF_UNIX, holds=False)
    program.refuse_unless_null(_SENDTO, 4)
    program.refuse_if(_PRLIMIT64, 0, _JEQ, 0, holds=False)
    program.refuse_if(_CLONE, 0, _JSET, _CLONE_THREAD, holds=False)
    program.refuse_if(_CLONE, 0, _JSET, _CLONE_NEW_ANY, holds=True)
    # Shared pages without a file stay in use when no process has them mapped: no supervisor could count them.
    if not gpu:  # CUDA pins such pages for its copies
        program.refuse_if_masked(_MMAP, 3, _MAP_SHARED_ANONYMOUS, _MAP_SHARED_ANONYMOUS)
    # Nor could one see a file that never had a name.
    program.refuse_if(_OPEN, 1, _JSET, _O_TMPFILE, holds=True)
    program.refuse_if(_OPENAT, 2, _JSET, _O_TMPFILE, holds=True)
    # A file can be cut while it is opened for reading only, or for neither of both (3), of which Landlock asks nothing.
    for number, flags in ((_OPEN, 1), (_OPENAT, 2)):
        program.refuse_if_masked(number, flags, _O_TRUNC | _O_ACCESS, _O_TRUNC)
        program.refuse_if_masked(number, flags, _O_ACCESS, _O_ACCESS)
    program.refuse_if(_PREADV2, 5, _JSET, _RWF_NOWAIT, holds=True)
    for option in (_PR_SET_PDEATHSIG, _PR_SET_SECCOMP):
        program.refuse_if(_PRCTL, 0, _JEQ, option, holds=True)
    # The owner of a descriptor gets signals from it, and could be any process of the user.
    program.refuse_unless(_FCNTL, 1, (*_COMMANDS_OF_FILES, *(_LOCK_COMMANDS if locks else ())))
    if not locks:
        program.refuse(_FLOCK, errno.EPERM)
    if gpu:
        for command in (_FIOSETOWN, _SIOCSPGRP):
            program.refuse_if(_IOCTL, 1, _JEQ, command, holds=True)
        for kind in _IOCTLS_OF_FILES:
            program.refuse_if_masked(_IOCTL, 1, 0xFF00, kind << 8)
    else:
        program.refuse_unless(_IOCTL, 1, _HARMLESS_IOCTLS)
    for number in _OF_THE_SCHEDULER:  # 0 is the calling thread
        program.refuse_if(number, 0, _JEQ, 0, holds=False)
    for number in (_KILL, _TGKILL):
        program.refuse_if(number, 0, _JEQ, os.getpid(), holds=False)
    program.emit(_RETURN, _ALLOW)
    _install(b"".join(program.code), len(program.code))


def _install(code: bytes, length: int) -> None:
    buffer = ctypes.create_string_buffer(code, len(code))
    filter_program = ctypes.create_string_buffer(struct.pack("HxxxxxxP", length, ctypes.addressof(buffer)))
    linux.no_new_privileges()
    arguments = (ctypes.c_uint(_SET_MODE_FILTER), ctypes.c_uint(0), filter_program)
    linux.checked(linux.syscall(linux.NR_SECCOMP, *arguments), "seccomp")


def _here(number: _Number) -> int | None:
    return number[0 if linux.X86_64 else 1]

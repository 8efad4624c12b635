"""The scorer's source, by the import system and by raw system calls."""

import ctypes
import importlib.machinery
import importlib.util
import mmap
import os
import sys

from tools import number, secret, syscall, tried

LEAKS = "none"
ALONE = ("landlock", "namespaces")


def main(child):
    path = child.options["scorer"]

    def imported():
        spec = importlib.util.spec_from_file_location("scorer", path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module.KEY

    def on_the_path():
        sys.path.insert(0, os.path.dirname(path))
        try:
            return importlib.import_module("scorer").KEY
        except ModuleNotFoundError as error:
            raise FileNotFoundError from error

    def raw():
        descriptor = syscall(number(257, 56), ctypes.c_int(-100), path.encode(), ctypes.c_int(0), ctypes.c_int(0))
        return secret(os.read(descriptor, 4096))

    def newer_call():
        how = (ctypes.c_uint64 * 3)(0, 0, 0)
        descriptor = syscall(437, ctypes.c_int(-100), path.encode(), how, ctypes.c_size_t(24))
        return secret(os.read(descriptor, 4096))

    def mapped():
        with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as data:
            return secret(data[:])

    return tried(imported, on_the_path, raw, newer_call, mapped)

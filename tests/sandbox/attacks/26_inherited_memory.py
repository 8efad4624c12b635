"""A secret that the trusted process held when this process came into being: all objects, then all memory."""

import gc
import os

from tools import SECRET, secret, tried

LEAKS = "plain"


def main(child):
    for thing in gc.get_objects():
        for text in thing.values() if type(thing) is dict else thing if type(thing) in (list, tuple) else ():
            data = text.encode("utf-8", "replace") if type(text) is str else text
            if type(data) is bytes and SECRET.search(data):
                return f"leak: object {text!r}".encode()
    return tried(*map(span_of_memory, lines("/proc/self/maps")))


def lines(path):
    try:
        with open(path) as file:
            return file.readlines()
    except FileNotFoundError:  # some machines allow no /proc inside
        return []


def span_of_memory(line):
    def read():
        span, access, *_ = line.split()
        first, last = (int(x, 16) for x in span.split("-"))
        if not access.startswith("rw") or last - first > 1 << 28:
            raise FileNotFoundError
        memory = os.open("/proc/self/mem", os.O_RDONLY)
        try:
            return secret(os.pread(memory, last - first, first))
        finally:
            os.close(memory)

    return read

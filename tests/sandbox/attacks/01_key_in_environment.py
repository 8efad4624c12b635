"""The key of an LLM provider from the environment."""

import os

from tools import read, secret, tried

LEAKS = "plain"


def main(child):
    def variables():
        return secret(os.fsencode(repr(dict(os.environb))))

    def at_start():
        return read("/proc/self/environ")

    return tried(variables, at_start)

"""The labels of the sealed split, which lie beside the input that was handed over."""

import os

from tools import read, tried

LEAKS = "none"
ALONE = ("landlock", "namespaces")


def main(child):
    given = child.inputs["images"]

    def at_their_path():
        return read(child.options["labels"])

    def beside_the_input():
        folder = os.path.dirname(os.readlink(f"/proc/self/fd/{given}"))
        return read(os.path.join(folder, "labels.npy"))

    def through_the_input():
        return read(f"/proc/self/fd/{given}/../labels.npy")

    return tried(at_their_path, beside_the_input, through_the_input)

"""Read something of an installed package that neither torch nor the seed needs: any of them may ship data with its labels.

It does not know which: it opens the first file of each entry of each folder of packages, whoever it belongs to.
"""

import os
import sys

LEAKS = "none"

NEEDED = (
    "_distutils_hack distutils-precedence filelock fsspec functorch isympy jinja2 markupsafe mpmath networkx numpy safetensors",
    "setuptools sympy torch torchgen triton typing_extensions nvidia cuda guided_evolution pkg_resources torchvision",
)


def first_file(path):
    if not os.path.isdir(path):
        return path
    return next((f"{folder}/{files[0]}" for folder, _, files in os.walk(path) if files), path)


def main(child):
    opened = []
    trees = [tree for tree in sys.path if tree.endswith("-packages")] + ["/usr/lib/python3/dist-packages"]
    for tree in trees:
        for name in sorted(os.listdir(tree) if os.path.isdir(tree) else ()):
            known = name.lower().replace("-", "_").startswith(tuple(" ".join(NEEDED).replace("-", "_").split()))
            if known or name == "__pycache__":
                continue
            try:
                with open(first_file(f"{tree}/{name}"), "rb") as file:
                    opened += [name] if file.read(1) else []
            except OSError:
                pass
    return b"leak " + " ".join(opened).encode() if opened else b"blocked"

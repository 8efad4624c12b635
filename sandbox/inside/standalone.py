"""The process of one call where each call is an interpreter of its own; `launch.subprocess_backend` starts it.

It lies in `inside` so that the process loads nothing of the trusted side. Its arguments are descriptors: the request, the
result and the inputs.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from sandbox.inside import process
from sandbox.inside.channel import FIRST_INPUT, RESULT, arrange_descriptors
from sandbox.isolation import linux, seatbelt


def main() -> None:
    request, result, *inputs = map(int, sys.argv[1:])
    with open(request, "rb", closefd=False) as file:
        file.seek(0)
        document = dict(json.load(file))
    null = os.open("/dev/null", os.O_RDWR)
    arrange_descriptors({0: null, 1: 1, 2: 2, RESULT: result} | {FIRST_INPUT + i: n for i, n in enumerate(inputs)})
    sys.dont_write_bytecode = True
    linux.set_name("evolve-cand")
    in_force = ("seatbelt",) if seatbelt.in_force() else ()
    process.run(document["order"] | {"baseline": 0}, document["request"], Path(document["scratch"]), in_force)


if __name__ == "__main__":
    main()

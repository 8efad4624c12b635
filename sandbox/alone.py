"""The process of one call that is an interpreter of its own: what `fresh` starts. Arguments: descriptors of the request, the
result and the inputs.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from sandbox import worker
from sandbox.isolation import seatbelt


def main() -> None:
    request, result, *inputs = map(int, sys.argv[1:])
    with open(request, "rb", closefd=False) as file:
        file.seek(0)
        told = dict(json.load(file))
    null = os.open("/dev/null", os.O_RDWR)
    worker.arrange({0: null, 1: 1, 2: 2, worker.RESULT: result} | {worker.FIRST_INPUT + i: n for i, n in enumerate(inputs)})
    sys.dont_write_bytecode = True
    layers = ("seatbelt",) if seatbelt.in_force() else ()
    worker.run(told["order"] | {"baseline": 0}, told["request"], Path(told["scratch"]), layers)


if __name__ == "__main__":
    main()

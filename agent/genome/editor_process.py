"""The editor's child process: prints `ready`, then answers each line of JSON on stdin by a line of JSON on stdout.

Text that an LLM wrote is parsed by libcst here and nowhere else, because hostile text can crash libcst's process.
"""

from __future__ import annotations

import json
import math
import resource
import signal
import sys
import time
from typing import Any

from agent.genome.edit_program import Files, edit_program
from agent.genome.extraction import Violations
from agent.genome.genome import Genome

_MEMORY = 2 << 30
"""Bytes of address space."""


def main() -> None:
    for number in (signal.SIGTERM, signal.SIGUSR1):  # a batch system sends them to all processes: the main one decides
        signal.signal(number, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _send("ready")
    for line in sys.stdin:
        request = json.loads(line)
        _limit_cpu(request.pop("seconds"))
        result = edit_program(**request)
        if isinstance(result, Violations):
            reply: dict[str, Any] = {"reasons": result.reasons, "stage": result.stage}
        else:
            reply = _describe(result, frozenset(request["entry_points"]))
        _send(json.dumps(reply))


def _send(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def _limit_cpu(seconds: float) -> None:
    """Let the kernel kill this process after `seconds` more of computing: libcst may hang on hostile text."""
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (math.ceil(time.process_time() + seconds), hard))


def _describe(files: Files, entry_points: frozenset[str]) -> dict[str, Any]:
    """The edited files and the properties of their genome, so that the parent process need not parse the files again."""
    genome = Genome(files, entry_points=entry_points)
    blocks = [(block.name, block.file, block.kind, block.source, block.meanings) for block in genome.all_blocks]
    return {"files": files, "fingerprint": genome.fingerprint, "blocks": blocks, "live_names": sorted(genome.live_names)}


if __name__ == "__main__":
    main()

"""The editor's child process: one JSON request a line on stdin, one JSON answer a line on stdout, until stdin ends.

Text that an LLM wrote is parsed here and nowhere else: libcst can crash its process on hostile text.
"""

from __future__ import annotations

import json
import resource
import sys
from dataclasses import astuple
from typing import Any

from agent.genome.answer import Violations, compile_error, extract
from agent.genome.contract import broken
from agent.genome.editing import edit
from agent.genome.genome import Genome

_MEMORY = 2 << 30


def apply(files: dict[str, str], names: list[str], answer: str) -> Genome | Violations:
    """The edited program, or why there is none. `names` are block names; all of them in one file."""
    path = names[0].rpartition(":")[0] or next(iter(files))
    bare = [name.rpartition(":")[2] for name in names]
    code = extract(answer, bare)
    if isinstance(code, Violations):
        return code
    if reason := compile_error(code):
        return Violations((reason,), "answer")
    edited = edit(files[path], bare, code)
    if isinstance(edited, Violations):
        return edited
    if reason := compile_error(edited):
        return Violations((reason,))
    reasons = broken(files[path], edited, bare, [text for other, text in files.items() if other != path])
    return Violations(reasons) if reasons else Genome({**files, path: edited})


def main() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for line in sys.stdin:
        result = apply(**json.loads(line))
        told: dict[str, Any]
        if isinstance(result, Violations):
            told = {"reasons": result.reasons, "stage": result.stage}
        else:  # with what is worked out here, so that the other side need not parse the text again
            told = {"files": dict(result.files), "fingerprint": result.fingerprint}
            told |= {"blocks": [astuple(block) for block in result.all_blocks], "live": sorted(result.live_names)}
        sys.stdout.write(json.dumps(told) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()

"""The editor's child process: one JSON request a line on stdin, one JSON answer a line on stdout, until stdin ends.

Text that an LLM wrote is parsed here and nowhere else: libcst can crash its process on hostile text.
"""

from __future__ import annotations

import json
import resource
import sys

from agent.genome.answer import Violations, compile_error, extract
from agent.genome.contract import broken
from agent.genome.editing import edit

_MEMORY = 2 << 30


def apply(files: dict[str, str], names: list[str], answer: str) -> dict[str, str] | Violations:
    """The changed files, or why there are none. `names` are block names; all of them in one file."""
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
    return Violations(reasons) if reasons else {path: edited}


def main() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for line in sys.stdin:
        result = apply(**json.loads(line))
        told = {"reasons": result.reasons, "stage": result.stage} if isinstance(result, Violations) else {"files": result}
        sys.stdout.write(json.dumps(told) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()

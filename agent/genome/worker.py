"""The editor's child process: `ready`, then an answer on stdout for each request on stdin, a line of JSON each.

Text that an LLM wrote is parsed here and nowhere else: libcst can crash its process on hostile text.
"""

from __future__ import annotations

import ast
import json
import math
import resource
import sys
import time
from dataclasses import astuple
from typing import Any

import libcst as cst

from agent.genome.answer import Violations, compile_error, extract
from agent.genome.contract import broken
from agent.genome.editing import edit
from agent.genome.facts import DEFINITIONS
from agent.genome.filing import filed
from agent.genome.genome import Genome
from agent.genome.pruning import without_unused
from agent.genome.syntax import parse

_MEMORY = 2 << 30

Files = dict[str, str]


def apply(files: Files, names: list[str], answer: str, frozen: list[str], entries: list[str]) -> Files | Violations:
    """The files as the answer has them, or why it cannot be used.

    `names`: the blocks that were asked for, all of them in one file; without any, all that are not frozen may change.
    `frozen`, `entries`: see `Genome`.
    """
    code, whole = extract(answer, [name.rpartition(":")[2] for name in names]), extract(answer)
    edited = _applied(files, names, code, frozen, entries)
    if isinstance(edited, Violations) and not isinstance(code, Violations) and whole != code:
        # A helper in a fence of its own is a slip of form, and a repair prompt would not tell that it was not read.
        mended = _applied(files, names, whole, frozen, entries)
        edited = edited if isinstance(mended, Violations) else mended
    return edited


def _applied(
    files: Files, names: list[str], code: str | Violations, frozen: list[str], entries: list[str]
) -> Files | Violations:
    """With the code of an answer, if it has any."""
    bare = [name.rpartition(":")[2] for name in names]
    if isinstance(code, Violations):
        return code
    if reason := compile_error(code):
        return Violations((reason,), "answer")
    edited = _one(files, names, code, entries) if names else _several(files, code, frozen, entries)
    if isinstance(edited, Violations):
        return edited
    if reasons := tuple(reason for text in edited.values() if (reason := compile_error(text))):
        return Violations(reasons)
    if not names:
        kept = without_unused(files, edited, frozen, entries)
        if reason := _idle(files, edited, kept):
            return Violations((reason,), "answer")
        edited = kept
    if reasons := broken(files, edited, bare, entries):
        return Violations(reasons)
    return edited


def _one(files: Files, names: list[str], code: str, entries: list[str]) -> Files | Violations:
    """With the blocks that were asked for."""
    path = names[0].rpartition(":")[0] or next(iter(files))
    edited = edit(files[path], [name.rpartition(":")[2] for name in names], cst.parse_module(code).body, entries)
    return edited if isinstance(edited, Violations) else {**files, path: edited}


def _several(files: Files, code: str, frozen: list[str], entries: list[str]) -> Files | Violations:
    """With whatever the answer defines."""
    parts = filed(files, cst.parse_module(code))
    if isinstance(parts, Violations):
        return parts
    edited = dict(files)
    reasons: list[str] = []
    for path, statements in parts.items():
        own = {f"{path}:{name}" if len(files) > 1 else name: name for name in _definitions(files[path])}
        names = [name for full, name in own.items() if full not in frozen]
        text = edit(files[path], names, statements, entries, free=True)
        if isinstance(text, Violations):
            reasons += text.reasons
        else:
            edited[path] = text
    return Violations(tuple(reasons)) if reasons else edited


def _idle(before: Files, edited: Files, kept: Files) -> str:
    """Why an answer would not do what it is meant to; empty if it does. `kept`: what is left without what nothing uses.

    A function that nothing uses is dropped in silence; a class is what the answer is about.
    """
    told = []
    for path, text in edited.items():
        new = {*_definitions(text)} - {*_definitions(before[path])} - {*_definitions(kept[path])}
        told += [f"`{name}`" for name in _definitions(text) if name in new and (kept == before or name in _classes(text))]
    if told:
        return f"Nothing in the program uses {', '.join(told)}: change what is to use it as well, or leave it out."
    return "The answer changes nothing: every definition in it stands in the program already." if kept == before else ""


def _worked_out(files: Files, entries: frozenset[str]) -> dict[str, Any]:
    """The files, with what the other side would have to parse them for."""
    genome = Genome(files, entries=entries)
    blocks = [(astuple(block), block.meanings) for block in genome.all_blocks]
    return {"files": files, "fingerprint": genome.fingerprint, "blocks": blocks, "live": sorted(genome.live_names)}


def _definitions(text: str) -> list[str]:
    return [node.name for node in parse(text).body if isinstance(node, DEFINITIONS)]


def _classes(text: str) -> list[str]:
    return [node.name for node in parse(text).body if isinstance(node, ast.ClassDef)]


def _allow(seconds: float) -> None:
    """So much more computing, or the process is killed: libcst may take for ever over hostile text."""
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (math.ceil(time.process_time() + seconds), hard))


def main() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    for line in sys.stdin:
        request = json.loads(line)
        entries = frozenset(request["entries"])
        _allow(request.pop("seconds"))
        result = apply(**request)
        if isinstance(result, Violations):
            told = {"reasons": result.reasons, "stage": result.stage}
        else:
            told = _worked_out(result, entries)
        sys.stdout.write(json.dumps(told) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()

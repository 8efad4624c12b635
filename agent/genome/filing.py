"""Which file each statement of an answer belongs to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import libcst as cst

from agent.genome.answer import Violations
from agent.genome.facts import DEFINITIONS, bound_names, is_value
from agent.genome.statements import is_import, names_of, read_names
from agent.genome.syntax import parse

Statements = list[cst.BaseStatement]


def filed(files: Mapping[str, str], answer: cst.Module) -> dict[str, Statements] | Violations:
    """The answer's statements by path. A name that one file has goes there: names decide.

    Where they do not, the last comment line above that is a path does, as in `# pkg/b.py`. A new name without one goes
    where it is used first in the answer, or else to the first file. Imports go to all files.
    """
    if len(files) == 1:
        return {next(iter(files)): list(answer.body)}
    owners: dict[str, list[str]] = {}
    for path, text in files.items():
        for node in parse(text).body:
            if isinstance(node, DEFINITIONS) or is_value(node):
                for name in bound_names(node):
                    owners.setdefault(name, []).append(path)
    reasons: list[str] = []
    marked = ""
    home: dict[int, str] = {}
    for number, statement in enumerate(answer.body):
        header = answer.header if number == 0 else ()
        marked = next(filter(None, (_path(line, files) for line in reversed([*header, *_above(statement)]))), marked)
        paths = sorted({path for name in names_of(statement) for path in owners.get(name, ())})
        if len(paths) == 1:
            home[number] = paths[0]
        elif marked:
            home[number] = marked
        elif paths and not is_import(statement):
            name = next(name for name in sorted(names_of(statement)) if name in owners)
            listed = " and ".join(f"`{path}`" for path in paths)
            reasons.append(f"{listed} both have a `{name}`: put the comment line `# {paths[0]}` above it, or the other path.")
    if reasons:
        return Violations(tuple(reasons))
    found: dict[str, Statements] = {path: [] for path in files}
    for number, statement in enumerate(answer.body):
        if is_import(statement):
            for path in files:
                found[path].append(statement)
        else:
            found[home.get(number) or _user(files, answer.body, home, number)].append(_unmarked(statement, files))
    return found


def _user(files: Mapping[str, str], body: Sequence[cst.BaseStatement], home: dict[int, str], number: int) -> str:
    """The file of the first statement that reads the new name, if need be through others that are new."""
    queue, seen = [number], {number}
    while queue:
        names = names_of(body[queue.pop(0)])
        for other, statement in enumerate(body):
            if other not in seen and not is_import(statement) and names & read_names(statement):
                if other in home:
                    return home[other]
                queue.append(other)
                seen.add(other)
    return next(iter(files))


def _above(statement: cst.BaseStatement) -> Sequence[cst.EmptyLine]:
    return getattr(statement, "leading_lines", ())


def _path(line: cst.EmptyLine, files: Mapping[str, str]) -> str:
    """The path that a comment line consists of; empty for any other line."""
    said = line.comment.value.strip("#:` ") if line.comment else ""
    return said if said in files else ""


def _unmarked(statement: cst.BaseStatement, files: Mapping[str, str]) -> cst.BaseStatement:
    return statement.with_changes(leading_lines=[line for line in _above(statement) if not _path(line, files)])

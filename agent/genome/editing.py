"""Code of an answer -> the edited file. libcst takes the answer apart; the file itself is spliced by lines.

Splicing, because then every byte outside the edit stays by construction: in libcst's tree the blank and comment lines
below a block belong to the block. Runs in the editor's child process.
"""

from __future__ import annotations

import ast
from collections.abc import Collection, Sequence

import libcst as cst

from agent.genome.answer import Violations
from agent.genome.facts import DEFINITIONS, bound_names, is_value, meanings
from agent.genome.splicing import Edit, spliced
from agent.genome.statements import (
    Definition,
    bindings,
    first_line,
    imported_as,
    is_assignment,
    is_demonstration,
    is_future,
    is_import,
    meaning,
    names_of,
    omissions,
    read_names,
)
from agent.genome.syntax import parse

_MEANT = {
    "math": "import math",
    "functools": "import functools",
    "itertools": "import itertools",
    "torch": "import torch",
    "nn": "from torch import nn",
    "F": "import torch.nn.functional as F",
}
"""Imports that answers forget most, by the one name that each can mean."""


def edit(
    source: str, names: Collection[str], answer: Sequence[cst.BaseStatement], entries: Collection[str], *, free: bool = False
) -> str | Violations:
    """`source` with the blocks `names` replaced by those of `answer`, whose imports and new statements are merged in.

    The answer has to define all of them and may change nothing else. If it is `free`, it may define any of them, and the
    program's constants. What repeats an existing statement is ignored. Both texts have passed the gates.
    """
    standing = {name: node for node in parse(source).body if _may_be_meant(node) for name in bound_names(node)}
    known = {(one,) for one in meanings(source)}
    given = {name for statement in answer if isinstance(statement, Definition) for name in names_of(statement)}
    reasons = [f"The answer does not define `{name}`." for name in names if not free and name not in given]
    statements: list[cst.BaseStatement] = []
    for statement in answer:
        if is_import(statement) or is_demonstration(statement):
            continue
        wanted = not free and isinstance(statement, Definition) and statement.name.value in names
        if not wanted and meaning(statement) in known:
            continue
        if not (isinstance(statement, Definition) or is_assignment(statement)):
            reasons.append(f"Top-level code with side effects is not allowed: `{first_line(statement)}`.")
        else:
            statements.append(statement)
    statements = _last_of_each(statements)
    for name in [name for statement in statements for name in omissions(statement)]:
        reasons.append(f"The body of `{name}` is left out (`...`): write it in full, or leave out what stays as it is.")
    edits: list[Edit] = []
    for statement in _wanted(statements, {*standing, *entries}):
        bound = names_of(statement)
        targets = [standing[name] for name in sorted(bound) if name in standing]
        if targets and (reason := _forbidden(statement, bound, targets, names, free)):
            reasons.append(reason)
        else:
            edits.append(Edit(statement, targets[0] if targets else None))
    if reasons:
        return Violations(tuple(dict.fromkeys(reasons)))
    return spliced(source, edits, _new_imports(source, answer, edits, every=not free))


def _may_be_meant(node: ast.stmt) -> bool:
    return isinstance(node, DEFINITIONS) or is_value(node)


def _forbidden(
    statement: cst.BaseStatement, bound: Collection[str], targets: Sequence[ast.stmt], names: Collection[str], free: bool
) -> str:
    """Why the statement may not stand in the place of these; empty if it may."""
    name = next(name for name in sorted(bound) if name in bound_names(targets[0]))
    defined = isinstance(targets[0], DEFINITIONS)
    if free:
        if defined and name not in names:
            return f"`{name}` is frozen: leave it out."
        if len(set(targets)) > 1 or not bound_names(targets[0]) <= set(bound):
            return f"The name `{name}` is bound in the program together with others: bind the same ones, or choose a new one."
        return ""
    if not isinstance(statement, Definition):
        return f"The name `{name}` exists in the program already with another value; choose a new one."
    if name not in names:
        asked = " and ".join(f"`{n}`" for n in names)
        return f"The answer changes `{name}`; only {asked} may change: leave `{name}` out."
    return ""


def _last_of_each(statements: Sequence[cst.BaseStatement]) -> list[cst.BaseStatement]:
    """Of definitions of the same name, and of equal values, the last one."""
    last = {s.name.value if isinstance(s, Definition) else meaning(s): s for s in statements}
    return [statement for statement in statements if any(statement is one for one in last.values())]


def _wanted(statements: Sequence[cst.BaseStatement], asked: Collection[str]) -> list[cst.BaseStatement]:
    """Without the values that nothing reads: `x = Gate(8)` below the block is a demonstration, and above it an error.

    A name in `asked` stays: it means something in the program, or the framework reads it.
    """
    values = [statement for statement in statements if not isinstance(statement, Definition)]
    definitions = [statement for statement in statements if isinstance(statement, Definition)]
    used = set(asked).union(*(read_names(node) for node in definitions))
    while fresh := [value for value in values if names_of(value) & used]:
        values = [value for value in values if value not in fresh]
        used = used.union(*(read_names(value) for value in fresh))
    return [statement for statement in statements if statement not in values]


def _new_imports(
    source: str, answer: Sequence[cst.BaseStatement], edits: Sequence[Edit], *, every: bool
) -> list[cst.BaseStatement]:
    """The answer's imports that bring a name which the file does not have; without `every`, those that its edits read.

    And those that it forgot, where the name leaves no doubt.
    """
    body = parse(source).body
    have = {name for node in body if isinstance(node, ast.Import | ast.ImportFrom) for name in imported_as(node)}
    own = {name for node in body if _may_be_meant(node) for name in bound_names(node)}
    own = own.union(*(names_of(edit.statement) for edit in edits))
    read = set[str]().union(*(read_names(edit.statement) for edit in edits))
    fresh: list[cst.BaseStatement] = []
    for statement in answer:
        if not is_import(statement) or bindings(statement) <= have:
            continue
        names = names_of(statement)
        if every or is_future(statement) or "*" in names or (names & read and not names <= own):
            have |= bindings(statement)
            fresh.append(statement)
    bound = own.union(*(bound_names(node) for node in body), *(names_of(statement) for statement in fresh))
    forgotten = [line for name, line in _MEANT.items() if name in read - bound]
    return [*fresh, *map(cst.parse_statement, forgotten)]

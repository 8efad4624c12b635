"""Edit one file: replace its statements by those of an answer, and add new statements and imports.

libcst takes the answer apart, but the file itself is edited by lines, so that every byte outside the edit stays: in
libcst's tree the blank and comment lines below a block belong to the block. Runs in the editor's child process.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import libcst as cst

from agent.genome.analysis import (
    DEFINITIONS,
    bound_names,
    comment_start,
    import_time_names,
    is_replaceable,
    line_span,
    meanings,
    parse,
    source_lines,
)
from agent.genome.extraction import Violations
from agent.genome.imports import Import, forgotten_imports, wanted_imports, with_imports
from agent.genome.layout import keep_layout, without_trailing_blanks
from agent.genome.line_ends import with_ends_of
from agent.genome.statements import (
    Definition,
    first_line,
    is_assignment,
    is_demonstration,
    is_import,
    meaning_of,
    names_of,
    omitted_bodies,
    read_names,
    text_of,
)


@dataclass(frozen=True, eq=False)
class _Edit:
    """A statement of an answer, and the file's statement that it replaces; None for a new statement."""

    statement: cst.BaseStatement
    target: ast.stmt | None


def edit_file(
    source: str,
    names: Collection[str],
    answer: Sequence[cst.BaseStatement],
    entry_points: Collection[str],
    *,
    free: bool = False,
) -> str | Violations:
    """Return `source` with the blocks `names` replaced by those of `answer`, and its imports and new statements added.

    The answer must define all of `names` and may change nothing else; if it is `free`, it may define any of them and
    change the program's constants. Statements that repeat existing ones are ignored. Both texts must have passed
    `compile_error`. `entry_points`: names of the functions that the task calls.
    """
    body = parse(source).body
    existing = {name: node for node in body if is_replaceable(node) for name in bound_names(node)}
    defined = {name for statement in answer if isinstance(statement, Definition) for name in names_of(statement)}
    reasons = [f"The answer does not define `{name}`." for name in names if not free and name not in defined]
    statements, refused = _relevant(source, [] if free else names, answer)
    reasons += refused
    for name in [name for statement in statements for name in omitted_bodies(statement)]:
        reasons.append(f"The body of `{name}` is left out (`...`): write it in full, or leave out what stays as it is.")
    edits: list[_Edit] = []
    for statement in _without_unread_values(statements, {*existing, *entry_points}):
        bound = names_of(statement)
        targets, unclear = _targets(statement, bound, body, existing)
        if unclear:
            reasons.append(unclear)
        elif targets and (reason := _refusal(statement, bound, targets, names, free)):
            reasons.append(reason)
        else:
            edits.append(_Edit(statement, targets[0] if targets else None))
    if reasons:
        return Violations(tuple(dict.fromkeys(reasons)))
    return with_imports(_splice(source, edits), _new_imports(source, answer, edits))


def _targets(
    statement: cst.BaseStatement, bound: Collection[str], body: Sequence[ast.stmt], existing: Mapping[str, ast.stmt]
) -> tuple[list[ast.stmt], str]:
    """The statements that a new one replaces, and why it is not clear which; a definition replaces one, where there is one."""
    targets = []
    for name in (name for name in sorted(bound) if name in existing):
        binders = [node for node in body if is_replaceable(node) and name in bound_names(node)]
        alike = [node for node in binders if isinstance(node, DEFINITIONS) == isinstance(statement, Definition)]
        if len(alike or binders) > 1:
            times = f"`{name}` is bound {len(binders)} times at the top of the file"
            return [], f"{times}: which one is meant is not clear, leave it out."
        targets.append((alike or binders)[0])
    return targets, ""


def _relevant(
    source: str, wanted: Collection[str], answer: Sequence[cst.BaseStatement]
) -> tuple[list[cst.BaseStatement], list[str]]:
    """The definitions and assignments of an answer that change something, and why other statements are refused.

    `wanted`: definitions that are kept even if they repeat what the source has.
    """
    known = {(meaning,) for meaning in meanings(source)}
    statements: list[cst.BaseStatement] = []
    reasons = []
    for statement in answer:
        if is_import(statement) or is_demonstration(statement):
            continue
        if not (isinstance(statement, Definition) and statement.name.value in wanted) and meaning_of(statement) in known:
            continue
        if isinstance(statement, Definition) or is_assignment(statement):
            statements.append(statement)
        else:
            reasons.append(f"Top-level code with side effects is not allowed: `{first_line(statement)}`.")
    last = {s.name.value if isinstance(s, Definition) else meaning_of(s): s for s in statements}
    kept = {id(statement) for statement in last.values()}  # if a definition or value is repeated, the last one counts
    return [statement for statement in statements if id(statement) in kept], reasons


def _without_unread_values(statements: Sequence[cst.BaseStatement], wanted: Collection[str]) -> list[cst.BaseStatement]:
    """Drop assignments that no definition reads: `x = Gate(8)` below the block is a demonstration, above it an error.

    Assignments to names in `wanted` stay: the program or the task reads these.
    """
    values = [statement for statement in statements if not isinstance(statement, Definition)]
    definitions = [statement for statement in statements if isinstance(statement, Definition)]
    used = set(wanted).union(*(read_names(node) for node in definitions))
    while read := [value for value in values if names_of(value) & used]:
        values = [value for value in values if value not in read]
        used = used.union(*(read_names(value) for value in read))
    return [statement for statement in statements if statement not in values]


def _refusal(
    statement: cst.BaseStatement, bound: Collection[str], targets: Sequence[ast.stmt], names: Collection[str], free: bool
) -> str:
    """Why the statement, which binds `bound`, may not replace `targets`; empty if it may."""
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


def _new_imports(source: str, answer: Sequence[cst.BaseStatement], edits: Sequence[_Edit]) -> list[Import]:
    """The answer's imports that the edits read and the file lacks, and common ones that the answer forgot."""
    body = parse(source).body
    own = {name for node in body if is_replaceable(node) for name in bound_names(node)}
    own = own.union(*(names_of(edit.statement) for edit in edits))
    read = set[str]().union(*(read_names(edit.statement) for edit in edits))
    nodes = [node for statement in answer if is_import(statement) for node in parse(text_of(statement)).body]
    imports = wanted_imports(source, nodes, read, own)
    bound = own.union(*(bound_names(node) for node in body), (one.binds for one in imports))
    bound |= {n.id for node in body for n in ast.walk(node) if isinstance(n, ast.Name)}  # the file has them from somewhere
    return [*imports, *forgotten_imports(read, bound)]


class _Place(NamedTuple):
    """Lines [start, stop) of a file, counted from 0, that new text replaces. At the same line the lower rank comes first."""

    start: int
    stop: int
    rank: int


_BELOW, _ABOVE, _REPLACEMENT = range(3)
"""Ranks: new statements that follow what is above them; new ones that precede what is below; replacements."""


def _splice(source: str, edits: Sequence[_Edit]) -> str:
    """Return the file's text with the edits made. Code that an edit repeats keeps its layout.

    A new statement is put above the next statement of the answer that has a place in the file, else below the previous one
    that has a place; but never above a statement that it needs on import.
    """
    lines, tree = source_lines(source), parse(source)
    pieces: defaultdict[_Place, str] = defaultdict(str)
    bound_at = {name: _below(node) for node in tree.body for name in bound_names(node)}
    for number, edit in enumerate(edits):
        if edit.target is not None:
            first, last = line_span(edit.target)
            bare = edit.statement.with_changes(leading_lines=[])  # the comments in the file stay
            old = "".join(lines[first - 1 : last]).replace("\r\n", "\n").removesuffix("\n")
            pieces[_Place(first - 1, last, _REPLACEMENT)] += keep_layout(old, text_of(bare)) + "\n"
        else:
            text = without_trailing_blanks(text_of(edit.statement))
            read = {name for node in parse(text).body for name in import_time_names(node)}
            place = max([_place_of_new(lines, edits, number), *(bound_at[name] for name in read if name in bound_at)])
            bound_at |= dict.fromkeys(names_of(edit.statement), place)
            pieces[place] += f"\n\n{text}\n" if place.rank == _BELOW else f"{text}\n\n\n"
    for place, text in sorted(pieces.items(), reverse=True):  # from the bottom up: line numbers above stay valid
        unended = place.start == len(lines) and lines and not lines[-1].endswith("\n")
        new = ("\n" if unended else "") + text
        if place.stop == len(lines) and place.stop > place.start and not lines[-1].endswith("\n"):
            new = new.removesuffix("\n")  # the file goes on to end without a line end
        lines[place.start : place.stop] = with_ends_of(lines, place.start, place.stop, new)
    return "".join(lines)


def _below(node: ast.stmt) -> _Place:
    last = line_span(node)[1]
    return _Place(last, last, _BELOW)


def _place_of_new(lines: list[str], edits: Sequence[_Edit], number: int) -> _Place:
    """Where the new statement `edits[number]` goes, as far as its neighbours in the answer decide."""
    if later := [edit.target for edit in edits[number + 1 :] if edit.target is not None]:
        first = comment_start(lines, line_span(later[0])[0]) - 1
        return _Place(first, first, _ABOVE)
    if earlier := [edit.target for edit in edits[:number] if edit.target is not None]:
        return _below(earlier[-1])
    return _Place(len(lines), len(lines), _BELOW)

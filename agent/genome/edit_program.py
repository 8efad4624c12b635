"""Apply an LLM's answer to a program: find its code, edit each file, drop what became unused, check the contract.

Runs in the editor's child process.
"""

from __future__ import annotations

import ast
from collections.abc import Collection, Mapping, Sequence

import libcst as cst

from agent.genome.analysis import (
    DEFINITIONS,
    bound_names,
    comment_start,
    is_plain_assignment,
    is_replaceable,
    line_span,
    meanings,
    mentioned_names,
    parse,
    reachable_names,
    source_lines,
)
from agent.genome.constants import CONSTANTS, constant_sources, fixed_statements, is_start, title
from agent.genome.contract import contract_violations
from agent.genome.edit_file import edit_file
from agent.genome.extraction import Limits, Violations, compile_error, extract_code
from agent.genome.genome import bare_name, block_name
from agent.genome.statements import is_demonstration, is_import, meaning_of, names_of, read_names

Files = dict[str, str]
"""Source text by relative path."""


def edit_program(
    files: Files, names: Sequence[str], answer: str, frozen: Collection[str], entry_points: Collection[str]
) -> Files | Violations:
    """Return the files as the answer changes them, or why the answer cannot be used.

    `names`: the blocks that were asked for, all of them in one file. If empty, all blocks that are not frozen may change.
    `frozen`, `entry_points`: see `Genome`.
    """
    limits = Limits.beside(files.values())
    code, all_code = extract_code(answer, [*map(bare_name, names)], limits), extract_code(answer, limits=limits)
    if [*map(bare_name, names)] == [CONSTANTS]:
        code = all_code
    edited = _apply_code(files, names, code, frozen, entry_points)
    if isinstance(edited, Violations) and not isinstance(code, Violations) and all_code != code:
        # A helper in a separate fence is only a slip of form, and the reasons would not say that the fence was ignored.
        second_try = _apply_code(files, names, all_code, frozen, entry_points)
        return edited if isinstance(second_try, Violations) else second_try
    return edited


def _apply_code(
    files: Files, names: Sequence[str], code: str | Violations, frozen: Collection[str], entry_points: Collection[str]
) -> Files | Violations:
    if isinstance(code, Violations):
        return code
    limits = Limits.beside(files.values())
    if reason := compile_error(code, limits):
        return Violations((reason,), "answer")
    module = cst.parse_module(code)
    if reasons := _changes_of_fixed_code(files, module):
        return Violations(reasons)
    constants = len(names) == 1 and bare_name(names[0]) == CONSTANTS and CONSTANTS not in _definitions(_file_of(files, names))
    if constants:
        edited = _edit_constants(files, names, module, frozen, entry_points)
        names = ()
    else:
        edited = _edit_named(files, names, module, entry_points) if names else _edit_any(files, module, frozen, entry_points)
    if isinstance(edited, Violations):
        return edited
    if reasons := tuple(reason for text in edited.values() if (reason := compile_error(text, limits))):
        return Violations(reasons)
    if not names:
        pruned = _prune(files, edited, frozen, entry_points)
        if reason := _lack_of_effect(files, edited, pruned):
            return Violations((reason,), "answer")
        edited = pruned
    if reasons := contract_violations(files, edited, [*map(bare_name, names)], entry_points, frozen):
        return Violations(reasons)
    return edited


def _edit_named(files: Files, names: Sequence[str], module: cst.Module, entry_points: Collection[str]) -> Files | Violations:
    """Replace the blocks that were asked for."""
    path = names[0].rpartition(":")[0] or next(iter(files))
    edited = edit_file(files[path], [*map(bare_name, names)], module.body, entry_points)
    return edited if isinstance(edited, Violations) else {**files, path: edited}


def _file_of(files: Files, names: Sequence[str]) -> str:
    """The text of the file that these blocks stand in."""
    return files[names[0].rpartition(":")[0] or next(iter(files))]


def _edit_constants(
    files: Files, names: Sequence[str], module: cst.Module, frozen: Collection[str], entry_points: Collection[str]
) -> Files | Violations:
    """Replace constants of one file."""
    path = names[0].rpartition(":")[0] or next(iter(files))
    sources = (source for _, source in constant_sources(files[path]))
    known = {name for source in sources for node in parse(source).body for name in bound_names(node)}
    reasons = []
    for statement in module.body:
        if not is_import(statement) and not is_demonstration(statement):
            reasons += [f"Only constants may change: leave `{name}` out." for name in sorted(names_of(statement) - known)]
    if reasons:
        return Violations(tuple(reasons))
    return _edited(files, {path: list(module.body)}, frozen, entry_points)


def _changes_of_fixed_code(files: Files, answer: cst.Module) -> tuple[str, ...]:
    """Why an answer that holds another version of code that runs at the top level cannot be used."""
    fixed = [node for text in files.values() for node in fixed_statements(text)]
    known = {ast.dump(node) for node in fixed}
    heads = {title(node) for node in fixed if isinstance(node, ast.If | ast.For | ast.While)}
    calls = {node.value.func.id for node in fixed if is_start(node)}  # type: ignore[attr-defined]
    reasons = []
    for node in fixed_statements(answer.code):
        same_call = is_start(node) and node.value.func.id in calls  # type: ignore[attr-defined]
        if ast.dump(node) not in known and (title(node) in heads or same_call):
            reasons.append(f"The code at the top level, `{title(node)}`, is fixed: leave it out, and change what it calls.")
    return tuple(dict.fromkeys(reasons))


def _edit_any(files: Files, module: cst.Module, frozen: Collection[str], entry_points: Collection[str]) -> Files | Violations:
    """Replace and add whatever the answer defines."""
    by_file = _statements_by_file(files, module)
    if isinstance(by_file, Violations):
        return by_file
    return _edited(files, by_file, frozen, entry_points)


def _edited(
    files: Files, by_file: Mapping[str, list[cst.BaseStatement]], frozen: Collection[str], entry_points: Collection[str]
) -> Files | Violations:
    """Replace and add these statements in their files."""
    edited = dict(files)
    reasons: list[str] = []
    for path, statements in by_file.items():
        held = {name for name, _ in constant_sources(files[path]) if block_name(path, name, len(files) > 1) in frozen}
        if block_name(path, CONSTANTS, len(files) > 1) in frozen:
            held = {name for name, _ in constant_sources(files[path])}
        known = set(meanings(files[path]))
        changed = [one for one in statements if not set(meaning_of(one)) <= known]
        reasons += [f"`{name}` is frozen: leave it out." for one in changed for name in sorted(names_of(one) & held)]
        names = [name for name in _definitions(files[path]) if block_name(path, name, len(files) > 1) not in frozen]
        text = edit_file(files[path], names, statements, entry_points, free=True)
        if isinstance(text, Violations):
            reasons += text.reasons
        else:
            edited[path] = text
    return Violations(tuple(reasons)) if reasons else edited


def _definitions(text: str) -> list[str]:
    return [node.name for node in parse(text).body if isinstance(node, DEFINITIONS)]


def _lack_of_effect(before: Files, edited: Files, pruned: Files) -> str:
    """Why an answer would not have the effect it is meant to have; empty if it would. `pruned`: `edited` without unused code.

    An unused new function is dropped silently as long as something else changes; an unused new class is refused, because it
    must be the point of the answer.
    """
    unused = []
    for path, text in edited.items():
        classes = {node.name for node in parse(text).body if isinstance(node, ast.ClassDef)}
        dropped = {*_definitions(text)} - {*_definitions(before[path])} - {*_definitions(pruned[path])}
        unused += [f"`{name}`" for name in _definitions(text) if name in dropped and (pruned == before or name in classes)]
    if unused:
        return f"Nothing in the program uses {', '.join(unused)}: change what is to use it as well, or leave it out."
    return "The answer changes nothing: every definition in it stands in the program already." if pruned == before else ""


# Find the file that each statement of the answer belongs to.


def _statements_by_file(files: Files, answer: cst.Module) -> dict[str, list[cst.BaseStatement]] | Violations:
    """The answer's statements by path. Imports go to all files; a statement whose name one file has goes to that file.

    Other statements go to the file named by the last comment line above them that is a path, as in `# pkg/b.py`. A new
    name without such a line goes where the answer uses it first, or else to the first file.
    """
    if len(files) == 1:
        return {next(iter(files)): list(answer.body)}
    home = _explicit_homes(files, answer)
    if isinstance(home, Violations):
        return home
    by_file: dict[str, list[cst.BaseStatement]] = {path: [] for path in files}
    for number, statement in enumerate(answer.body):
        if is_import(statement):
            for path in files:
                by_file[path].append(statement)
        else:
            path = home.get(number) or _home_of_first_user(files, answer.body, home, number)
            by_file[path].append(_without_path_comments(statement, files))
    return by_file


def _explicit_homes(files: Files, answer: cst.Module) -> dict[int, str] | Violations:
    """The path of each statement whose file is clear from its names or a path comment, by its index; or what is ambiguous."""
    owners: dict[str, list[str]] = {}
    for path, text in files.items():
        for node in parse(text).body:
            if is_replaceable(node):
                for name in bound_names(node):
                    owners.setdefault(name, []).append(path)
    reasons: list[str] = []
    commented = ""
    home: dict[int, str] = {}
    for number, statement in enumerate(answer.body):
        above = [*(answer.header if number == 0 else ()), *_lines_above(statement)]
        commented = next(filter(None, (_path_in_comment(line, files) for line in reversed(above))), commented)
        paths = sorted({path for name in names_of(statement) for path in owners.get(name, ())})
        if len(paths) == 1:
            home[number] = paths[0]
        elif commented:
            home[number] = commented
        elif paths and not is_import(statement):
            name = next(name for name in sorted(names_of(statement)) if name in owners)
            listed = " and ".join(f"`{path}`" for path in paths)
            reasons.append(f"{listed} both have a `{name}`: put the comment line `# {paths[0]}` above it, or the other path.")
    return Violations(tuple(reasons)) if reasons else home


def _home_of_first_user(files: Files, body: Sequence[cst.BaseStatement], home: Mapping[int, str], number: int) -> str:
    """The file of the first statement that reads a new name, directly or through other new names."""
    queue, visited = [number], {number}
    while queue:
        names = names_of(body[queue.pop(0)])
        for other, statement in enumerate(body):
            if other not in visited and not is_import(statement) and names & read_names(statement):
                if other in home:
                    return home[other]
                queue.append(other)
                visited.add(other)
    return next(iter(files))


def _lines_above(statement: cst.BaseStatement) -> Sequence[cst.EmptyLine]:
    return getattr(statement, "leading_lines", ())


def _path_in_comment(line: cst.EmptyLine, files: Files) -> str:
    """The path that a comment line consists of; empty for any other line."""
    text = line.comment.value.strip("#:` ") if line.comment else ""
    return text if text in files else ""


def _without_path_comments(statement: cst.BaseStatement, files: Files) -> cst.BaseStatement:
    return statement.with_changes(leading_lines=[line for line in _lines_above(statement) if not _path_in_comment(line, files)])


# Remove what the edit left unused.


def _prune(before: Files, after: Files, frozen: Collection[str], entry_points: Collection[str]) -> Files:
    """Return `after` without the definitions and assignments that the edit left unused, or added without using them.

    Otherwise programs would grow by what earlier rewrites left behind. Never removed: entry points, frozen blocks,
    decorated definitions, what was unused before the edit, and what a statement that stays mentions. Without an entry
    point in the program nothing is removed.
    """
    reachable, was_reachable = (
        reachable_names(files.values(), entry_points, passive_assignments=True) for files in (after, before)
    )
    if not reachable:
        return dict(after)
    old_names = {name for text in before.values() for node in parse(text).body for name in bound_names(node)}
    body = [(path, node) for path, text in after.items() for node in parse(text).body]
    unused = []
    for path, node in body:
        names = bound_names(node)
        fixed = {block_name(path, name, len(after) > 1) for name in names} & set(frozen) or names & set(entry_points)
        removable = (isinstance(node, DEFINITIONS) and not node.decorator_list) or is_plain_assignment(node)
        by_this_edit = names & was_reachable or not names & old_names
        if removable and not fixed and not names & reachable and by_this_edit:
            unused.append((path, node))
    kept = [entry for entry in body if entry not in unused]
    while held := [entry for entry in unused if any(bound_names(entry[1]) & mentioned_names(node) for _, node in kept)]:
        unused = [entry for entry in unused if entry not in held]
        kept += held
    return {path: _without_nodes(text, [node for owner, node in unused if owner == path]) for path, text in after.items()}


def _without_nodes(text: str, nodes: Collection[ast.stmt]) -> str:
    """Remove the lines of statements, with the comment lines directly above them and the blank lines above those."""
    lines = source_lines(text)
    spans = [line_span(node) for node in parse(text).body]
    for node in sorted(nodes, key=lambda node: node.lineno, reverse=True):
        first, last = line_span(node)
        if sum(start <= last and first <= stop for start, stop in spans) > 1:
            continue  # it shares a line with another statement
        start = comment_start(lines, first) - 1
        while start > 0 and not lines[start - 1].strip():
            start -= 1
        del lines[start:last]
    return "".join(lines)

"""Put diffs into a program where it still has the lines that they change."""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence

from agent.genome.analysis import bound_names, is_replaceable, line_span, meanings, parse, source_lines
from agent.genome.genome import Genome
from agent.genome.rewrites.change import Change

_Imports = ast.Import | ast.ImportFrom


def apply_diffs(genome: Genome, diffs: Mapping[str, str]) -> Change | None:
    """The definitions that change when those of the diffs that fit are applied in order; None if none of them does.

    `diffs`: unified diffs by their names. One fits if each of its hunks finds its old lines just once in one of the files.
    """
    files, fitted = dict(genome.files), list[str]()
    for name, diff in diffs.items():
        patched = _patched(files, diff)
        if patched is not None and _parses(patched):
            files, fitted = patched, [*fitted, name]
    parts, imports = [], dict[str, None]()
    for path, text in files.items():
        changed, new_imports = _changed_statements(genome.files[path], text)
        if changed:
            parts += [f"# {path}"] if len(files) > 1 else []
            parts += changed
        imports |= dict.fromkeys(new_imports)
    if not parts:
        return None
    return Change("\n\n".join(parts), "\n".join(imports), f"put together what {' and '.join(fitted)} changed")


def _patched(files: Mapping[str, str], diff: str) -> dict[str, str] | None:
    """The files with all hunks of a diff applied; None if one does not fit."""
    patched = dict(files)
    for old, new in _hunks(diff):
        places = [path for path, text in patched.items() if text.count(old) == 1] if old.strip() else []
        if len(places) != 1:
            return None
        patched[places[0]] = patched[places[0]].replace(old, new)
    return patched if patched != dict(files) else None


def _hunks(diff: str) -> list[tuple[str, str]]:
    """(old text, new text) of each hunk."""
    hunks: list[tuple[str, str]] = []
    for line in diff.split("\n"):
        mark, rest = line[:1], f"{line[1:]}\n"
        if line.startswith("@@"):
            hunks.append(("", ""))
        elif hunks and not line.startswith(("--- ", "+++ ", "\\")):
            old, new = hunks[-1]
            hunks[-1] = (old + (rest if mark != "+" else ""), new + (rest if mark != "-" else ""))
    return hunks


def _parses(files: Mapping[str, str]) -> bool:
    try:
        return all(parse(text) for text in files.values())
    except (SyntaxError, ValueError):
        return False


def _changed_statements(before: str, after: str) -> tuple[Sequence[str], Sequence[str]]:
    """The definitions and assignments of a file that changed or are new, and its new imports."""
    known, lines = {*meanings(before)}, source_lines(after)
    changed, imports = [], []
    for node, meaning in zip(parse(after).body, meanings(after), strict=True):
        if meaning in known:
            continue
        first, last = line_span(node)
        text = "".join(lines[first - 1 : last]).rstrip("\n") + "\n"
        if isinstance(node, _Imports):
            imports.append(text.strip())
        elif is_replaceable(node) and bound_names(node):
            changed.append(text)
    return changed, imports

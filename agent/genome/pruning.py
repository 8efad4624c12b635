"""What nothing leads to any more is dropped, so that genomes do not grow by what their rewrites left behind."""

from __future__ import annotations

import ast
from collections.abc import Collection, Mapping

from agent.genome.facts import DEFINITIONS, bound_names, is_value, mentioned, reached, span
from agent.genome.genome import source_lines
from agent.genome.syntax import parse


def without_unused(
    before: Mapping[str, str], after: Mapping[str, str], frozen: Collection[str], entries: Collection[str]
) -> dict[str, str]:
    """`after` without the definitions and values that the edit left unused, or brought along unused.

    Never an entry point, a frozen block (see `Genome.frozen`), something decorated, what was unused before the edit, or
    what is mentioned by a statement that stays. Where there is no entry point, nothing can be told and all stays.
    """
    alive, was_alive = (reached(files.values(), entries, passive_values=True) for files in (after, before))
    if not alive:
        return dict(after)
    known = {name for text in before.values() for node in parse(text).body for name in bound_names(node)}
    several = len(after) > 1
    body = [(path, node) for path, text in after.items() for node in parse(text).body]
    unused = []
    for path, node in body:
        names = bound_names(node)
        fixed = {f"{path}:{name}" if several else name for name in names} & set(frozen) or names & set(entries)
        may_go = (isinstance(node, DEFINITIONS) and not node.decorator_list) or is_value(node)
        if may_go and not fixed and not names & alive and (names & was_alive or not names & known):
            unused.append((path, node))
    stays = [one for one in body if one not in unused]
    while held := [one for one in unused if any(bound_names(one[1]) & mentioned(node) for _, node in stays)]:
        unused = [one for one in unused if one not in held]
        stays += held
    return {path: _without(text, [node for owner, node in unused if owner == path]) for path, text in after.items()}


def _without(text: str, nodes: Collection[ast.stmt]) -> str:
    """Their lines, the comment lines directly above and the blank lines above those go."""
    lines = source_lines(text)
    spans = [span(node) for node in parse(text).body]
    for node in sorted(nodes, key=lambda node: node.lineno, reverse=True):
        first, last = span(node)
        if sum(start <= last and first <= stop for start, stop in spans) > 1:
            continue  # it shares a line with another statement
        first -= 1
        while first > 0 and lines[first - 1].startswith("#"):
            first -= 1
        while first > 0 and not lines[first - 1].strip():
            first -= 1
        del lines[first:last]
    return "".join(lines)

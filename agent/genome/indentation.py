"""Give code the indentation of other code: models write two blanks or tabs where a file has four blanks."""

from __future__ import annotations

import io
import tokenize
from collections.abc import Iterator

from agent.genome.analysis import DEFINITIONS, line_span, parse_uncached

_STRINGS = {tokenize.STRING, getattr(tokenize, "FSTRING_MIDDLE", tokenize.STRING)}


def indented_as(old: str, new: str) -> str:
    """`new` with the indentation of `old`; as it is where that cannot be told. Both texts are one statement each.

    Raises SyntaxError or tokenize.TokenError for text that is no Python.
    """
    unit, other = _unit(old), _unit(new)
    if not unit or not other or unit == other:
        return new
    lines = new.split("\n")
    depths, inside = dict(_depths(new)), _inside_strings(new)
    shift = 0
    for row, line in enumerate(lines, 1):
        if row in inside or not line.strip():
            continue
        code = line.lstrip(" \t")
        width = len(line) - len(code)
        if (depth := depths.get(row)) is not None:
            shift = len(unit) * depth - width
            lines[row - 1] = unit * depth + code
        elif code.startswith("#"):
            lines[row - 1] = unit * (width // len(other)) + code
        else:  # the further lines of a statement move along
            lines[row - 1] = " " * max(0, width + shift) + code
    return "\n".join(lines)


def inside_strings(text: str) -> set[int]:
    """The lines whose ends belong to a string of several lines."""
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    return {row for token in tokens if token.type in _STRINGS for row in range(token.start[0], token.end[0])}


def _inside_strings(text: str) -> set[int]:
    """The lines that begin inside of a string."""
    return {row + 1 for row in inside_strings(text)}


def _unit(text: str) -> str:
    """The blanks at the left of the first line of the body; empty without one on a line of its own."""
    (node,) = parse_uncached(text).body
    if not isinstance(node, DEFINITIONS) or node.body[0].lineno == node.lineno:
        return ""
    row, _ = line_span(node.body[0])
    line = text.split("\n")[row - 1]
    return line[: len(line) - len(line.lstrip(" \t"))]


def _depths(text: str) -> Iterator[tuple[int, int]]:
    """(line, depth) of each line with which a statement begins."""
    depth, fresh = 0, True
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.INDENT:
            depth += 1
        elif token.type == tokenize.DEDENT:
            depth -= 1
        elif token.type == tokenize.NEWLINE:
            fresh = True
        elif token.type not in (tokenize.NL, tokenize.COMMENT) and fresh:
            yield token.start[0], depth
            fresh = False

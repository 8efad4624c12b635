"""Keep the layout of a block where an answer repeats its code in another form, so that a diff shows the change alone.

What an answer writes anew is kept as it wrote it, without blanks at the ends of lines. Both texts are one statement each.
"""

from __future__ import annotations

import ast
import inspect
import tokenize
from collections.abc import Sequence
from difflib import SequenceMatcher

from agent.genome.analysis import DEFINITIONS, line_span, parse_uncached
from agent.genome.indentation import indented_as, inside_strings

_Body = Sequence[ast.stmt]
_Compound = (
    ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
    | ast.If | ast.For | ast.AsyncFor | ast.While | ast.With | ast.AsyncWith
)  # fmt: skip
"""Statements with a body to look into."""


def keep_layout(old: str, new: str) -> str:
    """`new` with the lines of `old` wherever both say the same; never with another meaning than `new`."""
    tidy = without_trailing_blanks(new)
    try:
        moved = indented_as(old, tidy)
        tidy = moved if _same(_only(moved), _only(tidy)) else tidy
        before, after = _only(old), _only(tidy)
        merged = "\n".join(_Merge(old.split("\n"), tidy.split("\n")).statement(before, after))
        return merged if _same(_only(merged), after) else tidy
    except (SyntaxError, tokenize.TokenError):
        return tidy


def without_trailing_blanks(text: str) -> str:
    """The text without blanks at the ends of its lines, strings of several lines excepted."""
    try:
        inside = inside_strings(text)
    except (tokenize.TokenError, SyntaxError):
        return text
    lines = text.split("\n")
    return "\n".join(line if row in inside else line.rstrip(" \t\f") for row, line in enumerate(lines, 1))


def _only(text: str) -> ast.stmt:
    (statement,) = parse_uncached(text).body
    return statement


def _dump(node: ast.AST) -> str:
    """Equal for code that differs in layout and comments only; the blanks at the ends and the left of docstrings are layout."""
    for inner in ast.walk(node):
        if isinstance(inner, DEFINITIONS) and (text := ast.get_docstring(inner, clean=False)) is not None:
            assert isinstance(inner.body[0], ast.Expr) and isinstance(inner.body[0].value, ast.Constant)
            inner.body[0].value.value = "\n".join(line.rstrip() for line in inspect.cleandoc(text).split("\n"))
    return ast.dump(node)


def _same(one: ast.stmt, other: ast.stmt) -> bool:
    return _dump(one) == _dump(other)


def _head(node: ast.stmt) -> str:
    """What stands before the body of a compound statement."""
    fields = {name: value for name, value in ast.iter_fields(node) if name not in ("body", "orelse")}
    return f"{type(node).__name__} {[ast.dump(v) if isinstance(v, ast.AST) else _items(v) for v in fields.values()]}"


def _items(value: object) -> object:
    return [ast.dump(item) if isinstance(item, ast.AST) else item for item in value] if isinstance(value, list) else value


def _other_branches(node: ast.stmt) -> list[str]:
    """The code of `elif` and `else`."""
    return [_dump(statement) for statement in getattr(node, "orelse", [])]


def _last(body: _Body) -> int:
    """The last line of a body."""
    return body[-1].end_lineno or 0


class _Merge:
    """Puts the lines of two texts together, statement by statement."""

    def __init__(self, old: list[str], new: list[str]) -> None:
        self._old, self._new = old, new

    def statement(self, old: ast.stmt, new: ast.stmt) -> list[str]:
        """The lines of a statement that replaces another."""
        (old_first, old_last), (first, last) = line_span(old), line_span(new)
        if _same(old, new):
            return self._old[old_first - 1 : old_last]
        if not _is_similar(old, new) or not (_stands_alone(old) and _stands_alone(new)):
            return self._new[first - 1 : last]
        assert isinstance(old, _Compound) and isinstance(new, _Compound)
        old_head, head = _head_end(old, self._old), _head_end(new, self._new)
        lines = self._old[old_first - 1 : old_head] if _head(old) == _head(new) else self._new[first - 1 : head]
        same_end = _other_branches(old) == _other_branches(new)
        end = self._old[_last(old.body) : old_last] if same_end else self._new[_last(new.body) : last]
        return lines + self._body(old.body, new.body, old_head, head) + end

    def _body(self, old: _Body, new: _Body, old_head: int, head: int) -> list[str]:
        """`old_head` and `head`: the last lines before the bodies."""
        partner = _partners(old, new)
        old_gaps, gaps = _gaps(old, old_head, self._old), _gaps(new, head, self._new)
        lines: list[str] = []
        for number, statement in enumerate(new):
            if (other := partner.get(number)) is None:
                first, last = line_span(statement)
                lines += gaps[number] + self._new[first - 1 : last]
                continue
            lines += _gap(old_gaps[other], gaps[number], _follows(partner, number)) + self.statement(old[other], statement)
        return lines


def _partners(old: _Body, new: _Body) -> dict[int, int]:
    """For statements of the new body, by index, the one of the old body that it repeats or changes."""
    keys, new_keys = ([_dump(statement) for statement in body] for body in (old, new))
    found: dict[int, int] = {}
    for kind, start, stop, new_start, new_stop in SequenceMatcher(None, keys, new_keys, autojunk=False).get_opcodes():
        if kind == "equal":
            found |= {new_start + step: start + step for step in range(stop - start)}
        elif kind == "replace":
            free = start
            for number in range(new_start, new_stop):
                others = [n for n in range(free, stop) if _is_similar(old[n], new[number])]
                if others:
                    found[number] = others[0]
                    free = others[0] + 1
    return found


def _follows(partner: dict[int, int], number: int) -> bool:
    """Whether a statement of the new body stands below what it stood below before, or what replaces that."""
    other = partner[number]
    if number == 0 or other == 0:
        return number == other
    replaced = number - 1 not in partner and other - 1 not in partner.values()
    return replaced or partner.get(number - 1) == other - 1


def _is_similar(old: ast.stmt, new: ast.stmt) -> bool:
    """Whether one is another version of the other, with a body to look into."""
    if type(old) is not type(new) or not (isinstance(old, _Compound) and isinstance(new, _Compound)):
        return False
    if isinstance(old, DEFINITIONS) and isinstance(new, DEFINITIONS):
        return old.name == new.name
    return _head(old) == _head(new) or bool({*map(_dump, old.body)} & {*map(_dump, new.body)})


def _stands_alone(node: ast.stmt) -> bool:
    """Whether no two statements of the body, nor its head, share a line."""
    assert isinstance(node, _Compound)
    ends = [node.lineno, *(statement.end_lineno or 0 for statement in node.body)]
    return all(line_span(statement)[0] > end for statement, end in zip(node.body, ends, strict=False))


def _head_end(node: ast.stmt, lines: Sequence[str]) -> int:
    """The last line of the head: blank and comment lines above the first statement belong to that."""
    assert isinstance(node, _Compound)
    end = line_span(node.body[0])[0] - 1
    while end > node.lineno and (not lines[end - 1].strip() or lines[end - 1].lstrip().startswith("#")):
        end -= 1
    return end


def _gaps(body: _Body, head: int, lines: Sequence[str]) -> list[list[str]]:
    """The blank and comment lines above each statement."""
    ends = [head, *(statement.end_lineno or 0 for statement in body)]
    return [list(lines[end : line_span(statement)[0] - 1]) for statement, end in zip(body, ends, strict=False)]


def _gap(old: list[str], new: list[str], follows: bool) -> list[str]:
    """The lines above a statement that stays. `follows`: it stands below the same statement as before.

    Comments that were there stay; new ones count where there were none.
    """
    if follows:
        return new if _comments(new) and not _comments(old) else old
    blanks = [line for line in new if not line.strip()][: len(new) - len(_comments(new))]
    return blanks + (_comments(old) or _comments(new))


def _comments(gap: list[str]) -> list[str]:
    """A gap without the blank lines at its beginning."""
    first = next((number for number, line in enumerate(gap) if line.strip()), len(gap))
    return gap[first:]

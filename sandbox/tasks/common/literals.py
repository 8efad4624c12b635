"""Counts what a program's text has memorised: long texts, wide numbers and tables of numbers, in parameters of 32 bits.

A table in the source is as good a place for learned values as a tensor. Honest programs hold few and short literals, so that
below the limits here nothing counts. Texts count by their length when compressed: a long message costs less than noise.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
import zlib
from collections.abc import Iterator, Mapping

from sandbox.isolation.parsing import parse

COUNTED = (
    "parameters counts the saved state, buffers too (a float once for each 32 bits, an integer by its bytes), tensors kept "
    "beside it and long literals of the source, but not the running statistics of affine BatchNorm layers; NaN and infinity "
    "are refused"
)
"""How all parameters of a program are counted, for prompts."""
LONG_TEXT = 200
"""Characters of a text from which on it counts; also of all shorter ones together, beyond `SHORT_TEXTS`."""
SHORT_TEXTS = 4_000
LONG_WORD = 64
"""Characters without a blank from which on a piece of a comment or of a documentation counts: nobody reads such a word."""
TABLE = 32
"""Numbers in one literal from which on each of them counts."""
WIDE = 64
"""Bits of a whole number from which on it counts."""


def literal_parameters(sources: Mapping[str, str]) -> int:
    """Return how many parameters of 32 bits the literals of the sources are worth; 0 for ordinary programs."""
    return sum(_of_file(text) for text in sources.values())


def _of_file(text: str) -> int:
    try:
        tree = parse(text)
    except (SyntaxError, ValueError, RecursionError):
        return 0  # it will fail as a program
    told = {id(node) for node in _documentation(tree)}
    constants = [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and id(node) not in told]
    texts = [value for value in constants if isinstance(value, bytes)]
    texts += [value.encode("utf-8", "replace") for value in constants if isinstance(value, str)]
    short = sum(len(value) for value in texts if len(value) < LONG_TEXT)
    words = [word for comment in _said(text, tree) for word in re.findall(rf"\S{{{LONG_WORD},}}", comment)]
    return (
        sum(_compressed(value) for value in texts if len(value) >= LONG_TEXT)
        + max(0, short - SHORT_TEXTS) // 4
        + sum(_compressed(word.encode("utf-8", "replace")) for word in words)
        + sum(-(-value.bit_length() // 32) for value in constants if isinstance(value, int) and value.bit_length() > WIDE)
        + sum(_table(node) for node in _outermost_tables(tree))
    )


def _compressed(value: bytes) -> int:
    return max(0, -(-(len(zlib.compress(value, 9)) - 11) // 4))  # an empty text takes eight bytes, and a few more are noise


def _documentation(tree: ast.AST) -> Iterator[ast.Constant]:
    """Every text that is a statement of its own."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            yield node.value


def _said(text: str, tree: ast.AST) -> Iterator[str]:
    """Comments and documentation."""
    yield from (str(node.value) for node in _documentation(tree))
    try:
        yield from (
            token.string for token in tokenize.generate_tokens(io.StringIO(text).readline) if token.type == tokenize.COMMENT
        )
    except (tokenize.TokenError, SyntaxError):
        yield text  # what Python can parse and its tokeniser cannot is looked at whole


def _outermost_tables(node: ast.AST) -> Iterator[ast.expr]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.List | ast.Tuple | ast.Set | ast.Dict):
            yield child
        else:
            yield from _outermost_tables(child)


def _table(node: ast.expr) -> int:
    """Return the numbers in a literal, each by its 32 bits; 0 for a short one."""
    numbers = [one.value for one in ast.walk(node) if isinstance(one, ast.Constant) and _is_number(one.value)]
    return len(numbers) if len(numbers) > TABLE else 0


def _is_number(value: object) -> bool:
    return isinstance(value, bool | int | float | complex)

"""Python source as a tree of `ast`: the only place that parses, one thread at a time.

CPython up to 3.12 counts the depth of such a tree for all threads together. If two build one at once, which happens when the
collector runs in between, one of them fails with a SystemError (python/cpython issue 106905).
"""

from __future__ import annotations

import ast
import threading
from functools import lru_cache

_one_at_a_time = threading.RLock()


@lru_cache(maxsize=16)
def parse(source: str) -> ast.Module:
    """Not to be changed: whoever asks for the same text is given the same tree. Raises as `parse_anew` does."""
    return parse_anew(source)


def parse_anew(source: str) -> ast.Module:
    """Raises what `ast.parse` does: SyntaxError, ValueError, RecursionError, MemoryError."""
    with _one_at_a_time:
        return ast.parse(source)

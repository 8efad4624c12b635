"""Python source as a tree of `ast`: the only place that parses, one thread at a time.

CPython up to 3.12 counts the depth of such a tree for all threads together. If two build one at once, which happens when the
collector runs in between, one of them fails with a SystemError (python/cpython issue 106905).
"""

from __future__ import annotations

import ast
import threading

_one_at_a_time = threading.RLock()


def parse(source: str) -> ast.Module:
    """Raises what `ast.parse` does: SyntaxError, ValueError, RecursionError, MemoryError."""
    with _one_at_a_time:
        return ast.parse(source)

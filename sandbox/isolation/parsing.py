"""Parses Python source. All of this process does it here, since one thread at a time may."""

from __future__ import annotations

import ast
import threading

_lock = threading.RLock()


def parse(source: str) -> ast.Module:
    """Parse source text into a new tree. Raises SyntaxError, ValueError, RecursionError or MemoryError.

    All parsing goes through this lock: CPython up to 3.12 counts the depth of a tree for all threads together. If two
    threads build one at once (it is enough that the garbage collector runs in between), one of them fails with a
    SystemError (python/cpython issue 106905).
    """
    with _lock:
        return ast.parse(source)

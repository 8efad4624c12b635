"""The entry for canaries and tests: the candidate's own `main(child)` decides the result.

Nothing is scored here. Canaries ask with it what a candidate can reach under the layers of a machine.
"""

from __future__ import annotations

from sandbox.child import Child


def run(child: Child) -> bytes:
    """The bytes that `main` of the candidate's `model.py` returns."""
    return bytes(child.module().main(child))

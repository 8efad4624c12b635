"""An entry function for tests and benchmarks: the candidate's own `main(call)` makes the result. Nothing is scored."""

from __future__ import annotations

from sandbox.inside.call import RunningCall


def run(call: RunningCall) -> bytes:
    """Return the bytes that `main` of the candidate's `model.py` returns."""
    return bytes(call.module().main(call))

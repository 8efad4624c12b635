"""Which classes a candidate confuses, counted by the trusted side: for prompts, never a part of a fitness."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

MOST = 4
"""The most kinds of mistakes that are told."""
LEAST = 0.02
"""A kind that makes up a smaller share of all mistakes is not told: it is chance."""


def mistakes(targets: np.ndarray, predicted: np.ndarray, names: Sequence[str]) -> tuple[tuple[str, int], ...]:
    """The commonest mistakes, the largest first: (`Shirt as Coat`, images), and at the end (`all`, wrong images).

    `targets`, `predicted`: a class for each image (N,); `names`: of the classes, empty if they have only numbers. Empty without
    a mistake.
    """
    import numpy as np

    wrong = targets != predicted
    if not wrong.any():
        return ()
    kinds, counts = np.unique(np.stack([targets[wrong], predicted[wrong]], 1), axis=0, return_counts=True)
    order = np.argsort(-counts, kind="stable")[:MOST]
    total = int(wrong.sum())
    told = [(*map(int, kinds[place]), int(counts[place])) for place in order if counts[place] >= max(2, LEAST * total)]
    return (*((f"{_name(true, names)} as {_name(said, names)}", count) for true, said, count in told), ("all", total))


def _name(number: int, names: Sequence[str]) -> str:
    return names[number] if number < len(names) else str(number)

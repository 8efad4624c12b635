"""SPEA-2 and NSGA-II over rows of costs: the choices of deap's `selSPEA2` and `selNSGA2`, in a small part of their time.

The steady schedule selects after each result, of ten thousand perhaps. Costs are to be made small, on comparable scales; what
is returned are numbers of rows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

Costs = Sequence[tuple[float, ...]]


def spea2(costs: Costs, count: int) -> list[int]:
    """Which to keep (Zitzler, Laumanns, Thiele 2001), best first where there is an order."""
    import numpy as np

    points = np.array(costs, dtype=float)
    dominates = _dominance(points)
    fits = (dominates.sum(axis=1) @ dominates).astype(float)
    chosen = np.flatnonzero(fits < 1)
    squares = ((points[:, None, :] - points[None, :, :]) ** 2).sum(axis=2)
    if len(chosen) < count:
        # As deap has it: of the distances only those to later rows, 0 for the others.
        near = np.sort(np.triu(squares), axis=1)[:, math.isqrt(len(points))]
        fits += 1 / (near + 2)
        rest = np.flatnonzero(fits >= 1)
        chosen = np.concatenate([chosen, rest[np.argsort(fits[rest], kind="stable")][: count - len(chosen)]])
        return [int(index) for index in chosen]
    squares = squares[np.ix_(chosen, chosen)]
    np.fill_diagonal(squares, -1.0)
    kept = list(range(len(chosen)))
    while len(kept) > count:  # the one with the nearest neighbour goes, of several the one with the nearest second one, ...
        rows = np.sort(squares[np.ix_(kept, kept)], axis=1)
        kept.pop(int(np.lexsort(rows.T[::-1])[0]))
    return [int(chosen[index]) for index in kept]


def nsga2(costs: Costs, count: int) -> list[int]:
    """Which are parents (Deb et al. 2002): by non-dominated rank, of the last rank needed those with most room around them."""
    import numpy as np

    groups: dict[tuple[float, ...], list[int]] = {}
    for index, row in enumerate(costs):
        groups.setdefault(row, []).append(index)
    members = list(groups.values())
    dominates = _dominance(np.array(list(groups), dtype=float))
    left = dominates.sum(axis=0)
    front = [int(group) for group in np.flatnonzero(left == 0)]
    chosen: list[int] = []
    while True:
        rank = [index for group in front for index in members[group]]
        if len(chosen) + len(rank) >= count:
            break
        chosen += rank
        following = []
        for group in front:
            for beaten in np.flatnonzero(dominates[group]):
                left[beaten] -= 1
                if not left[beaten]:
                    following.append(int(beaten))
        front = following
    room = _room([costs[index] for index in rank])
    order = sorted(range(len(rank)), key=lambda place: room[place], reverse=True)
    return [*chosen, *(rank[place] for place in order[: count - len(chosen)])]


def _dominance(points: np.ndarray) -> np.ndarray:
    """[i, j]: row i is nowhere worse than row j and somewhere better."""
    import numpy as np

    no_worse = (points[:, None, :] <= points[None, :, :]).all(axis=2)
    return np.logical_and(no_worse, ~no_worse.T)


def _room(rows: Costs) -> list[float]:
    """Crowding distances."""
    room = [0.0] * len(rows)
    order = list(range(len(rows)))
    for column in range(len(rows[0])):
        order.sort(key=lambda place: rows[place][column])
        first, last = rows[order[0]][column], rows[order[-1]][column]
        room[order[0]] = room[order[-1]] = math.inf
        if last > first:
            for before, place, after in zip(order, order[1:], order[2:], strict=False):
                room[place] += (rows[after][column] - rows[before][column]) / (len(rows[0]) * (last - first))
    return room

"""What each operator is credited with in a run, by the plain hypervolume and by the worth. Prints JSON.

The credit of a child is the growth of the measure that it brought to the front, in the order of the results. The plain
hypervolume is in multiples of the seed's own values (one magnitude beyond the seed in each objective), as the credit of
this program once was; the worth is in units of the noise and in steps of 10 % (`agent/core/worth.py`).

    python tests/benchmarks/operator_credit.py RUN [RUN...]
    python tests/benchmarks/operator_credit.py --table measured.csv --search defaults --sigma 0.0036 --seed 0.84325,134894

A table has the columns search, operator, accuracy, parameters, one row a child in the order of the results.
"""

from __future__ import annotations

import argparse
import csv
import json
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from agent.core.noise import Noise
from agent.core.objectives import Fitness, Objective
from agent.core.worth import WorthScale, dominated_volume
from agent.journal.header import objectives_of, units_of
from agent.journal.store import Journal
from agent.review.candidates import candidate_lines
from agent.review.comparison import trained

Child = tuple[str, Fitness]
"""(operator, fitness)"""


def of_run(folder: Path) -> dict[str, Any]:
    """`folder`: of a run that has finished or was stopped."""
    journal = Journal(folder / "journal.db", read_only=True)
    operators = {line["id"]: line["operator"] for line in candidate_lines(journal)}
    seed, *children = trained(journal)
    units = units_of(journal)
    assert units is not None, "a run with a trained seed has units"
    measured = [(operators[one.id], one.fitness) for one in children]
    return {"run": folder.name} | credits(seed.fitness, measured, objectives_of(journal), units.scale)


def of_table(file: Path, search: str, sigma: float, seed: Sequence[float]) -> dict[str, Any]:
    """`sigma`: of the accuracy; `seed`: its accuracy and parameters."""
    objectives = (Objective("accuracy", "max"), Objective("parameters", "min"))
    start = _fitness(*seed)
    noise = Noise({"accuracy": sigma, "parameters": 0.0}, dict(start.values))
    with file.open() as opened:
        rows = [row for row in csv.DictReader(opened) if row["search"] == search]
    children = [(row["operator"], _fitness(float(row["accuracy"]), float(row["parameters"]))) for row in rows]
    return {"run": search} | credits(start, children, objectives, WorthScale.of(objectives, noise))


def credits(seed: Fitness, children: Sequence[Child], objectives: Sequence[Objective], scale: WorthScale) -> dict[str, Any]:
    """By operator: its children, and its share of all growth by either measure."""

    def plain(fitnesses: Sequence[Fitness]) -> float:
        points = []
        for fitness in fitnesses:
            costs = zip(fitness.minimised(objectives), seed.minimised(objectives), strict=True)
            points.append(tuple(1 - (value - origin) / (abs(origin) or 1.0) for value, origin in costs))
        return dominated_volume([point for point in points if min(point) > 0])

    counts = Counter(operator for operator, _ in children)
    before, after = _shares(seed, children, plain), _shares(seed, children, scale.worth)
    rows = {o: {"children": n, "hypervolume": before[o], "worth": after[o]} for o, n in counts.most_common()}
    return {
        "children": len(children),
        "worth at the end": round(scale.worth([seed, *(f for _, f in children)]), 2),
        "credit": rows,
    }


def _shares(seed: Fitness, children: Sequence[Child], measure: Callable[[Sequence[Fitness]], float]) -> dict[str, float]:
    """Each operator's share of what the measure grew by in all."""
    brought: defaultdict[str, float] = defaultdict(float)
    known, value = [seed], measure([seed])
    for operator, fitness in children:
        known.append(fitness)
        grown = measure(known)
        brought[operator] += grown - value
        value = grown
    total = sum(brought.values()) or 1.0
    return {operator: round(credit / total, 3) for operator, credit in brought.items()}


def _fitness(accuracy: float, parameters: float) -> Fitness:
    return Fitness({"accuracy": accuracy, "parameters": parameters})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="*", type=Path)
    parser.add_argument("--table", type=Path)
    parser.add_argument("--search")
    parser.add_argument("--sigma", type=float)
    parser.add_argument("--seed", type=lambda text: tuple(map(float, text.split(","))))
    given = parser.parse_args()
    found = [of_run(folder) for folder in given.runs]
    if given.table:
        found.append(of_table(given.table, given.search, given.sigma, given.seed))
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()

"""Runs side by side: how their hypervolume grew over trained variants and over dollars, at equal budgets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agent.core.errors import UserError
from agent.core.objectives import Fitness, Objective
from agent.journal.store import Journal
from agent.population import selection
from agent.population.candidate import SEED_ID
from agent.review import learning as learned

Facts = dict[str, Any]


def compare(journals: Mapping[str, Journal]) -> Facts:
    """By name of the run. Hypervolumes are in units of the first run's seed, in which that seed alone has 1.

    Raises UserError for runs without a trained seed or with other objectives than the first one's.
    """
    reference: Fitness | None = None
    objectives: tuple[Objective, ...] = ()
    runs = []
    for name, journal in journals.items():
        started = next(iter(journal.events("started")), None)
        config = started[3]["config"] if started else {}
        mine = tuple(Objective(o, direction) for o, direction in config.get("objectives", {}).items())
        rows = _rows(journal)
        seed = next((fitness for id, fitness, *_ in rows if id == SEED_ID), None)
        if seed is None:
            raise UserError(f"{name} has no trained seed yet: there is nothing to compare.")
        reference, objectives = reference or seed, objectives or mine
        if mine != objectives:
            raise UserError(f"{name} has other objectives than {next(iter(journals))}: hypervolumes cannot be compared.")
        noise = learned.noise(journal)
        runs.append(
            {
                "run": name,
                "strategy": config.get("search", {}).get("strategy"),
                "models": config.get("llm", {}).get("models", []),
                "seed": dict(seed.values),
                "noise": dict(noise.sigma) if noise else None,
                "points": _points(rows, objectives, reference),
            }
        )
    trained = min(len(run["points"]) - 1 for run in runs)
    usd = min(run["points"][-1]["usd"] for run in runs)
    for run in runs:
        points = run["points"]
        run["trained"], run["usd"], run["hypervolume"] = len(points) - 1, points[-1]["usd"], points[-1]["hypervolume"]
        run["at_equal_trained"] = points[trained]["hypervolume"]
        run["at_equal_usd"] = [p["hypervolume"] for p in points if p["usd"] <= usd + 1e-9][-1]
    return {
        "objectives": {o.name: o.direction for o in objectives},
        "equal": {"trained": trained, "usd": usd},
        "runs": runs,
    }


def points(journal: Journal) -> list[Facts]:
    """How one run grew, in units of its own seed. Empty while the seed is not trained."""
    started = next(iter(journal.events("started")), None)
    config = started[3]["config"] if started else {}
    objectives = tuple(Objective(o, direction) for o, direction in config.get("objectives", {}).items())
    rows = _rows(journal)
    seed = next((fitness for id, fitness, *_ in rows if id == SEED_ID), None)
    return _points(rows, objectives, seed) if seed else []


def _rows(journal: Journal) -> list[tuple[str, Fitness, float]]:
    """(id, fitness, dollars that all answers had cost by then) of each trained child, in order."""
    usd, rows = 0.0, []
    for _, kind, key, data in journal.events("answered", "settled"):
        if kind == "answered":
            usd += data["usd"] or 0.0
        elif "fitness" in data:
            rows.append((key, Fitness(data["fitness"]), usd))
    return rows


def _points(rows: list[tuple[str, Fitness, float]], objectives: tuple[Objective, ...], seed: Fitness) -> list[Facts]:
    """The first is the seed; then one for each trained child."""
    front: list[_Point] = []
    points = []
    for number, (_, fitness, usd) in enumerate(rows):
        front = selection.front([*front, _Point(fitness)], objectives)
        volume = selection.hypervolume([p.fitness for p in front], objectives, seed)
        points.append({"trained": number, "usd": round(usd, 6), "hypervolume": round(volume, 6)})
    return points


class _Point:
    def __init__(self, fitness: Fitness) -> None:
        self.fitness = fitness

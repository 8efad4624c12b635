"""Runs side by side: how their worth grew over trained variants and over dollars, at equal budgets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from agent.core.errors import UserError
from agent.core.objectives import Fitness, Objective
from agent.core.worth import WorthScale
from agent.journal.header import config_of, objectives_of, units_of
from agent.journal.readings import KINDS, Measured, Measurements
from agent.journal.store import Journal
from agent.population import selection
from agent.population.candidate import SEED_ID
from agent.review.cost import cost_facts
from agent.review.facts import Facts
from agent.review.learning import measured_noise

_USD_TOLERANCE = 1e-9
"""Tolerance in dollars for rounding."""


@dataclass(frozen=True)
class Trained:
    """What was known of the seed or a trained variant at one moment: when it settled, or when it was trained again."""

    measured: Measured
    usd: float
    """Dollars that all answers of the run had cost by then."""

    @property
    def id(self) -> str:
        return self.measured.id

    @property
    def fitness(self) -> Fitness:
        return self.measured.fitness


def trained(journal: Journal) -> list[Trained]:
    """The seed and every trained variant when they settled and whenever they were trained again, in that order.

    The trainings of the seed for the noise are among these.
    """
    usd, found, known = 0.0, [], Measurements()
    for row in journal.events("answered", *KINDS):
        if row[1] == "answered":
            usd += row[3]["usd"] or 0.0
        elif (one := known.take(row)) is not None:
            found.append(Trained(one, usd))
    return found


def growth(trained: Sequence[Trained], objectives: Sequence[Objective], scale: WorthScale) -> list[Facts]:
    """How the worth of a run's front grew: a point for the seed, then one for each trained variant.

    A variant that was trained again changes the last point, downwards too.
    """
    known: dict[str, Measured] = {}
    front: list[Measured] = []
    points: list[Facts] = []
    for one in trained:
        again, known[one.id] = one.id in known, one.measured
        pool = known.values() if again else [*front, one.measured]
        front = selection.front([each for each in pool if not each.fault], objectives)
        worth = round(scale.worth(member.fitness for member in front), 6)
        if again:
            points.pop()
        points.append({"trained": len(known) - 1, "usd": round(one.usd, 6), "worth": worth, "hypervolume": worth})
    return points


def compare(journals: Mapping[str, Journal]) -> Facts:
    """`journals`: by name of the run. Worth is measured by the first run's scale: its seed alone has 1.

    Raises UserError for a run without a trained seed, or with other objectives than the first one's.
    """
    first = next(iter(journals))
    objectives = objectives_of(journals[first])
    scale: WorthScale | None = None
    runs = []
    for name, journal in journals.items():
        individuals = trained(journal)
        seed = next((one.fitness for one in reversed(individuals) if one.id == SEED_ID), None)
        if seed is None:
            raise UserError(f"{name} has no trained seed yet: there is nothing to compare.")
        if objectives_of(journal) != objectives:
            raise UserError(f"{name} has other objectives than {first}: their worth cannot be compared.")
        units = units_of(journal)
        assert units is not None, "a run with a trained seed has units"
        scale = scale or units.scale
        runs.append(_run_facts(name, journal, seed, growth(individuals, objectives, scale)))
    equal = {
        "trained": min(len(run["points"]) - 1 for run in runs),
        "usd": min(run["points"][-1]["usd"] for run in runs),
    }
    for run in runs:
        run |= _at_equal_budgets(run["points"], equal["trained"], equal["usd"])
    return {"objectives": {o.name: o.direction for o in objectives}, "equal": equal, "runs": runs}


def _run_facts(name: str, journal: Journal, seed: Fitness, points: list[Facts]) -> Facts:
    config, noise = config_of(journal), measured_noise(journal)
    return {
        "run": name,
        "strategy": config.get("search", {}).get("strategy"),
        "models": config.get("llm", {}).get("models", []),
        "seed": dict(seed.values),
        "noise": dict(noise.sigma) if noise else None,
        "cost": cost_facts(journal, len(points) - 1, points[-1]["worth"] - points[0]["worth"]),
        "points": points,
    }


def _at_equal_budgets(points: Sequence[Facts], trained: int, usd: float) -> Facts:
    """The end of a run, and its hypervolume after so many trained variants and after so many dollars."""
    affordable = [point for point in points if point["usd"] <= usd + _USD_TOLERANCE]
    return {
        "trained": len(points) - 1,
        "usd": points[-1]["usd"],
        "worth": points[-1]["worth"],
        "hypervolume": points[-1]["worth"],
        "at_equal_trained": points[trained]["worth"],
        "at_equal_usd": affordable[-1]["worth"],
    }

"""A null run as plain facts, and what has to be said of it wherever its results are shown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from agent.core.noise import Noise
from agent.core.objectives import Objective
from agent.journal.readings import Measured
from agent.review.facts import Facts, judgements

NULL_RUN = "NULL RUN (A/A): no edit of it changes anything, so whatever looks better or worse does so by chance."


def is_null(config: Mapping[str, Any]) -> bool:
    """`config`: of a run, as the journal has it."""
    return bool(config.get("run", {}).get("null"))


def null_facts(
    trained: Iterable[Measured], seed: Mapping[str, float], noise: Noise | None,
    objectives: Sequence[Objective], confirmation: Facts | None,
) -> Facts:  # fmt: skip
    """What chance did in a null run. `trained`: its candidates."""
    better, worse, changed = [], [], []
    for one in trained:
        id, fitness = one.id, one.fitness.values
        judged = judgements(fitness, noise, objectives, one.trainings) or {}
        called = {o.name: word for o in objectives if (word := judged.get(o.name))}
        gains = [_gain(o, fitness, noise) for o in objectives if noise and called.get(o.name) == "likely real"]
        better += [id] if any(gain > 0 for gain in gains) else []
        worse += [id] if any(gain < 0 for gain in gains) else []
        exact = [o.name for o in objectives if noise and not noise.sigma.get(o.name)]
        changed += [id] if any(fitness[name] != seed[name] for name in exact) else []
    found = [one["id"] for one in confirmation["verdicts"] if one["false_discovery"]] if confirmation else []
    return {"called_better": better, "called_worse": worse, "false_discoveries": found, "not_null": changed}


def _gain(objective: Objective, fitness: Mapping[str, float], noise: Noise) -> float:
    return noise.gain(objective, fitness[objective.name] - noise.reference[objective.name])


def null_lines(status: Facts) -> list[str]:
    """What a null run found, a line each; none for any other run. `status`: see `agent.review.status.status`."""
    facts = status["null"]
    if facts is None:
        return []
    trained, better, worse = status["counts"]["trained"], len(facts["called_better"]), len(facts["called_worse"])
    single = f"Its readings called {better} of its {trained} trained candidates likely better and {worse} likely worse."
    return [NULL_RUN, single]


def null_alarms(status: Facts) -> list[str]:
    """What should not happen in a null run, or seldom; to be shown in red."""
    facts = status["null"] or {"false_discoveries": (), "not_null": ()}
    lines = []
    if ids := facts["false_discoveries"]:
        lines.append(
            f"FALSE DISCOVERY: {', '.join(ids)} came out as confirmed and differ{'s' if len(ids) == 1 else ''} from the seed by "
            "nothing. Chance does that in about one of twenty confirmations at most, a fault in the measurement more often."
        )
    if ids := facts["not_null"]:
        lines.append(f"NOT A NULL RUN: {', '.join(ids)} differ from the seed in an objective that has no noise.")
    return lines

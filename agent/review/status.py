"""The state of a whole run as plain facts, read from its journal: what `evolve status` prints."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from agent.budget.budget import forecast_from_journal
from agent.budget.forecast import forecast_facts, forecast_text
from agent.core.noise import Noise
from agent.core.objectives import Objective
from agent.core.statistics import best_by_luck
from agent.journal.confirmations import count_openings, read_confirmations
from agent.journal.events import NoiseMeasured
from agent.journal.header import objectives_of, units_of
from agent.journal.readings import Measured, measured, noise_now
from agent.journal.store import Journal
from agent.population import selection
from agent.population.candidate import INVALID_STAGES, SEED_ID
from agent.review.confirmation import confirmation_facts
from agent.review.cost import cost_facts
from agent.review.facts import Facts, error_of, judgements
from agent.review.null import is_null, null_facts
from agent.search.settings import SearchSettings
from sandbox.tasks import has_test_split, self_reported

COUNTED = ("proposed", "invalid", "duplicate", "failed", "trained")
"""The keys of `counts`: the candidates that were proposed, and how many of them ended in each way."""
_FREQUENT = 5
"""How many reasons of failures are listed."""


@dataclass
class _Outcomes:
    """How the settled candidates ended."""

    counts: Counter[str]
    reasons: Counter[str]
    """Of failures, as `stage: reason`."""


def status(journal: Journal, run: str, *, alive: bool) -> Facts:
    """The facts of the whole run. `alive`: whether a process holds the run's lock."""
    starts = list(journal.events("started", "ended"))
    started = [data for _, kind, _, data in starts if kind == "started"]
    end = starts[-1][3] if starts and starts[-1][1] == "ended" else {}
    config = started[-1]["config"] if started else {}
    devices = started[-1].get("devices", []) if started else []
    outcomes, known = _outcomes(journal), measured(journal)
    units, noise = units_of(journal), noise_now(journal, known)
    front, worth = _front(known, config, units)
    confirmation = confirmation_facts(journal)
    return {
        "run": run,
        "state": "running" if alive else end.get("state", "stopped"),
        "reason": end.get("reason", ""),
        "phase": _phase(journal, units) if alive and started else None,
        "schedule": config.get("search", {}).get("schedule"),
        "generation": journal.count("generation"),
        "generations": _generations(config) if config else None,
        "counts": {kind: outcomes.counts[kind] for kind in COUNTED},
        "failures": dict(outcomes.reasons.most_common(_FREQUENT)),
        "objectives": config.get("objectives", {}),
        "self_reported": self_reported(config.get("task", {}), config.get("objectives", {})),
        "seed": _seed(known, noise, config),
        "noise": _noise(noise) if noise else None,
        "luck": _luck(noise, outcomes.counts["trained"]),
        "retrained": _retrained(journal),
        "plateau": next((data["level"] for _, _, _, data in reversed(list(journal.events("adapted")))), 0),
        "front": [_member(journal, one, noise, objectives_of(journal)) for one in front],
        "worth": worth,
        "hypervolume": worth,
        "null": _null(known, config, noise, objectives_of(journal), confirmation),
        "confirmation": confirmation,
        "seal_openings": count_openings(read_confirmations(journal)),
        "has_test_split": has_test_split(config.get("task", {})),
        "spend": _spend(journal),
        "cost": cost_facts(journal, outcomes.counts["trained"], worth - 1),
        "forecast": _forecast(journal, config, len(devices)) if alive and config else None,
        "waiting": _cooling_down(journal) if alive else [],
        "isolation": started[-1]["isolation"] if started else "none",
        "devices": devices,
    }


def _generations(config: Facts) -> int:
    """As many as the schedule and the limit of variants allow."""
    return SearchSettings(**config["search"]).within(config.get("limits", {}).get("variants")).stages


def _outcomes(journal: Journal) -> _Outcomes:
    found = _Outcomes(Counter(proposed=journal.count("drawn")), Counter())
    for _, _, _, data in journal.events("settled"):
        outcome = data["outcome"]
        found.counts["invalid" if outcome == "failed" and data["stage"] in INVALID_STAGES else outcome] += 1
        if outcome == "failed":
            found.reasons[f"{data['stage']}: {data['reason']}"] += 1
    return found


def _noise(noise: Noise) -> Facts:
    """What is known of the noise, and which differences chance alone explains."""
    varying = [name for name, sigma in noise.sigma.items() if sigma]
    return {
        "sigma": dict(noise.sigma),
        "mean": dict(noise.reference),
        "df": noise.df,
        "trainings": noise.trainings,
        "band": {name: noise.band(name, against=noise.trainings) for name in varying},
    }


def _luck(noise: Noise | None, trained: int) -> float | None:
    """In sigmas above the seed's mean: what the best of so many candidates that change nothing reaches half of the time."""
    if noise is None or not trained or not any(noise.sigma.values()):
        return None
    return round(best_by_luck(trained, noise.df, noise.trainings), 2)


def _seed(trained: Sequence[Measured], noise: Noise | None, config: Facts) -> Facts:
    """The seed's mean, over its own training and those for the noise floor. Its fitness is null while it is not trained."""
    seed, planned = next((one for one in trained if one.id == SEED_ID), None), 1 + config.get("noise", {}).get("trainings", 0)
    if seed is None:
        return {"fitness": None, "trainings": 0, "planned": planned, "error": None}
    made = seed.trainings
    return {"fitness": dict(seed.fitness.values), "trainings": made, "planned": planned, "error": error_of(noise, made)}


def _retrained(journal: Journal) -> Facts:
    """How often elites were trained again, and which of them failed then."""
    rows = list(journal.events("reading"))
    faults = {key.rpartition("/")[0]: data["reason"] for _, _, key, data in rows if data["reason"]}
    return {"trainings": len(rows), "elites": len({key.rpartition("/")[0] for _, _, key, _ in rows}), "faults": faults}


def _phase(journal: Journal, units: NoiseMeasured | None) -> str:
    """What the process at work does. `units`: as recorded, or worked out from the trainings of the seed so far."""
    if units is None:
        return "seed"
    if not journal.count("units") and not journal.count("drawn"):  # earlier versions did not record units
        return "noise"
    records, start = read_confirmations(journal), list(journal.events("started"))[-1][3]
    return "confirmation" if start.get("confirms") or (records and not records[-1].is_complete) else "search"


def _front(trained: Sequence[Measured], config: Facts, units: NoiseMeasured | None) -> tuple[list[Measured], float]:
    """What nothing else dominates, and the worth of that (the seed alone: 1)."""
    if units is None:
        return [], 0.0
    objectives = [Objective(name, direction) for name, direction in config.get("objectives", {}).items()]
    front = selection.front([one for one in trained if not one.fault], objectives)
    return front, units.scale.worth(one.fitness for one in front)


def _null(
    trained: Sequence[Measured], config: Facts, noise: Noise | None, objectives: Sequence[Objective], confirmation: Facts | None
) -> Facts | None:
    """What chance did, if this is a null run."""
    seed = next((one for one in trained if one.id == SEED_ID), None)
    if seed is None or not is_null(config):
        return None
    others = [one for one in trained if one.id != SEED_ID]
    return null_facts(others, seed.fitness.values, noise, objectives, confirmation)


def _member(journal: Journal, one: Measured, noise: Noise | None, objectives: Sequence[Objective]) -> Facts:
    """A member of the front: its fitness, what may be said of it against the seed, its branch, and what it was meant to do."""
    facts: Facts = {"id": one.id, "fitness": dict(one.fitness.values), "branch": None, "intention": ""}
    facts |= {"trainings": one.trainings, "error": error_of(noise, one.trainings)}
    facts["judgements"] = judgements(one.fitness.values, noise, objectives, one.trainings)
    for _, kind, _, data in journal.events("bred", "mended", "committed", key=one.id):
        facts |= {"branch": data["branch"]} if kind == "committed" else {"intention": data.get("intention", "")}
    return facts


def _forecast(journal: Journal, config: Facts, slots: int) -> Facts:
    """How far a run that is under way will get."""
    planned = SearchSettings(**config["search"]).candidates
    forecast = forecast_from_journal(journal.cost_rows(), config, planned, time.time(), slots=max(1, slots))
    return {**forecast_facts(forecast), "words": forecast_text(forecast)}


def _cooling_down(journal: Journal) -> list[Facts]:
    """The models that cool down in the process at work, and until when by the local clock."""
    models: dict[str, Facts] = {}
    for moment, kind, _, data in journal.events("started", "rests", "returned"):
        if kind == "started":
            models.clear()
        elif kind == "returned":
            models.pop(data["model"], None)
        else:
            until = datetime.fromtimestamp(moment + data["seconds"])
            models[data["model"]] = {"model": data["model"], "until": f"{until:%H:%M:%S}", "reason": data["reason"]}
    return list(models.values())


def _spend(journal: Journal) -> Facts:
    totals = journal.llm_totals()
    return {
        "usd": totals.usd,
        "calls_without_a_known_price": totals.unpriced_calls,
        "tokens_in": totals.tokens_in,
        "tokens_cached": totals.tokens_cached,
        "tokens_out": totals.tokens_out,
        "llm_calls": totals.calls,
        "seconds": round(journal.seconds_worked(), 1),
    }

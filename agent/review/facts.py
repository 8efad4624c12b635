"""The facts of a run as plain JSON values, and the words for a change against the seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from agent.core.noise import Judgement, Noise
from agent.core.objectives import Objective
from agent.core.statistics import smallest_gain
from agent.core.text import format_number, format_sigma, in_sigmas, one_line

Facts = dict[str, Any]
"""What `--json` prints; docs/json.md lists the keys."""


def seed_value(status: Mapping[str, Any], objective: str) -> float:
    """The value from which changes are counted: the seed's mean over training seeds if it varies, else its one value.

    `status`: what `agent.review.status.status` returns, here and below.
    """
    noise = status["noise"]
    varies = noise and noise["sigma"].get(objective)
    value: float = noise["mean"][objective] if varies else status["seed"]["fitness"][objective]
    return value


def format_value(one: Mapping[str, Any], objective: str) -> str:
    """A value of a candidate, with its standard error if it is the mean of several trainings: `0.9334 ± 0.0012`.

    `one`: facts with `fitness` and `error`.
    """
    value, error = format_number(one["fitness"][objective]), (one["error"] or {}).get(objective)
    return f"{value} ± {format_sigma(error)}" if error else value


def format_distance(status: Mapping[str, Any], objective: str, value: float, trainings: int = 1) -> str:
    """How far a mean of so many trainings is from the seed's, and what that means: `(+9.1 sigma, likely real)`, `(-12.1%)`,
    `(same)`."""
    change = value - seed_value(status, objective)
    if not change:
        return "(same)"
    judgement = judge_distance(status, objective, change, trainings)
    return f"{_in_units(status, objective, change)[:-1]}, {judgement})" if judgement else _in_units(status, objective, change)


def judge_distance(status: Mapping[str, Any], objective: str, change: float, trainings: int = 1) -> Judgement | None:
    """Of a mean of so many trainings against the seed's mean; None for a quantity without noise."""
    known = status["noise"]
    if not known or not known["sigma"].get(objective):
        return None
    noise = Noise(known["sigma"], known["mean"], known["df"], known["trainings"])
    direction = status["objectives"].get(objective, "max")
    return noise.judge(Objective(objective, direction), change, trainings=trainings, against=noise.trainings)


def format_change(status: Mapping[str, Any], objective: str, change: float) -> str:
    """A change with its size in units of the noise or of the seed: `+0.065 (+4.2 sigma)`, `-3,952 (-76.3%)`, `same`."""
    if not change:
        return "same"
    plain = f"{change:+,.0f}" if float(change).is_integer() else f"{change:+.2g}"
    return f"{plain} {_in_units(status, objective, change)}"


def format_changes(status: Mapping[str, Any], changes: Mapping[str, float]) -> str:
    """The same for a change of each objective: `accuracy +0.065 (+4.2 sigma), parameters same`."""
    return ", ".join(f"{objective} {format_change(status, objective, change)}" for objective, change in changes.items())


def judgements(
    fitness: Mapping[str, float], noise: Noise | None, objectives: Sequence[Objective], trainings: int = 1
) -> dict[str, str] | None:
    """Of a mean of so many trainings against the seed, by objective: `likely real`, `within noise`, `undecided (needs ...)`.

    None where the noise was not measured: nothing can be said then.
    """
    if noise is None:
        return None
    return {
        o.name: str(noise.judge(o, fitness[o.name] - noise.reference[o.name], trainings=trainings, against=noise.trainings))
        for o in objectives
        if noise.sigma.get(o.name)
    }


def error_of(noise: Noise | None, trainings: int) -> dict[str, float] | None:
    """The standard error of a mean by objective, of those that vary; None for a single training or if the noise is unknown."""
    return noise.error(trainings) if noise and trainings > 1 else None


def _in_units(status: Mapping[str, Any], objective: str, change: float) -> str:
    """In sigmas of the noise; without noise as a share of the seed's value."""
    sigma = (status["noise"] or {"sigma": {}})["sigma"].get(objective)
    if sigma:
        return f"({in_sigmas(change / sigma)})"
    seed = seed_value(status, objective)
    return f"({change / abs(seed):+.1%})" if seed else f"({change:+.4g})"


def format_price(spend: Mapping[str, Any], decimals: int) -> str:
    """The dollars of `status["spend"]`, and how many calls had no known price."""
    unpriced = spend["calls_without_a_known_price"]
    usd = f"{spend['usd']:.{decimals}f} USD"
    if not unpriced:
        return usd
    if unpriced == spend["llm_calls"]:
        return "price unknown"
    return f"{usd} and {unpriced} call{'s' if unpriced > 1 else ''} of unknown price"


def luck_lines(status: Mapping[str, Any]) -> list[str]:
    """What chance alone does among so many candidates: one line, or none where nothing is known of the noise."""
    luck, trained = status.get("luck"), status["counts"]["trained"]
    if luck is None:
        return []
    names = " and ".join(name for name, sigma in status["noise"]["sigma"].items() if sigma)
    best = f"best of {trained}: {in_sigmas(luck)} of {names} is expected by luck alone"
    return [best if status.get("confirmation") else f"{best}; `evolve confirm` trains the best ones again"]


def seed_phase(made: int, planned: int) -> str:
    """What a run does before its search. `made`, `planned`: trainings of the seed, those for the noise floor included.

    Empty when all of them are made.
    """
    if made >= planned:
        return ""
    return f"measuring the noise: {made} of {planned} trainings of the seed are made" if made else "training the seed"


def retraining_lines(status: Mapping[str, Any], *, reasons: bool) -> list[str]:
    """How often elites were trained again, and which failed then; nothing if none was. `reasons`: hostile text of candidates."""
    again = status["retrained"]
    if not again["trainings"]:
        return []
    times = f"{again['trainings']} more training{'s' if again['trainings'] > 1 else ''}"
    elites = f"{again['elites']} elite{'s' if again['elites'] > 1 else ''}"
    lines = [f"{elites} had {times} with other training seeds: values are means, with their standard errors"]
    why = {id: f": {one_line(reason)[:150]}" if reasons else "" for id, reason in again["faults"].items()}
    return lines + [f"{id} no longer leads, because of a training with another seed{text}" for id, text in why.items()]


def noise_lines(noise: Noise | None) -> list[str]:
    """What a run can tell apart, before its search begins."""
    if noise is None:
        return ["noise: not measured, so nothing tells a gain from luck (noise.trainings is 0)"]
    lines = []
    for name, sigma in noise.sigma.items():
        if sigma:
            found = smallest_gain(noise.spread(name), noise.trainings)
            known = f"one sigma of {name} is {format_sigma(sigma)}, from {noise.trainings} trainings of the seed"
            gain = f"a true gain of {format_sigma(found)} ({found / sigma:.1f} sigma)"
            lines.append(f"noise: {known}; {gain} shows in 4 of 5 trainings")
    return lines or ["noise: the seed measures the same each time"]

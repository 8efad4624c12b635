"""What a journal says of a run's learning: the noise, lessons with their credit, and how prompts, operators and models fared."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from agent.core.objectives import Fitness, Noise, Objective
from agent.journal.accounts import Accounts
from agent.journal.codec import read_candidate, read_lesson
from agent.journal.store import Journal
from agent.memory import Memory
from agent.population.candidate import SEED_ID

Facts = dict[str, Any]


def noise(journal: Journal) -> Noise | None:
    """None if it was not measured, or not to its end."""
    objectives = _objectives(journal)
    repeats = [Fitness(data["fitness"]) for _, _, _, data in journal.events("repeated") if data["fitness"]]
    seed = _seed(journal)
    return Noise.of([seed, *repeats], objectives) if seed and repeats else None


def lessons(journal: Journal) -> list[Facts]:
    """Every lesson with its evidence and its credit, the most credited first."""
    seed, objectives = _seed(journal), _objectives(journal)
    if seed is None:
        return []
    zero = Noise({o.name: 0.0 for o in objectives}, {o.name: seed[o.name] for o in objectives})
    memory = Memory(objectives, noise(journal) or zero)
    for _, kind, _, data in journal.events("learned", "generalised"):
        if kind == "learned":
            memory.learn(read_lesson(data))
        elif data["text"]:
            memory.generalise(data["sources"], data["text"])
    return [
        {
            "id": s.lesson.id,
            "verdict": s.lesson.verdict,
            "credit": round(s.credit, 3),
            "told": s.readers,
            "fate": s.status,
            "operator": s.lesson.operator,
            "blocks": list(s.lesson.blocks),
            "kinds": list(s.lesson.kinds),
            "role": s.lesson.role,
            "directive": s.lesson.directive,
            "model": s.lesson.model,
            "effects": dict(s.lesson.effects),
            "gains": {name: round(gain, 3) for name, gain in s.lesson.gains.items()},
            "intention": s.lesson.intention,
            "expected": s.lesson.expected,
            "insight": s.lesson.insight,
            "reason": s.lesson.reason,
            "shown": list(s.lesson.shown),
            "change": s.lesson.change,
        }
        for s in memory.standings()
    ]


@dataclass
class _Tally:
    children: int = 0
    valid: int = 0
    """Of the first answers."""
    trained: int = 0
    helped: int = 0
    front: int = 0
    usd: float = 0.0
    seconds: float = 0.0


@dataclass
class _Arms:
    tallies: defaultdict[str, _Tally] = field(default_factory=lambda: defaultdict(_Tally))

    def facts(self) -> list[Facts]:
        ranked = sorted(self.tallies.items(), key=lambda item: (-item[1].helped, -item[1].trained, item[0]))
        return [{"name": name, **vars(tally)} for name, tally in ranked]


def arms(journal: Journal, front: Iterable[str]) -> Facts:
    """By model, operator and prompt: children, valid first answers, trained, helped, on the front, dollars and seconds.

    A child with two recipes counts for both. Directives that were written in the run are told whole.
    """
    rejected = {key.partition("/")[0] for _, _, key, _ in journal.events("rejected") if key.endswith("/0")}
    settled = {key: data for _, _, key, data in journal.events("settled")}
    verdicts = {key: data["verdict"] for _, _, key, data in journal.events("learned")}
    accounts = Accounts()
    for _, _, key, data in journal.events_without_texts("answered"):
        accounts.answered(key.partition("/")[0], data)
    members = set(front)
    found = {"models": _Arms(), "operators": _Arms(), "prompts": _Arms()}
    for _, _, id, data in journal.events("drawn"):
        candidate, end, account = read_candidate(data), settled.get(id, {}), accounts.look(id)
        for recipe in candidate.recipes:
            prompt = f"{recipe.directive} as {recipe.role or 'nobody'}" if recipe.directive else None
            for kind, name in (("models", account.of(recipe.model)), ("operators", recipe.operator), ("prompts", prompt)):
                if name:
                    tally = found[kind].tallies[name]
                    tally.children += 1
                    tally.valid += id not in rejected
                    tally.trained += end.get("outcome") == "trained"
                    tally.helped += verdicts.get(id) == "helped"
                    tally.front += id in members
                    tally.usd += account.usd
                    tally.seconds += end.get("seconds") or 0.0
    written = {key: data["text"] for _, _, key, data in journal.events("directive") if data["text"]}
    return {**{kind: arms.facts() for kind, arms in found.items()}, "written": written}


def _objectives(journal: Journal) -> tuple[Objective, ...]:
    started = next(iter(journal.events("started")), None)
    config = started[3]["config"] if started else {}
    return tuple(Objective(name, direction) for name, direction in config.get("objectives", {}).items())


def _seed(journal: Journal) -> Fitness | None:
    return next((Fitness(data["fitness"]) for _, _, _, data in journal.events("settled", key=SEED_ID)), None)

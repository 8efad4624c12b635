"""What a run has learned, read from its journal: the noise, the lessons with their credit, and the results of each arm."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from agent.core.noise import Noise
from agent.journal.codec import read_candidate, read_lesson
from agent.journal.header import objectives_of, seed_fitness_of, units_of
from agent.journal.store import Journal
from agent.journal.tracker import Tracker
from agent.memory import LessonStanding, Memory
from agent.population.candidate import Recipe
from agent.review.facts import Facts

ARM_KINDS = ("models", "operators", "prompts")


def measured_noise(journal: Journal) -> Noise | None:
    """None if it was not measured, or not to its end."""
    units = units_of(journal)
    return units.noise if units else None


def lessons(journal: Journal) -> list[Facts]:
    """Every lesson with its evidence and its credit, the most credited first."""
    seed, objectives = seed_fitness_of(journal), objectives_of(journal)
    if seed is None:
        return []
    memory = Memory(objectives, measured_noise(journal) or Noise.unmeasured(seed, objectives))
    for _, kind, _, data in journal.events("learned", "generalised"):
        if kind == "learned":
            memory.learn(read_lesson(data))
        elif data["text"]:
            memory.generalise(data["sources"], data["text"])
    return [_lesson_facts(standing) for standing in memory.standings()]


def _lesson_facts(standing: LessonStanding) -> Facts:
    lesson = standing.lesson
    return {
        "id": lesson.id,
        "verdict": lesson.verdict,
        "label": lesson.label,
        "credit": round(standing.credit, 3),
        "told": standing.readers,
        "cited_by": standing.cited,
        "fate": standing.status,
        "operator": lesson.operator,
        "blocks": list(lesson.blocks),
        "kinds": list(lesson.kinds),
        "role": lesson.role,
        "directive": lesson.directive,
        "model": lesson.model,
        "effects": dict(lesson.effects),
        "gains": {name: round(gain, 3) for name, gain in lesson.gains.items()},
        "intention": lesson.intention,
        "expected": lesson.expected,
        "insight": lesson.insight,
        "reason": lesson.reason,
        "shown": list(lesson.shown),
        "cited": list(lesson.cited),
        "change": lesson.change,
    }


@dataclass
class _Arm:
    """The results of the candidates of one model, operator or prompt."""

    candidates: int = 0
    valid: int = 0
    """How many had a first answer that kept the contract."""
    trained: int = 0
    better: int = 0
    """How many were likely better than their parent in some objective and worse in none."""
    front: int = 0
    usd: float = 0.0
    seconds: float = 0.0
    """Seconds of their evaluations."""

    def facts(self, name: str) -> Facts:
        counts = {"children": self.candidates, "valid": self.valid, "trained": self.trained, "better": self.better}
        return {"name": name, **counts, "front": self.front, "usd": self.usd, "seconds": self.seconds}


def arms(journal: Journal, front: Iterable[str]) -> Facts:
    """By model, operator and prompt: candidates, valid first answers, trained, better, on the front, dollars, seconds.

    A candidate of two recipes counts for the arms of both. `written` has the directives that were written in the run.
    `front`: ids of the candidates on the front.
    """
    rejected = {key.partition("/")[0] for _, _, key, _ in journal.events("rejected") if key.endswith("/0")}
    settled = {key: data for _, _, key, data in journal.events("settled")}
    verdicts = {key: read_lesson(data).verdict for _, _, key, data in journal.events("learned")}
    rows = list(journal.events_without_texts("drawn", "answered"))
    members, tracker = set(front), Tracker()
    tracker.recall(rows, candidates=False)
    found = {kind: defaultdict[str, _Arm](_Arm) for kind in ARM_KINDS}
    for id, candidate in ((key, read_candidate(data)) for _, kind, key, data in rows if kind == "drawn"):
        outcome, cost = settled.get(id, {}), tracker.get(id)
        for recipe in candidate.recipes:
            for kind, name in _arms_of(recipe, cost.model_for(recipe.model)):
                arm = found[kind][name]
                arm.candidates += 1
                arm.valid += id not in rejected
                arm.trained += outcome.get("outcome") == "trained"
                arm.better += verdicts.get(id) == "better"
                arm.front += id in members
                arm.usd += cost.usd
                arm.seconds += outcome.get("seconds") or 0.0
    written = {key: data["text"] for _, _, key, data in journal.events("directive") if data["text"]}
    return {**{kind: _ranked(arms) for kind, arms in found.items()}, "written": written}


def _arms_of(recipe: Recipe, model: str) -> Iterator[tuple[str, str]]:
    """(kind, name) of each arm that a recipe belongs to. `model`: the one that its result is credited to, if any."""
    if model:
        yield "models", model
    yield "operators", recipe.operator
    if recipe.directive:
        yield "prompts", f"{recipe.directive} as {recipe.role or 'nobody'}"


def _ranked(arms: dict[str, _Arm]) -> list[Facts]:
    """The arms as facts, those that were better most often first."""
    order = sorted(arms.items(), key=lambda item: (-item[1].better, -item[1].trained, item[0]))
    return [arm.facts(name) for name, arm in order]

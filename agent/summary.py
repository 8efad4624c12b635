"""What a journal says of its run, as plain facts: `evolve status`, `show` and `diff` print these."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from agent import learned, outlook, selection
from agent.errors import UserError
from agent.evolve import Search
from agent.fitness import Fitness, Objective
from agent.genome import Genome, diff
from agent.individual import INVALID_STAGES, SEED_ID, Birth, listed
from agent.journal import Journal
from agent.records import read_birth
from sandbox.tasks import reported

Facts = dict[str, Any]


@dataclass(frozen=True)
class _Trained:
    id: str
    fitness: Fitness


def status(journal: Journal, run: str, *, alive: bool) -> Facts:
    """The whole run in numbers. `alive`: some process holds the run's lock."""
    started = [data for _, _, _, data in journal.events("started")]
    ends = list(journal.events("started", "ended"))
    last = ends[-1][3] if ends and ends[-1][1] == "ended" else {}
    counts: Counter[str] = Counter(proposed=sum(1 for _ in journal.events("drawn")))
    reasons: Counter[str] = Counter()
    for _, _, _, data in journal.events("settled"):
        outcome = data["outcome"]
        counts["invalid" if outcome == "failed" and data["stage"] in INVALID_STAGES else outcome] += 1
        if outcome == "failed":
            reasons[f"{data['stage']}: {data['reason']}"] += 1
    config = started[-1]["config"] if started else {}
    seed, front, hypervolume = _front(journal, config)
    noise = learned.noise(journal)
    branches = {key: data["branch"] for _, _, key, data in journal.events("committed")}
    meant = {key: data.get("intention", "") for _, _, key, data in journal.events("bred")}
    return {
        "run": run,
        "state": "running" if alive else last.get("state", "stopped"),
        "reason": last.get("reason", ""),
        "schedule": config.get("search", {}).get("schedule"),
        "generation": sum(1 for _ in journal.events("generation")),
        "generations": Search(**config["search"]).stages if config else None,
        "counts": {kind: counts[kind] for kind in ("proposed", "invalid", "duplicate", "failed", "trained")},
        "failures": dict(reasons.most_common(5)),
        "objectives": config.get("objectives", {}),
        "self_reported": reported(config.get("task", {})),
        "seed": {"fitness": dict(seed.values) if seed else None},
        "noise": {"sigma": dict(noise.sigma), "mean": dict(noise.reference)} if noise else None,
        "plateau": next((d["level"] for _, _, _, d in reversed(list(journal.events("adapted")))), 0),
        "front": [
            {"id": t.id, "branch": branches.get(t.id), "fitness": dict(t.fitness.values), "intention": meant.get(t.id, "")}
            for t in front
        ],
        "hypervolume": hypervolume,
        "spend": _spend(journal),
        "forecast": _forecast(journal, config) if alive and config else None,
        "waiting": _waiting(journal) if alive else [],
        "isolation": started[-1]["isolation"] if started else "none",
        "devices": started[-1].get("devices", []) if started else [],
    }


def variants(journal: Journal) -> list[Facts]:
    """One entry for each child that was drawn, without diff, prompt and answer."""
    book = _Book(journal)
    return [book.facts(birth) for birth in book.births.values()]


def variant(journal: Journal, id: str) -> Facts:
    """One child with diff, prompt and answer. Raises UserError for an unknown id."""
    book = _Book(journal)
    id = id if id in book.births else id.zfill(4)
    if id == SEED_ID or id not in book.births:
        last = next(reversed(book.births), "none")
        raise UserError(f"There is no variant {id} in this run; the last one is {last}.")
    asked = {key: data for _, _, key, data in journal.events("asked") if key.startswith(f"{id}/")}
    answered = {key: data for _, _, key, data in journal.events("answered") if key.startswith(f"{id}/")}
    calls = [
        {
            "prompt": "\n\n".join(f"# {m['role']}\n\n{m['text']}" for m in data["messages"]),
            "answer": answered.get(key, {}).get("text"),
            "model": data["model"],
        }
        for key, data in sorted(asked.items(), key=lambda item: int(item[0].partition("/")[2]))
    ]
    last_call = calls[-1] if calls else {"prompt": None, "answer": None}
    return {
        **book.facts(book.births[id]),
        "diff": changes(journal, id),
        "prompt": last_call["prompt"],
        "answer": last_call["answer"],
        "calls": calls,
    }


def changes(journal: Journal, id: str) -> str:
    """The unified diff of a child against the seed; empty if the child never parsed."""
    files: dict[str, dict[str, str]] = {}
    for _, _, key, data in journal.events("bred", "mended"):
        files[key] = data["files"]
    seed = next((data["files"] for _, _, key, data in journal.events("settled") if key == SEED_ID), None)
    if seed is None or id not in files:
        return ""
    return diff(Genome(seed), Genome(files[id]))


class _Book:
    """The journal's rows by child."""

    def __init__(self, journal: Journal) -> None:
        self.births: dict[str, Birth] = {key: read_birth(data) for _, _, key, data in journal.events("drawn")}
        self._settled = {key: data for _, _, key, data in journal.events("settled")}
        bred = {key: data for _, _, key, data in journal.events("bred", "mended")}
        self._meant = {key: data.get("intention", "") for key, data in bred.items()}
        self._changed = {key: data.get("changed", ()) for key, data in bred.items()}
        self._branches = {key: data["branch"] for _, _, key, data in journal.events("committed")}
        self._usd: defaultdict[str, float] = defaultdict(float)
        for _, _, key, data in journal.events("answered"):
            self._usd[key.partition("/")[0]] += data["usd"] or 0.0

    def facts(self, birth: Birth) -> Facts:
        data = self._settled.get(birth.id, {"outcome": "in flight"})
        last = birth.recipes[-1]
        return {
            "id": birth.id,
            "branch": self._branches.get(birth.id),
            "parents": list(birth.parents),
            "generation": birth.generation,
            "operator": birth.operator,
            "block": listed(birth.about(self._changed.get(birth.id, ()))),
            "role": birth.role,
            "directive": birth.directive,
            "elite": next((r.elite for r in birth.recipes if r.elite), None),
            "model": last.model,
            "temperature": last.temperature,
            "intention": self._meant.get(birth.id, ""),
            "fitness": data.get("fitness"),
            "evidence": data.get("evidence"),
            "outcome": data.get("stage", data["outcome"]),
            "reason": data.get("reason") or (f"same genome as {data['twin']}" if "twin" in data else ""),
            "log": data.get("log", ""),
            "seconds": sum(data.get("evidence", {}).get("seconds", {}).values()),
            "usd": self._usd[birth.id],
        }


def _front(journal: Journal, config: Facts) -> tuple[Fitness | None, list[_Trained], float]:
    objectives = [Objective(name, direction) for name, direction in config.get("objectives", {}).items()]
    trained = [
        _Trained(key, Fitness(data["fitness"])) for _, _, key, data in journal.events("settled") if "fitness" in data
    ]
    seed = next((t.fitness for t in trained if t.id == SEED_ID), None)
    if seed is None:
        return None, [], 0.0
    front = selection.front(trained, objectives)
    return seed, front, selection.hypervolume([t.fitness for t in front], objectives, seed)


def _forecast(journal: Journal, config: Facts) -> Facts:
    """How far a run that works will get."""
    rows = journal.events("started", "ended", "drawn", "asked", "answered", "bred", "settled")
    found = outlook.from_journal(rows, config, Search(**config["search"]).births, time.time())
    return {**outlook.facts(found), "words": outlook.words(found)}


def _waiting(journal: Journal) -> list[Facts]:
    """The models that this process leaves alone for a while, and until when by the local clock."""
    resting: dict[str, Facts] = {}
    for moment, kind, _, data in journal.events("started", "rests", "returned"):
        if kind == "started":
            resting.clear()
        elif kind == "returned":
            resting.pop(data["model"], None)
        else:
            until = datetime.fromtimestamp(moment + data["seconds"])
            resting[data["model"]] = {"model": data["model"], "until": f"{until:%H:%M:%S}", "reason": data["reason"]}
    return list(resting.values())


def _spend(journal: Journal) -> Facts:
    calls = [data for _, _, _, data in journal.events("answered")]
    seconds, begun = 0.0, None
    previous = 0.0
    for moment, kind, _, _ in journal.events():
        if kind == "started":
            begun = moment
        elif begun is not None:
            seconds += max(0.0, moment - max(begun, previous))  # the wall clock may have been set back
        previous = moment
    return {
        "usd": sum(c["usd"] or 0.0 for c in calls),
        "calls_without_a_known_price": sum(c["usd"] is None for c in calls),
        "tokens_in": sum(c["tokens_in"] for c in calls),
        "tokens_out": sum(c["tokens_out"] for c in calls),
        "llm_calls": len(calls),
        "seconds": round(seconds, 1),
    }

"""What a journal says of its run, as plain facts: `evolve status`, `show` and `diff` print these."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from agent.budget.budget import forecast_from_journal
from agent.budget.forecast import forecast_facts, forecast_text
from agent.core.errors import UserError
from agent.core.objectives import Fitness, Objective
from agent.genome import Genome, diff
from agent.journal.accounts import Accounts
from agent.journal.codec import read_candidate
from agent.journal.store import Journal
from agent.population import selection
from agent.population.candidate import INVALID_STAGES, SEED_ID, Candidate, listed
from agent.review import learning as learned
from agent.search.settings import SearchSettings
from sandbox.tasks import self_reported

Facts = dict[str, Any]

_TOLD = ("drawn", "settled", "bred", "mended", "committed", "answered")
"""Kinds of events that tell of a child."""


@dataclass(frozen=True)
class _Trained:
    id: str
    fitness: Fitness


def status(journal: Journal, run: str, *, alive: bool) -> Facts:
    """The whole run in numbers. `alive`: some process holds the run's lock."""
    starts = list(journal.events("started", "ended"))
    started = [data for _, kind, _, data in starts if kind == "started"]
    last = starts[-1][3] if starts and starts[-1][1] == "ended" else {}
    config = started[-1]["config"] if started else {}
    counts: Counter[str] = Counter(proposed=journal.count("drawn"))
    reasons: Counter[str] = Counter()
    trained: list[_Trained] = []
    for _, _, key, data in journal.events("settled"):
        outcome = data["outcome"]
        counts["invalid" if outcome == "failed" and data["stage"] in INVALID_STAGES else outcome] += 1
        if outcome == "failed":
            reasons[f"{data['stage']}: {data['reason']}"] += 1
        if "fitness" in data:
            trained.append(_Trained(key, Fitness(data["fitness"])))
    seed, front, hypervolume = _front(trained, config)
    noise = learned.noise(journal)
    return {
        "run": run,
        "state": "running" if alive else last.get("state", "stopped"),
        "reason": last.get("reason", ""),
        "schedule": config.get("search", {}).get("schedule"),
        "generation": journal.count("generation"),
        "generations": SearchSettings(**config["search"]).stages if config else None,
        "counts": {kind: counts[kind] for kind in ("proposed", "invalid", "duplicate", "failed", "trained")},
        "failures": dict(reasons.most_common(5)),
        "objectives": config.get("objectives", {}),
        "self_reported": self_reported(config.get("task", {})),
        "seed": {"fitness": dict(seed.values) if seed else None},
        "noise": {"sigma": dict(noise.sigma), "mean": dict(noise.reference)} if noise else None,
        "plateau": next((d["level"] for _, _, _, d in reversed(list(journal.events("adapted")))), 0),
        "front": [{"id": t.id, "fitness": dict(t.fitness.values), **_told(journal, t.id)} for t in front],
        "hypervolume": hypervolume,
        "spend": _spend(journal),
        "forecast": _forecast(journal, config) if alive and config else None,
        "waiting": _waiting(journal) if alive else [],
        "isolation": started[-1]["isolation"] if started else "none",
        "devices": started[-1].get("devices", []) if started else [],
    }


def outlines(journal: Journal) -> list[Facts]:
    """What a line for each child that was drawn shows of it."""
    book = _Book(journal.candidate_outlines())
    return [book.outline(candidate) for candidate in book.candidates.values()]


def variants(journal: Journal) -> list[Facts]:
    """One entry for each child that was drawn, without diff, prompt and answer."""
    book = _Book(journal.events_without_texts(*_TOLD))
    return [book.facts(candidate) for candidate in book.candidates.values()]


def variant(journal: Journal, id: str) -> Facts:
    """One child with diff, prompt and answer. Raises UserError for an unknown id."""
    asked_for = id.zfill(4)
    id = next((one for one in (id, asked_for) if _is_drawn(journal, one)), "")
    if not id:
        raise UserError(f"There is no variant {asked_for} in this run; the last one is {journal.last_key('drawn') or 'none'}.")
    answered = {key: data for _, _, key, data in journal.events("answered", key=id)}
    calls = [
        {
            "prompt": "\n\n".join(f"# {m['role']}\n\n{m['text']}" for m in data["messages"]),
            "answer": answered.get(key, {}).get("text"),
            "model": answered.get(key, data)["model"],
        }
        for key, data in sorted(
            ((key, data) for _, _, key, data in journal.events("asked", key=id)),
            key=lambda item: int(item[0].partition("/")[2]),
        )
    ]
    last_call = calls[-1] if calls else {"prompt": None, "answer": None}
    book = _Book(journal.events(*_TOLD, key=id))
    return {
        **book.facts(book.candidates[id]),
        "diff": changes(journal, id),
        "prompt": last_call["prompt"],
        "answer": last_call["answer"],
        "calls": calls,
    }


def _is_drawn(journal: Journal, id: str) -> bool:
    return any(key == id for _, _, key, _ in journal.events("drawn", key=id))


def changes(journal: Journal, id: str) -> str:
    """The unified diff of a child against the seed; empty if the child never parsed."""
    bred = [data["files"] for _, _, key, data in journal.events("bred", "mended", key=id) if key == id]
    seed = next((data["files"] for _, _, _, data in journal.events("settled", key=SEED_ID)), None)
    return diff(Genome(seed), Genome(bred[-1])) if seed is not None and bred else ""


def _told(journal: Journal, id: str) -> Facts:
    """Where a child is to be found, and what it was meant to do."""
    facts: Facts = {"branch": None, "intention": ""}
    for _, kind, _, data in journal.events("bred", "mended", "committed", key=id):
        facts |= {"branch": data["branch"]} if kind == "committed" else {"intention": data.get("intention", "")}
    return facts


class _Book:
    """The journal's rows by child."""

    def __init__(self, rows: Iterable[tuple[float, str, str, Facts]]) -> None:
        self.candidates: dict[str, Candidate] = {}
        self._rows: defaultdict[str, dict[str, Facts]] = defaultdict(dict)
        self._accounts = Accounts()
        for _, kind, key, data in rows:
            if kind == "drawn":
                self.candidates[key] = read_candidate(data)
            elif kind == "answered":
                self._accounts.answered(key.partition("/")[0], data)
            else:
                self._rows["bred" if kind == "mended" else kind][key] = data

    def outline(self, candidate: Candidate) -> Facts:
        data = self._settled(candidate)
        return {
            "id": candidate.id,
            "parents": list(candidate.parents),
            "generation": candidate.generation,
            "operator": candidate.operator,
            "block": listed(candidate.about(self._bred(candidate).get("changed", ()))),
            "role": candidate.role,
            "directive": candidate.directive,
            "fitness": data.get("fitness"),
            "outcome": data.get("stage", data["outcome"]),
            "reason": data.get("reason") or (f"same genome as {data['twin']}" if "twin" in data else ""),
        }

    def facts(self, candidate: Candidate) -> Facts:
        data, last, account = self._settled(candidate), candidate.recipes[-1], self._accounts.look(candidate.id)
        return {
            **self.outline(candidate),
            "branch": self._rows["committed"].get(candidate.id, {}).get("branch"),
            "elite": next((r.elite for r in candidate.recipes if r.elite), None),
            "model": account.of(last.model),
            "temperature": last.temperature,
            "intention": self._bred(candidate).get("intention", ""),
            "evidence": data.get("evidence"),
            "log": data.get("log", ""),
            "seconds": sum(data.get("evidence", {}).get("seconds", {}).values()),
            "usd": account.usd,
        }

    def _settled(self, candidate: Candidate) -> Facts:
        return self._rows["settled"].get(candidate.id, {"outcome": "in flight"})

    def _bred(self, candidate: Candidate) -> Facts:
        return self._rows["bred"].get(candidate.id, {})


def _front(trained: Sequence[_Trained], config: Facts) -> tuple[Fitness | None, list[_Trained], float]:
    objectives = [Objective(name, direction) for name, direction in config.get("objectives", {}).items()]
    seed = next((t.fitness for t in trained if t.id == SEED_ID), None)
    if seed is None:
        return None, [], 0.0
    front = selection.front(trained, objectives)
    return seed, front, selection.hypervolume([t.fitness for t in front], objectives, seed)


def _forecast(journal: Journal, config: Facts) -> Facts:
    """How far a run that works will get."""
    found = forecast_from_journal(journal.cost_rows(), config, SearchSettings(**config["search"]).candidates, time.time())
    return {**forecast_facts(found), "words": forecast_text(found)}


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
    calls, unpriced, usd, tokens_in, tokens_out = journal.llm_totals()
    return {
        "usd": usd,
        "calls_without_a_known_price": unpriced,
        "tokens_in": tokens_in,
        "tokens_out": tokens_out,
        "llm_calls": calls,
        "seconds": round(journal.seconds_worked(), 1),
    }

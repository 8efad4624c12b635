"""The candidates of a run as plain facts, read from its journal: what `evolve show` and `evolve diff` print."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from agent.core.errors import UserError
from agent.core.noise import Noise
from agent.core.text import list_names
from agent.genome import Genome, diff
from agent.journal.codec import Row, read_candidate
from agent.journal.readings import Measured, measured, noise_now
from agent.journal.store import Journal
from agent.journal.tracker import Tracker
from agent.population.candidate import SEED_ID, Candidate
from agent.review.facts import Facts, error_of
from agent.review.steps import Effects

_KINDS = ("drawn", "settled", "bred", "mended", "committed", "answered")
"""Kinds of events about a candidate."""


_LATER: Facts = {"mistakes": [], "printed": [], "parameters_by_part": {}}
"""Evidence that the journal leaves out where there is none."""


def candidate_lines(journal: Journal) -> list[Facts]:
    """The facts of each candidate that fit in one line of a table, in the order of their proposal."""
    rows = _read(journal.candidate_outlines(), journal)
    return [_line(rows, candidate) for candidate in rows.candidates.values()]


def candidates(journal: Journal) -> list[Facts]:
    """The facts of each candidate without diff, prompt and answer, in the order of their proposal."""
    rows = list(journal.events_without_texts(*_KINDS))
    found, tracker = _read(rows, journal), _costs(rows)
    return [_facts(found, tracker, candidate) for candidate in found.candidates.values()]


def candidate(journal: Journal, id: str) -> Facts:
    """One candidate with diff, prompt and answer; leading zeros of its id may be left out.

    Raises UserError for an unknown id.
    """
    known = _known_id(journal, id)
    rows = list(journal.events(*_KINDS, key=known))
    found, tracker = _read(rows, journal), _costs(rows)
    calls = _calls(journal, known)
    last_call = calls[-1] if calls else {"prompt": None, "answer": None}
    return {
        **_facts(found, tracker, found.candidates[known]),
        "against": Effects(journal).of(known, found.candidates[known].parents),
        "diff": program_diff(journal, SEED_ID, known),
        "prompt": last_call["prompt"],
        "answer": last_call["answer"],
        "calls": calls,
    }


def steps(journal: Journal, id: str) -> list[Facts]:
    """The way from the seed to a candidate: each program that was edited into the next one, with its own diff and its effect.

    The diffs in their order make the candidate of the seed. Raises UserError for an unknown id.
    """
    found = _read(journal.events_without_texts(*_KINDS), journal)
    way = [_known_id(journal, id)]
    while (parents := found.candidates[way[0]].parents) and parents[0] != SEED_ID:
        way.insert(0, parents[0])
    effects = Effects(journal)
    return [_step(journal, found, effects, one, before) for before, one in zip([SEED_ID, *way], way, strict=False)]


def _step(journal: Journal, rows: _Rows, effects: Effects, id: str, before: str) -> Facts:
    line = _line(rows, rows.candidates[id])
    kept = ("id", "parents", "generation", "operator", "block", "role", "directive", "fitness", "trainings", "outcome", "reason")
    return {
        **{key: line[key] for key in kept},
        "intention": rows.bred.get(id, {}).get("intention", ""),
        "against": effects.of(id, [before]),
        "diff": program_diff(journal, before, id),
    }


def _known_id(journal: Journal, id: str) -> str:
    """The id as the journal has it. Raises UserError for an unknown one."""
    padded = id.zfill(4)
    known = next((one for one in (id, padded) if _is_proposed(journal, one)), None)
    if known is None:
        last = journal.last_key("drawn") or "none"
        raise UserError(f"There is no candidate {padded} in this run; the last one is {last}.")
    return known


def program_diff(journal: Journal, old: str, new: str) -> str:
    """The unified diff from one program to another, by ids; empty if one of them never parsed."""
    before, after = _program(journal, old), _program(journal, new)
    return diff(before, after) if before and after else ""


def seed_characters(journal: Journal) -> frozenset[str]:
    """The characters of the seed, which are the user's own."""
    seed = _program(journal, SEED_ID)
    return frozenset(character for text in (seed.files.values() if seed else ()) for character in text)


def _program(journal: Journal, id: str) -> Genome | None:
    kinds = ("settled",) if id == SEED_ID else ("bred", "mended")
    files = [data["files"] for _, _, _, data in journal.events(*kinds, key=id)]
    return Genome(files[-1]) if files else None


def _is_proposed(journal: Journal, id: str) -> bool:
    return any(key == id for _, _, key, _ in journal.events("drawn", key=id))


def _calls(journal: Journal, id: str) -> list[Facts]:
    """The model calls for a candidate in order, with the answers."""
    answers = {key: data for _, _, key, data in journal.events("answered", key=id)}
    asked = [(key, data) for _, _, key, data in journal.events("asked", key=id)]
    asked.sort(key=lambda call: int(call[0].partition("/")[2]))
    return [
        {
            "prompt": "\n\n".join(f"# {message['role']}\n\n{message['text']}" for message in data["messages"]),
            "answer": answers.get(key, {}).get("text"),
            "model": answers.get(key, data)["model"],
        }
        for key, data in asked
    ]


@dataclass
class _Rows:
    """The journal's data by kind and candidate."""

    candidates: dict[str, Candidate] = field(default_factory=dict)
    bred: dict[str, Facts] = field(default_factory=dict)
    """The data of the last program: a repaired one replaces the one before."""
    settled: dict[str, Facts] = field(default_factory=dict)
    committed: dict[str, Facts] = field(default_factory=dict)
    measured: dict[str, Measured] = field(default_factory=dict)
    noise: Noise | None = None


def _read(rows: Iterable[tuple[float, str, str, Facts]], journal: Journal) -> _Rows:
    known = measured(journal)
    found = _Rows(measured={one.id: one for one in known}, noise=noise_now(journal, known))
    by_kind = {"bred": found.bred, "mended": found.bred, "settled": found.settled, "committed": found.committed}
    for _, kind, key, data in rows:
        if kind == "drawn":
            found.candidates[key] = read_candidate(data)
        elif kind in by_kind:
            by_kind[kind][key.partition("/")[0]] = data
    return found


def _costs(rows: Iterable[Row]) -> Tracker:
    """What each candidate has cost, and which models answered."""
    tracker = Tracker()
    tracker.recall((row for row in rows if row[1] in ("drawn", "answered")), candidates=False)
    return tracker


def _line(rows: _Rows, candidate: Candidate) -> Facts:
    settled = rows.settled.get(candidate.id, {"outcome": "in flight"})
    known = rows.measured.get(candidate.id)
    changed = rows.bred.get(candidate.id, {}).get("changed", ())
    return {
        "id": candidate.id,
        "parents": list(candidate.parents),
        "generation": candidate.generation,
        "operator": candidate.operator,
        "block": list_names(candidate.about(changed)),
        "role": candidate.role,
        "directive": candidate.directive,
        "fitness": dict(known.fitness.values) if known else None,
        "trainings": known.trainings if known else 0,
        "error": error_of(rows.noise, known.trainings) if known else None,
        "fault": known.fault if known else "",
        "outcome": settled.get("stage", settled["outcome"]),
        "reason": settled.get("reason") or (f"same genome as {settled['twin']}" if "twin" in settled else ""),
    }


def _facts(rows: _Rows, tracker: Tracker, candidate: Candidate) -> Facts:
    settled, cost = rows.settled.get(candidate.id, {}), tracker.get(candidate.id)
    known = rows.measured.get(candidate.id)
    last = candidate.recipes[-1]
    return {
        **_line(rows, candidate),
        "branch": rows.committed.get(candidate.id, {}).get("branch"),
        "elite": next((recipe.elite for recipe in candidate.recipes if recipe.elite), None),
        "sources": [*dict.fromkeys(id for recipe in candidate.recipes for id in recipe.sources)],
        "model": cost.model_for(last.model),
        "temperature": last.temperature,
        "intention": rows.bred.get(candidate.id, {}).get("intention", ""),
        "evidence": {**_LATER, **settled["evidence"]} if settled.get("evidence") else None,
        "readings": [dict(one.values) for one in known.readings] if known else [],
        "log": settled.get("log", ""),
        "seconds": sum(settled.get("evidence", {}).get("seconds", {}).values()),
        "usd": cost.usd,
        "unpriced": cost.unpriced,
    }

"""What the journal holds of one program of a run: its source, and every training that was made of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from agent.core.errors import UserError
from agent.journal.codec import Row
from agent.journal.store import Journal
from agent.population.candidate import INVALID_STAGES, SEED_ID
from agent.run.config import RunSection
from agent.run.training_seeds import training_seed_of

Origin = Literal["search", "noise", "elite", "confirmation"]
"""Why a training was made: for the candidate's fitness; of the seed for its noise; of an elite for its mean; to confirm."""


@dataclass(frozen=True)
class Reading:
    """One training as the journal has it."""

    origin: Origin
    training_seed: int
    values: Mapping[str, float] | None
    """By objective, on the validation split; None for a failure."""
    stage: str
    """Where a failure stopped; else empty."""
    reason: str
    curve: tuple[tuple[float, ...], ...]
    """What the training reported of each epoch; empty where that was not recorded."""
    device: str
    start: Mapping[str, Any]
    """The `started` row of the process that made it."""


@dataclass(frozen=True)
class RecordedProgram:
    """One program and its trainings."""

    id: str
    files: Mapping[str, str]
    commit: str | None
    """Hash of its commit; None if it has none."""
    readings: tuple[Reading, ...]
    """The one of the search first, if there is one."""


def recorded_program(journal: Journal, id: str) -> RecordedProgram:
    """The seed, a candidate, or a null copy of a confirmation, by its id; leading zeros may be left out.

    Raises UserError for an id that the run does not know, and for a candidate that was never trained.
    """
    nulls = {name: files for _, _, _, data in journal.events("shortlist") for name, files in data["nulls"].items()}
    known = {key for _, _, key, _ in journal.events("drawn")} | {SEED_ID, *nulls}
    found = next((one for one in (id, id.zfill(4)) if one in known), None)
    if found is None:
        raise UserError(f"There is no candidate {id} in this run; the last one is {journal.last_key('drawn') or 'none'}.")
    settled = next((data for _, _, key, data in journal.events("settled", key=found) if key == found), None)
    _check_trained(found, settled, null=found in nulls)
    kinds = ("settled",) if found == SEED_ID else ("bred", "mended")
    programs = [data["files"] for _, _, key, data in journal.events(*kinds, key=found) if key == found]
    commit = next((data["commit"] for _, _, key, data in journal.events("committed", key=found) if key == found), None)
    readings = sorted(_readings(journal, found), key=lambda one: one.origin != "search")
    if not readings:
        raise UserError(f"{found} was not trained yet.")
    return RecordedProgram(found, nulls[found] if found in nulls else programs[-1], commit, tuple(readings))


def _check_trained(id: str, settled: Mapping[str, Any] | None, *, null: bool) -> None:
    if null:
        return
    if settled is None:
        raise UserError(f"{id} is not settled yet: nothing of it can be reproduced.")
    if settled["outcome"] == "duplicate":
        raise UserError(f"{id} is the same program as {settled['twin']} and was not trained: reproduce {settled['twin']}.")
    if settled.get("stage") in INVALID_STAGES:
        raise UserError(f"{id} was never trained: it stopped at {settled['stage']}, before any of its code ran.")


def _readings(journal: Journal, id: str) -> Iterator[Reading]:
    start: Mapping[str, Any] = {}
    for row in journal.events("started", "settled", "repeated", "reading", "retrained"):
        _, kind, key, data = row
        if kind == "started":
            start = data
        elif _program_of(row) == id and (kind != "settled" or data["outcome"] != "duplicate"):
            yield _reading(kind, key, data, start, id)


def _program_of(row: Row) -> str:
    """The id of the program that was trained."""
    _, kind, key, data = row
    match kind:
        case "repeated":
            return SEED_ID
        case "reading":
            return key.rpartition("/")[0]
        case "retrained":
            return str(data["id"])
    return key


def _reading(kind: str, key: str, data: Mapping[str, Any], start: Mapping[str, Any], id: str) -> Reading:
    origins: dict[str, Origin] = {"settled": "search", "repeated": "noise", "reading": "elite", "retrained": "confirmation"}
    if kind == "settled":
        training_seed = training_seed_of(id, RunSection.model_validate(start["config"].get("run", {})))
        stage, reason = data.get("stage", ""), data.get("reason", "")
    else:
        training_seed = int(key.rpartition("/")[2])
        stage, _, reason = data["reason"].partition(": ")
    values = data.get("values") if kind == "retrained" else data.get("fitness")
    evidence = data.get("evidence") or {}
    devices = start.get("devices") or ["cpu"]
    return Reading(
        origins[kind],
        training_seed,
        values,
        "" if values else stage,
        "" if values else reason,
        tuple(tuple(row) for row in evidence.get("curve", ())),
        evidence.get("device", devices[0]),
        start,
    )

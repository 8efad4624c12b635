"""Translate between events and what the journal stores for each: a kind, a key and a JSON value.

Kinds and JSON keys are the format of the file on disk. They never change, whatever the types in the code are called.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, fields, replace
from typing import Any

from agent.core.noise import Noise
from agent.core.objectives import Fitness
from agent.core.verdicts import Comparison, Verdict, Verdicts
from agent.core.worth import WorthScale
from agent.genome import Genome
from agent.journal.events import (
    Answered,
    Asked,
    Bred,
    Committed,
    DirectiveWritten,
    EliteRetrained,
    Event,
    Generalised,
    GenerationEnded,
    Learned,
    ModelsChecked,
    NoiseMeasured,
    PlateauLevelChanged,
    Proposed,
    Rejected,
    Repaired,
    Retrained,
    RunEnded,
    RunStarted,
    SealOpened,
    SearchEnded,
    SearchSized,
    SeedFailed,
    SeedRepeated,
    Settled,
    ShortlistFrozen,
    SteeringChanged,
    VerdictsReached,
)
from agent.llm import Completion, CoolDownEnded, CoolDownStarted, Message, Usage
from agent.memory import Lesson, verdict_named
from agent.population.candidate import SEED_ID, Candidate, Duplicate, Evidence, Failure, Individual, Outcome, Recipe, Variant

Json = dict[str, Any]

Row = tuple[float, str, str, Json]
"""A row of the journal: (time in seconds since the epoch, kind, key, data)."""


def write_event(event: Event) -> tuple[str, str, Json]:
    """Return (kind, key, data). Kind and key identify an event: an event that is recorded twice is kept once."""
    match event:
        case RunStarted():
            return "started", _moment(), _write_start(event)
        case Proposed(candidate):
            return "drawn", candidate.id, write_candidate(candidate)
        case Asked():
            return "asked", f"{event.id}/{event.call}", _write_asked(event)
        case Answered(id, call, completion):
            return "answered", f"{id}/{call}", write_completion(completion)
        case Rejected(id, call, stage, reasons):
            return "rejected", f"{id}/{call}", {"stage": stage, "reasons": list(reasons)}
        case Bred(variant):
            return "bred", variant.id, write_variant(variant)
        case Repaired(variant, reason, number):
            key = variant.id if number == 1 else f"{variant.id}/{number}"  # the first ones stand in old journals, too
            return "mended", key, {**write_variant(variant), "reason": reason}
        case Settled(outcome, seconds, gpus):
            held = {} if seconds is None else {"seconds": seconds, "gpus": gpus}
            return "settled", outcome.id, {**write_outcome(outcome), **held}
        case SeedRepeated():
            return "repeated", str(event.training_seed), _write_training(event)
        case SeedFailed():
            return "seed_failed", _moment(), dict(vars(event))
        case NoiseMeasured(noise, scale):
            return "units", "run", {"noise": noise and _write_noise(noise), "scale": scale.to_json()}
        case SearchSized():
            return "sized", "run", vars(event) | {"operators": dict(event.operators)}
        case EliteRetrained(id, training_seed):
            return "reading", EliteRetrained.id_of(id, training_seed), _write_training(event)
        case _:
            return _write_remark(event)


def _write_remark(
    event: ModelsChecked | Learned | Generalised | DirectiveWritten | PlateauLevelChanged | SteeringChanged | GenerationEnded
    | Committed | CoolDownStarted | CoolDownEnded | SearchEnded | ShortlistFrozen | SealOpened | Retrained | VerdictsReached
    | RunEnded,
) -> tuple[str, str, Json]:  # fmt: skip
    """The events that are not stages of a candidate."""
    match event:
        case ModelsChecked(faults):
            return "checked", _moment(), {"faults": dict(faults)}
        case Learned(lesson):
            return "learned", lesson.id, write_lesson(lesson)
        case Generalised(id, sources, text):
            return "generalised", id, {"sources": list(sources), "text": text}
        case DirectiveWritten(name, text, origin):
            return "directive", name, {"text": text, "origin": origin}
        case PlateauLevelChanged(number, level, reason):
            return "adapted", str(number), {"level": level, "reason": reason}
        case SteeringChanged(what, text):
            return "steered", _moment(), {"what": what, "text": text}
        case GenerationEnded(number, population, elites, front, hypervolume):
            sets = {"population": list(population), "elites": list(elites), "front": list(front)}
            return "generation", str(number), {**sets, "hypervolume": hypervolume}
        case Committed(id, branch, commit):
            return "committed", id, {"branch": branch, "commit": commit}
        case CoolDownStarted(model, seconds, reason, alone):
            return "rests", _moment(), {"model": model, "seconds": seconds, "reason": reason, "alone": alone}
        case CoolDownEnded(model):
            return "returned", _moment(), {"model": model}
        case RunEnded(state, reason):
            return "ended", _moment(), {"state": state, "reason": reason}
        case _:
            return _write_confirmation(event)


def _write_confirmation(
    event: SearchEnded | ShortlistFrozen | SealOpened | Retrained | VerdictsReached,
) -> tuple[str, str, Json]:
    """The events of a confirmation."""
    match event:
        case SearchEnded(state, reason):
            return "searched", _moment(), {"state": state, "reason": reason}
        case ShortlistFrozen(number):
            return "shortlist", str(number), _write_shortlist(event)
        case SealOpened(number):
            return "opened", str(number), {}
        case Retrained(number, id, training_seed):
            data = {name: value for name, value in vars(event).items() if name not in ("number", "training_seed")}
            return "retrained", f"{number}/{training_seed}", {**data, "id": id}
        case VerdictsReached(number, verdicts):
            return "verdicts", str(number), write_verdicts(verdicts)


def _moment() -> str:
    """The key of an event that may happen several times in a run: nanoseconds since the epoch."""
    return f"{time.time_ns()}"


def split_call_key(key: str) -> tuple[str, int]:
    """`0001/2` -> ("0001", 2): the id and the number of the call, of an `asked` or `answered` row."""
    id, _, call = key.partition("/")
    return id, int(call)


def _write_start(start: RunStarted) -> Json:
    return {
        "config": dict(start.config),
        "isolation": start.isolation,
        "layers": list(start.layers),
        "devices": list(start.devices),
        "basis": dict(start.provenance),
        "accepted": list(start.accepted),
        "until_anew": start.until_restarted,
        **({"confirms": True} if start.confirms else {}),
        **({"machine": dict(start.machine)} if start.machine else {}),
    }


def _write_asked(asked: Asked) -> Json:
    return {
        "model": asked.model,
        "messages": [{"role": m.role, "text": m.text} for m in asked.messages],
        "temperature": asked.temperature,
        "max_tokens": asked.max_tokens,
    }


def read_messages(asked: Json) -> tuple[Message, ...]:
    """The prompt of an `asked` row."""
    return tuple(Message(m["role"], m["text"]) for m in asked["messages"])


def _write_training(again: SeedRepeated | EliteRetrained) -> Json:
    return {
        "fitness": dict(again.fitness.values) if again.fitness else None,
        "reason": again.reason,
        "seconds": again.seconds,
        "gpus": again.gpus,
    }


def _write_noise(noise: Noise) -> Json:
    data = {**vars(noise), "sigma": dict(noise.sigma), "reference": dict(noise.reference)}
    if not noise.seeds_itself:  # as before it was known
        del data["seeds_itself"]
    return data


def read_sized(data: Json) -> SearchSized:
    return SearchSized(data["first_population"], data["first_operator"], data["operators"])


def read_units(data: Json) -> NoiseMeasured:
    noise = Noise(**data["noise"]) if data["noise"] else None
    return NoiseMeasured(noise, WorthScale.from_json(data["scale"]))


def read_seed_repeated(key: str, data: Json) -> SeedRepeated:
    fitness = Fitness(data["fitness"]) if data["fitness"] else None
    return SeedRepeated(int(key), fitness, data["reason"], data["seconds"], data.get("gpus", 0.0))


def read_elite_retrained(key: str, data: Json) -> EliteRetrained:
    id, _, training_seed = key.rpartition("/")
    fitness = Fitness(data["fitness"]) if data["fitness"] else None
    return EliteRetrained(id, int(training_seed), fitness, data["reason"], data["seconds"], data["gpus"])


def write_candidate(candidate: Candidate) -> Json:
    recipes = [_write_recipe(recipe) for recipe in candidate.recipes]
    lessons = {"lessons": list(candidate.lessons)} if candidate.lessons else {}
    return {"id": candidate.id, "generation": candidate.generation, "operator": candidate.operator, "recipes": recipes, **lessons}


def _write_recipe(recipe: Recipe) -> Json:
    """Without `sources` where there are none, as before there were any."""
    return {name: value for name, value in vars(recipe).items() if name != "sources" or value}


def _read_recipe(data: Json) -> Recipe:
    return Recipe(**{**data, **{name: tuple(data.get(name, ())) for name in ("parents", "blocks", "sources")}})


def read_candidate(data: Json) -> Candidate:
    recipes = tuple(_read_recipe(recipe) for recipe in data["recipes"])
    return Candidate(data["id"], data["generation"], recipes, tuple(data.get("lessons", ())))


def write_completion(completion: Completion) -> Json:
    data = {name: value for name, value in vars(completion).items() if name != "usage"} | vars(completion.usage)
    for name in ("tokens_cached", "adapted", "missing"):  # as before these were noted
        if not data[name]:
            del data[name]
    return data


def read_completion(data: Json) -> Completion:
    usage = Usage(data["tokens_in"], data["tokens_out"], data["estimated"], data.get("tokens_cached", 0))
    return Completion(
        data["text"],
        data["finish_reason"],
        usage,
        data["usd"],
        data["seconds"],
        data["model"],
        tuple(data.get("adapted", ())),
        data.get("missing", ""),
    )


def write_variant(variant: Variant) -> Json:
    genome = variant.genome
    return {
        "files": dict(genome.files),
        "fingerprint": genome.fingerprint,
        "intention": variant.intention,
        "changed": list(variant.changed),
        **({"expected": variant.expected} if variant.expected else {}),
    }


def read_variant(data: Json, candidate: Candidate, like: Genome) -> Variant:
    """`like`: a genome of the same run, from which frozen blocks and entry points are taken."""
    genome = like.with_precomputed(data["files"], data["fingerprint"])
    changed = tuple(data.get("changed", ()))
    return Variant(candidate, genome, data.get("intention", ""), changed=changed, expected=data.get("expected", ""))


def write_outcome(outcome: Outcome) -> Json:
    match outcome:
        case Individual(candidate, genome, fitness, evidence):
            values = {"fitness": dict(fitness.values), "evidence": _write_evidence(evidence)}
            if candidate.id == SEED_ID:
                return {"outcome": "seed", "files": dict(genome.files), **values}
            return {"outcome": "trained", **values}
        case Failure(_, stage, reason, log):
            return {"outcome": "failed", "stage": stage, "reason": reason, "log": log}
        case Duplicate(_, twin):
            return {"outcome": "duplicate", "twin": twin}


def read_outcome(data: Json, candidate: Candidate, variant: Variant | None) -> Outcome:
    """How a candidate ended. `variant`: its program, None if it never had one. For the seed use `read_seed`."""
    match data["outcome"]:
        case "trained":
            assert variant is not None, f"{candidate.id} was trained but its sources are not in the journal"
            fitness, evidence = Fitness(data["fitness"]), _read_evidence(data["evidence"])
            return Individual(candidate, variant.genome, fitness, evidence, variant.intention, variant.changed)
        case "duplicate":
            return Duplicate(candidate, data["twin"])
        case _:
            failure = Failure(candidate, data["stage"], data["reason"], data["log"])
            if variant is None:
                return failure
            return replace(failure, genome=variant.genome, intention=variant.intention, changed=variant.changed)


def read_seed(data: Json, like: Genome) -> Individual:
    """The trained seed from its `settled` row. `like`: as in `read_variant`."""
    fitness, evidence = Fitness(data["fitness"]), _read_evidence(data["evidence"])
    return Individual(Candidate(SEED_ID, 0), like.with_same_rules(data["files"]), fitness, evidence)


def _write_shortlist(shortlist: ShortlistFrozen) -> Json:
    return {
        "members": {id: dict(fitness) if fitness else None for id, fitness in shortlist.members.items()},
        "nulls": {id: dict(files) for id, files in shortlist.nulls.items()},
        "plan": [list(training) for training in shortlist.plan],
        "margin": shortlist.margin,
        "has_test_split": shortlist.has_test_split,
        "test_note": shortlist.test_note,
        "forced": shortlist.forced,
        "left_out": shortlist.left_out,
    }


def read_shortlist(key: str, data: Json) -> ShortlistFrozen:
    return ShortlistFrozen(int(key), **{**data, "plan": tuple((id, seed) for id, seed in data["plan"])})


def read_retrained(key: str, data: Json) -> Retrained:
    number, _, training_seed = key.partition("/")
    return Retrained(int(number), training_seed=int(training_seed), **data)


def write_verdicts(verdicts: Verdicts) -> Json:
    """Also what `--json` prints of it."""
    return asdict(verdicts)


def read_verdicts(data: Json) -> Verdicts:
    verdicts = tuple(
        Verdict(**{**one, "objectives": {name: Comparison(**found) for name, found in one["objectives"].items()}})
        for one in data["verdicts"]
    )
    return Verdicts(**{**data, "verdicts": verdicts})


def write_lesson(lesson: Lesson) -> Json:
    data = {f.name: getattr(lesson, f.name) for f in fields(lesson)}
    for name, usual in (("against", 1), ("trainings", 1), ("cited", ())):  # as before there were these
        if data[name] == usual:
            del data[name]
    return {**data, "effects": dict(lesson.effects), "gains": dict(lesson.gains)}


def read_lesson(data: Json) -> Lesson:
    names = {name: tuple(data.get(name, ())) for name in ("blocks", "kinds", "shown", "cited")}
    return Lesson(**{**data, **names, "verdict": verdict_named(data["verdict"], data["gains"])})


def _write_evidence(evidence: Evidence) -> Json:
    names = ("seconds", "parameters_by_block", "calls_by_block", "parameters_by_part")
    mappings = {name: dict(getattr(evidence, name)) for name in names}
    data = {**vars(evidence), **mappings}
    if evidence.load is None:  # as before it was measured
        del data["load"]
    for name in ("mistakes", "printed", "parameters_by_part"):
        if not data[name]:  # as before it was known
            del data[name]
    return data


def _read_evidence(data: Mapping[str, Any]) -> Evidence:
    curve = tuple(tuple(row) for row in data["curve"])
    calls = {block: tuple((size, count) for size, count in rows) for block, rows in data.get("calls_by_block", {}).items()}
    for block, sizes in data.get("sizes_by_block", {}).items():  # as before the parameters of each call were known
        calls[block] = tuple((size, 0) for size in sizes)
    known = {name: value for name, value in data.items() if name != "sizes_by_block"}
    mistakes = tuple((kind, count) for kind, count in data.get("mistakes", ()))
    known |= {"curve": curve, "calls_by_block": calls, "layers": tuple(data["layers"]), "mistakes": mistakes}
    known["printed"] = tuple(data.get("printed", ()))
    return Evidence(**known)

"""The types of a run as JSON values and back: what the journal stores."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

from agent.core.objectives import Fitness
from agent.genome import Genome
from agent.llm import Completion, Usage
from agent.memory import Lesson
from agent.population.candidate import SEED_ID, Candidate, Duplicate, Evidence, Failure, Individual, Outcome, Recipe, Variant

Json = dict[str, Any]


def write_candidate(candidate: Candidate) -> Json:
    recipes = [vars(recipe) for recipe in candidate.recipes]
    told = {"lessons": list(candidate.lessons)} if candidate.lessons else {}
    return {"id": candidate.id, "generation": candidate.generation, "operator": candidate.operator, "recipes": recipes, **told}


def read_candidate(data: Json) -> Candidate:
    recipes = tuple(Recipe(**{**r, "parents": tuple(r["parents"]), "blocks": tuple(r["blocks"])}) for r in data["recipes"])
    return Candidate(data["id"], data["generation"], recipes, tuple(data.get("lessons", ())))


def write_completion(completion: Completion) -> Json:
    return {name: value for name, value in vars(completion).items() if name != "usage"} | vars(completion.usage)


def read_completion(data: Json) -> Completion:
    usage = Usage(data["tokens_in"], data["tokens_out"], data["estimated"])
    return Completion(data["text"], data["finish_reason"], usage, data["usd"], data["seconds"], data["model"])


def write_variant(variant: Variant) -> Json:
    genome = variant.genome
    said = {"intention": variant.intention, "changed": list(variant.changed)}
    return {"files": dict(genome.files), "fingerprint": genome.fingerprint, **said}


def read_variant(data: Json, candidate: Candidate, like: Genome) -> Variant:
    """`like`: a genome whose rules hold for all of its run."""
    genome = like.with_precomputed(data["files"], data["fingerprint"])
    return Variant(candidate, genome, data.get("intention", ""), changed=tuple(data.get("changed", ())))


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
    fitness, evidence = Fitness(data["fitness"]), _read_evidence(data["evidence"])
    return Individual(Candidate(SEED_ID, 0), like.with_same_rules(data["files"]), fitness, evidence)


def write_lesson(lesson: Lesson) -> Json:
    data = {f.name: getattr(lesson, f.name) for f in fields(lesson)}
    return {**data, "effects": dict(lesson.effects), "gains": dict(lesson.gains)}


def read_lesson(data: Json) -> Lesson:
    return Lesson(**{**data, **{name: tuple(data[name]) for name in ("blocks", "kinds", "shown")}})


def _write_evidence(evidence: Evidence) -> Json:
    mappings = {name: dict(getattr(evidence, name)) for name in ("seconds", "parameters_by_block", "sizes_by_block")}
    return {**vars(evidence), **mappings}


def _read_evidence(data: Mapping[str, Any]) -> Evidence:
    curve = tuple(tuple(row) for row in data["curve"])
    sizes = {block: tuple(found) for block, found in data.get("sizes_by_block", {}).items()}
    return Evidence(**{**data, "curve": curve, "sizes_by_block": sizes, "layers": tuple(data["layers"])})

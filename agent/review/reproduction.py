"""What a reproduction found, as plain facts and as sentences."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from agent.core.text import format_number, one_line
from agent.review.facts import Facts

if TYPE_CHECKING:
    from agent.run.reproduction import Compared, Reproduction

_REASON = 200
_ORIGINS = {
    "search": "the training of the search", "noise": "a training for the noise", "elite": "a further training of the search",
    "confirmation": "a training of a confirmation",
}  # fmt: skip
_WORDS = {
    "equal": "equal", "within noise": "within noise", "differs": "DIFFERS", "timed": "depends on the clock, not compared",
    "unknown": "not equal, and no noise is known to judge it by",
}  # fmt: skip


def reproduction_facts(found: Reproduction, run: str) -> Facts:
    """What `evolve reproduce --json` prints."""
    program = found.program
    return {
        "run": run,
        "id": program.id,
        "reproduced": found.reproduced,
        "source": {"digest": found.digest, "commit": program.commit, "in_git": found.in_git},
        "recorded": len(program.readings),
        "readings": [_reading(one, found) for one in found.readings],
    }


def _reading(one: Compared, found: Reproduction) -> Facts:
    then, now = one.reading, one.again
    return {
        "origin": then.origin,
        "training_seed": then.training_seed,
        "device": then.device,
        "word": one.word,
        "reproduced": one.reproduced,
        "promise": one.promise,
        "promise_reason": one.promise_reason,
        "differences": [asdict(difference) for difference in one.differences],
        "then": {"values": _values(then.values), "stage": then.stage or None, "reason": then.reason},
        "now": {"values": _values(now.values), "stage": now.stage or None, "reason": now.reason, "seconds": now.seconds},
        "curve": one.curve,
        "objectives": [
            {
                "objective": name,
                "word": word,
                "difference": (now.values or {})[name] - (then.values or {})[name],
                "band": found.noise.band(name) if found.noise and found.noise.sigma.get(name) else None,
            }
            for name, word in one.words.items()
        ],
    }


def _values(values: object) -> Facts | None:
    return dict(values) if isinstance(values, dict) else None


def verdict_text(facts: Facts) -> str:
    """The result in a sentence. `facts`: see `reproduction_facts`, here and below."""
    words = {one["word"] for one in facts["readings"]}
    if not facts["reproduced"]:
        return f"{facts['id']} is not reproduced."
    if words == {"equal"}:
        return f"{facts['id']} is reproduced: the same {'stage' if _failed(facts) else 'values, bit by bit'}."
    return f"{facts['id']} is reproduced within the noise."


def _failed(facts: Facts) -> bool:
    return any(one["then"]["stage"] for one in facts["readings"])


def source_text(facts: Facts) -> str:
    source = facts["source"]
    where = {True: "the same as in its commit", False: "NOT THE SAME AS IN ITS COMMIT", None: "its commit is not there"}
    commit = f"; {where[source['in_git']]}" if source["commit"] else ""
    more = facts["recorded"] - len(facts["readings"])
    left = f"; {more} more training{'s' if more > 1 else ''} recorded: --all" if more else ""
    return f"source {source['digest']}, from the journal{commit}{left}"


def reading_lines(one: Facts) -> list[tuple[str, bool]]:
    """(text, whether it is a fault) for each line about one reading."""
    bits = "every bit is to be the same"
    promise = bits if one["promise"] == "bits" else f"no more than the noise is promised: {one['promise_reason']}"
    lines = [(f"{_ORIGINS[one['origin']]}, training seed {one['training_seed']}, on {one['device']}; {promise}", False)]
    lines += [(_outcome_text(one), not one["reproduced"])] if one["then"]["stage"] or one["now"]["stage"] else []
    lines += [_objective_line(found, one) for found in one["objectives"]]
    if one["curve"] != "timed":
        fault = one["curve"] == "differs" and one["promise"] == "bits"
        lines.append((f"  loss of each epoch: {_WORDS[one['curve']] if fault else one['curve']}", fault))
    return lines


def difference_lines(facts: Facts) -> list[str]:
    """What is not as it was then: each of it once, although all readings may share it."""
    found = {tuple(one.values()): one for reading in facts["readings"] for one in reading["differences"]}
    return [
        f"{'not as it was' if one['matters'] else 'not as it was, without influence'}: "
        f"{one['what']}: {one_line(one['then'])} -> {one_line(one['now'])}"
        for one in found.values()
    ]


def _outcome_text(one: Facts) -> str:
    def ended(outcome: Facts) -> str:
        reason = one_line(outcome["reason"])[:_REASON]
        return f"stopped at {outcome['stage']} ({reason})" if outcome["stage"] else "trained"

    return f"  then {ended(one['then'])}; now {ended(one['now'])}"


def _objective_line(found: Facts, one: Facts) -> tuple[str, bool]:
    name, word = found["objective"], found["word"]
    then, now = (format_number(one[when]["values"][name]) for when in ("then", "now"))
    band = f" (chance explains {format_number(found['band'])})" if found["band"] and word in ("within noise", "differs") else ""
    return f"  {name}: {then}, now {now}: {_WORDS[word]}{band}", word in ("differs", "unknown")

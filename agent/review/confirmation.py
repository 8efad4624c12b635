"""The last confirmation of a run as plain facts, and its verdicts as sentences."""

from __future__ import annotations

from agent.core.statistics import CONFIDENCE
from agent.core.text import format_number
from agent.core.verdicts import CONFIRMED
from agent.journal.codec import write_verdicts
from agent.journal.confirmations import ConfirmationRecord, read_confirmations
from agent.journal.header import config_of, objectives_of
from agent.journal.store import Journal
from agent.review.facts import Facts
from agent.review.null import is_null

MEANING = (
    '"confirmed" means: trained again with training seeds that the search never used, it is better than the seed, or not worse '
    "by the margin, beyond what chance explains: at a level of 5 % over all comparisons of either kind. It says nothing about "
    "other data, longer trainings or another machine."
)
_ROLES = {"seed": "where it began", "null": "a copy of the seed: ", "member": ""}
CHECK_FAILED = (
    "THE CHECK FAILED: a copy of the seed that differs by a comment alone came out as confirmed. Chance does that in a few of a "
    "hundred confirmations, a fault in the measurement more often: trust no verdict of this one before you know which."
)


def confirmation_facts(journal: Journal) -> Facts | None:
    """What `--json` prints of the last confirmation; None if there was none."""
    records = read_confirmations(journal)
    return _facts(records[-1], journal) if records else None


def _facts(one: ConfirmationRecord, journal: Journal) -> Facts:
    frozen, verdicts = one.shortlist, one.judge(objectives_of(journal))
    facts, null = write_verdicts(verdicts), is_null(config_of(journal))
    return {
        "number": frozen.number,
        "state": "complete" if one.is_complete else "interrupted",
        "split": "test" if frozen.has_test_split else "validation",
        "test_note": frozen.test_note,
        "trainings": sum(id == next(iter(frozen.members)) for id, _ in frozen.plan),
        "planned": len(frozen.plan),
        "made": len(one.trainings),
        "confidence": CONFIDENCE,
        "margin": verdicts.margin,
        "comparisons": verdicts.comparisons,
        "sigma": facts["sigma"],
        "check": verdicts.check,
        "check_failed": verdicts.check == "failed",
        "verdicts": [_verdict(verdict, null=null) for verdict in facts["verdicts"]],
    }


def _verdict(verdict: Facts, *, null: bool) -> Facts:
    """`null`: of a null run, in which nothing is to be confirmed."""
    false_discovery = null and verdict["role"] == "member" and is_confirmed(verdict)
    objectives = [{"objective": name, **found} for name, found in verdict["objectives"].items()]
    lists = {"failures": list(verdict["failures"]), "objectives": objectives}
    return {**verdict, **lists, "false_discovery": false_discovery}


def is_confirmed(verdict: Facts) -> bool:
    return verdict["word"] in CONFIRMED


def basis_text(facts: Facts) -> str:
    """What the verdicts are based on, in a sentence or two. `facts`: of a confirmation."""
    adjusted = f"{facts['comparisons']} comparison{'s' if facts['comparisons'] != 1 else ''}"
    return (
        f"Judged on the {facts['split']} split ({facts['test_note']}), {facts['trainings']} trainings of each program; intervals "
        f"of {facts['confidence']:.0%} by Welch, p-values adjusted by Holm for {adjusted}; no worse: worse than the "
        f"seed by less than {facts['margin']:g} sigmas."
    )


def openings_text(status: Facts) -> str:
    """How often the test split of a run was opened."""
    if not status["has_test_split"]:
        return "no sealed test split: nothing can be sealed from a script"
    count = status["seal_openings"]
    return f"sealed test split: {'never opened' if not count else 'opened once' if count == 1 else f'opened {count} times'}"


def difference_text(found: Facts, *, noisy: bool) -> str:
    """One objective of a verdict: the difference from the seed with its interval; the mean of the seed itself."""
    if found["difference"] is None:
        return "-" if found["mean"] is None else f"mean {format_number(found['mean'])}"
    if not noisy:
        return "same" if not found["difference"] else f"{found['difference']:+,.6g} ({found['change']:+.1%})"
    if found["low"] is None:
        return f"{found['difference']:+.3g}"
    return f"{found['difference']:+.3g} [{found['low']:+.3g}, {found['high']:+.3g}]"


def p_text(found: Facts) -> str:
    """The adjusted p-value of one objective; empty where nothing was tested."""
    p = found["adjusted_p"]
    return "" if p is None else "<0.001" if p < 0.001 else f"{p:.3f}"


def shrinkage_text(found: Facts) -> str:
    return "" if found["shrinkage"] is None else f"{found['shrinkage']:+.2g}"


def verdict_text(verdict: Facts) -> str:
    """The verdict of one program, as a table shows it."""
    warning = "FALSE DISCOVERY: " if verdict["false_discovery"] else ""
    return f"{warning}{_ROLES[verdict['role']]}{verdict['text']}"


def is_alarming(verdict: Facts) -> bool:
    """Is a copy of the seed confirmed, or a candidate of a null run?"""
    return bool(verdict["false_discovery"]) or (verdict["role"] == "null" and is_confirmed(verdict))


def progress_text(facts: Facts, *, alive: bool) -> str:
    """How far a confirmation has come that is not complete."""
    made = f"{facts['made']} of {facts['planned']} trainings made"
    return f"{made}, under way" if alive else f"{made}: undecided until the rest is; go on with `evolve confirm`"

"""What a run says of its commits after they were made, in git notes: means of several trainings, and verdicts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from agent.core.errors import MachineError, UserError
from agent.core.noise import Noise
from agent.core.objectives import Objective
from agent.core.text import format_number, one_line
from agent.core.verdicts import Comparison, Verdict
from agent.journal.confirmations import ConfirmationRecord, read_confirmations
from agent.journal.events import Advised, Watch
from agent.journal.header import objectives_of
from agent.journal.readings import Measured, measured, noise_now
from agent.journal.store import Journal
from agent.lineage import Lineage
from agent.population.candidate import SEED_ID

_REASON = 300
"""Characters of a failure's reason."""


def annotate(lineage: Callable[[], Lineage], journal: Journal, watch: Watch) -> None:
    """Write the notes of a run anew. Nothing depends on them: what keeps git from writing them is only said.

    `lineage`: opens the branches of the run.
    """
    try:
        lineage().annotate(notes_of(journal))
    except (MachineError, UserError) as error:
        watch(Advised(f"The notes on the branches are not up to date: {error}"))


def notes_of(journal: Journal) -> dict[str, str]:
    """The note of every commit that has one, by its hash. Raises MachineError if the journal was damaged."""
    objectives, known = objectives_of(journal), measured(journal)
    noise, confirmations = noise_now(journal, known), read_confirmations(journal)
    commits = {key: str(data["commit"]) for _, _, key, data in journal.events("committed")}
    by_id = {one.id: one for one in known}
    notes = {}
    for id, commit in commits.items():
        parts = [_mean_text(by_id[id], objectives, noise)] if id in by_id and by_id[id].trainings > 1 else []
        parts += [text for one in confirmations if (text := _verdict_text(one, id, objectives))]
        if parts:
            notes[commit] = "\n\n".join(parts)
    return notes


def _mean_text(known: Measured, objectives: Sequence[Objective], noise: Noise | None) -> str:
    first, mean = known.readings[0], known.fitness
    varies = [o.name for o in objectives if len({one[o.name] for one in known.readings}) > 1]
    if not varies:
        return f"Trained {known.trainings} times in the search, with the same result to the digit."
    errors = noise.error(known.trainings) if noise else {}
    lines = [f"Mean of {known.trainings} trainings in the search, in place of the first one, which the commit names:"]
    for name in varies:
        error = f" +- {format_number(errors[name])}" if name in errors else ""
        lines.append(f"  {name} {format_number(mean[name])}{error} (the first: {format_number(first[name])})")
    return "\n".join([*lines, *([f"It leads no more: {one_line(known.fault, _REASON)}"] if known.fault else [])])


def _verdict_text(record: ConfirmationRecord, id: str, objectives: Sequence[Objective]) -> str:
    """What one confirmation found of a program; empty if that was no part of it, or is where all are compared with."""
    if id not in record.shortlist.members or id == SEED_ID:
        return ""
    verdict = next(one for one in record.judge(objectives).verdicts if one.id == id)
    split = "the sealed test split" if record.shortlist.has_test_split else "the validation split"
    fresh = f"{verdict.trainings} trainings with fresh seeds, on {split}"
    lines = [f"Confirmation {record.shortlist.number}: {verdict.text} ({fresh})"]
    lines += [line for o in objectives if (line := _difference(o.name, verdict.objectives))]
    lines += [f"  failed: {one_line(reason, _REASON)}" for reason in verdict.failures if reason]
    return "\n".join([*lines, "", f"Verdict: {_word(verdict)}"])


def _difference(name: str, found: Mapping[str, Comparison]) -> str:
    one = found.get(name)
    if one is None or one.mean is None:
        return ""
    text = f"  {name} {format_number(one.mean)}"
    if one.change is not None:
        text += f", against the seed {one.change:+.1%}"
    elif one.difference is not None:
        text += f", against the seed {one.difference:+.3g}"
    if one.low is not None and one.high is not None and one.low != one.high:
        text += f" [{one.low:+.3g}, {one.high:+.3g}]"
    return text if one.adjusted_p is None else f"{text}, p {one.adjusted_p:.3g}"


def _word(verdict: Verdict) -> str:
    return (verdict.word or "").replace("_", " ")

"""A lesson: what one change was meant to do, and what it was measured to do."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal, cast, get_args

from agent.core.noise import Noise
from agent.core.objectives import Objective
from agent.core.text import clean, one_line
from agent.genome import Genome, bare_name, diff, extract_code
from agent.memory.citations import cited_ids
from agent.memory.intention import read_intention
from agent.memory.kinds import MAX_LINES, kinds_changed
from agent.population.candidate import SEED_ID, Failure, Individual

Verdict = Literal["better", "worse", "mixed", "undecided", "within noise", "failed"]
"""In the words of `agent.core.noise`: `better`, `worse` and `mixed` (both, in different objectives) are likely real; `undecided`
could become so with more trainings; `failed`: not measured."""
WARNINGS: frozenset[Verdict] = frozenset({"worse", "failed"})
GAINS: frozenset[Verdict] = frozenset({"better", "mixed"})
_LABELS: Mapping[Verdict, str] = {
    "better": "better, likely real",
    "worse": "worse, likely real",
    "mixed": "better and worse, likely real",
}
_FORMER: Mapping[str, Verdict] = {"helped": "better", "hurt": "worse"}
"""What earlier versions called a verdict."""
_SOME = 0.6
"""In units of the noise: from here on, more trainings could make a difference stand out."""

GENERAL = "insight"
"""The operator of a lesson that is a general insight."""
CHANGE_LIMIT, REASON_LIMIT = 2_000, 200
"""Characters that are kept of a change, and of a failure's reason."""
SAME_PROGRAM = "the same program as"
"""How the reason of a lesson begins whose program was known already; then comes an id."""
_DEFINED = re.compile(r"^(?:async\s+def|def|class)\s+(\w+)", re.MULTILINE)
CUT_MARK = "[cut: "
"""The last line of a change that was cut begins with this, as no line of a diff does."""


@dataclass(frozen=True)
class Lesson:
    """What one candidate teaches, kept short. All text is clean of control characters, and hostile all the same."""

    id: str
    """The candidate's id; `insight-1` and so on for general insights, which belong to no candidate."""
    operator: str
    blocks: tuple[str, ...]
    kinds: tuple[str, ...]
    """What the changed lines are about: `Conv2d`, `SGD`, ..."""
    role: str | None
    directive: str | None
    model: str
    change: str
    """Unified diff against the first parent, cut at `CHANGE_LIMIT`; if the answer never parsed, the diff of the block that it
    had to rewrite. Empty if the answer held no code."""
    intention: str
    expected: str
    effects: Mapping[str, float] = field(hash=False)
    """The candidate's value minus its first parent's, by objective, in the objective's own unit; empty if not measured. If the
    parent is the seed, its mean over training seeds is used if that is known."""
    gains: Mapping[str, float] = field(hash=False)
    """The effects in units of the noise, positive for the better (see `Noise.gain`)."""
    verdict: Verdict
    reason: str = ""
    """For failures: the stage and why. Of changes that were put together: what was expected of them and what came."""
    insight: str = ""
    """Why a change works, in general terms, as a model stated it when Evolution of Thought asked for it."""
    shown: tuple[str, ...] = ()
    """Ids of the lessons that the candidate's prompt showed; empty if no model answered it."""
    against: int = 1
    """How many trainings the value is the mean of that the effects are counted from: several where the parent is the seed, or
    was trained again."""
    cited: tuple[str, ...] = ()
    """Ids of the earlier candidates, but its parents, and of the insights that its answer names."""
    trainings: int = 1
    """How many trainings the candidate's own value is the mean of."""

    @property
    def told(self) -> tuple[str, ...]:
        """Ids of the lessons that a model read for it: those that its prompt showed, and any other one that its answer names.

        None for a candidate that no model made.
        """
        return tuple(dict.fromkeys([*self.shown, *self.cited])) if self.model else ()

    @property
    def label(self) -> str:
        """The verdict as a text: its direction, and how sure it is."""
        if self.verdict == "undecided" and (signs := {gain > 0 for gain in self.gains.values() if gain}):
            word = "mixed" if len(signs) > 1 else "better" if signs == {True} else "worse"
            return f"{word} so far, undecided"
        return _LABELS.get(self.verdict, self.verdict)

    @property
    def repeats(self) -> bool:
        """Whether its program was known already."""
        return self.reason.startswith(SAME_PROGRAM)

    @property
    def is_about_program(self) -> bool:
        """Whether it is not about one block: several changed at once, or none is known. A general insight is about any block."""
        return len(self.blocks) != 1 and self.operator != GENERAL

    def __post_init__(self) -> None:
        object.__setattr__(self, "effects", MappingProxyType(dict(self.effects)))
        object.__setattr__(self, "gains", MappingProxyType(dict(self.gains)))


def lesson_of(
    outcome: Individual | Failure,
    parent: Individual,
    answer: str,
    shown: Iterable[str],
    objectives: Sequence[Objective],
    noise: Noise,
) -> Lesson:
    """The lesson of a measured or failed candidate.

    `parent`: the candidate's first parent. `answer`: the last answer, from which it was made or because of which it failed.
    """
    candidate = outcome.candidate
    last = candidate.recipes[-1] if candidate.recipes else None
    intention, expected = read_intention(answer)
    if isinstance(outcome, Individual):
        intention = intention or outcome.intention  # a candidate that no model made has an intention without an answer
    change, kinds = _change(outcome, parent.genome, answer)
    effects: dict[str, float] = {}
    against, trainings, reason = noise.trainings if parent.id == SEED_ID else parent.trainings, 1, ""
    if isinstance(outcome, Failure):
        reason = f"{outcome.stage}: {one_line(outcome.reason, REASON_LIMIT)}"
    else:
        reference = noise.mean_of_seed(parent.fitness) if parent.id == SEED_ID else parent.fitness
        effects = {o.name: outcome.fitness[o.name] - reference[o.name] for o in objectives}
        trainings = outcome.trainings
    return Lesson(
        id=outcome.id,
        operator=candidate.operator,
        blocks=candidate.about(outcome.changed),
        kinds=kinds,
        role=candidate.role,
        directive=candidate.directive,
        model=last.model if last else "",
        change=change,
        intention=intention,
        expected=expected,
        effects=effects,
        gains={o.name: noise.gain(o, effects[o.name], parent.fitness[o.name]) for o in objectives if effects},
        verdict="failed" if isinstance(outcome, Failure) else verdict(effects, objectives, noise, against, trainings),
        reason=reason,
        insight=intention if last and last.operator == "eot" else "",
        shown=tuple(dict.fromkeys(shown)) if answer else (),  # without an answer, nobody has read the prompt
        against=against,
        cited=tuple(id for id in cited_ids(answer, candidate.id) if id not in candidate.parents),
        trainings=trainings,
    )


def verdict(
    effects: Mapping[str, float], objectives: Sequence[Objective], noise: Noise, against: int = 1, trainings: int = 1
) -> Verdict:
    """The verdict on a change. `trainings`, `against`: how many the values after and before the change are means of."""
    words = {o: noise.judge(o, effects[o.name], trainings=trainings, against=against).word for o in objectives}
    certain = [o for o in objectives if words[o] == "likely real"]
    better = [o for o in certain if o.better(effects[o.name], 0)]
    if not certain:
        return "undecided" if "undecided" in words.values() else "within noise"
    return "worse" if not better else "better" if len(better) == len(certain) else "mixed"


def verdict_named(name: str, gains: Mapping[str, float]) -> Verdict:
    """A verdict as a journal has it, in today's words. `gains`: of the lesson, in units of the noise.

    Raises ValueError for a word that never was a verdict.
    """
    if name == "neutral":
        return "undecided" if any(abs(gain) >= _SOME for gain in gains.values()) else "within noise"
    verdict = _FORMER.get(name, name)
    if verdict not in get_args(Verdict):
        raise ValueError(f"no verdict: {name!r}")
    return cast(Verdict, verdict)


def _change(outcome: Individual | Failure, old: Genome, answer: str) -> tuple[str, tuple[str, ...]]:
    """The diff, cut to its limit, and the kinds on its lines."""
    candidate, new = outcome.candidate, outcome.genome
    if new is not None:
        before, after = ({block.name: block.source for block in genome.all_blocks} for genome in (old, new))
        pairs = [(before.get(name, ""), after[name]) for name in candidate.about(outcome.changed) if name in after]
        text = diff(old, new) if _comparable([*old.files.values(), *new.files.values()]) else ""
    else:
        # The answer's code against the blocks that it rewrites: enough to see what was tried.
        names = {bare_name(name) for name in (candidate.recipes[-1].blocks if candidate.recipes else ())}
        code = extract_code(answer, sorted(names))
        names |= set(_DEFINED.findall(code)) if isinstance(code, str) and not names else set()
        source = "".join(b.source for b in old.all_blocks if bare_name(b.name) in names)
        pairs = [(source, code)] if isinstance(code, str) else []
        text = "".join(_block_diff(*pair) for pair in pairs if _comparable(pair))
    return _shortened(text), tuple(dict.fromkeys(kind for pair in pairs for kind in kinds_changed(*pair)))


def _comparable(texts: Iterable[str]) -> bool:
    return all(text.count("\n") <= MAX_LINES for text in texts)


def _block_diff(old: str, new: str) -> str:
    lines = difflib.unified_diff(old.splitlines(), new.splitlines(), "a/block", "b/block", lineterm="")
    return "".join(f"{line}\n" for line in lines)


def _shortened(text: str) -> str:
    """The whole lines that fit into `CHANGE_LIMIT`, and how much was left out."""
    if len(text) <= CHANGE_LIMIT:
        return clean(text)
    kept = text[: CHANGE_LIMIT - 60]
    kept = kept[: kept.rfind("\n") + 1] or f"{kept}\n"
    return f"{clean(kept)}{CUT_MARK}{len(text) - len(kept):,} more characters]\n"

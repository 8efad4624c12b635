"""A lesson: what one change was meant to do, and what it was measured to do."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

from agent.core.noise import Noise
from agent.core.objectives import Objective
from agent.core.text import clean, one_line
from agent.genome import Genome, bare_name, diff, extract_code
from agent.memory.intention import read_intention
from agent.memory.kinds import MAX_LINES, kinds_changed
from agent.population.candidate import SEED_ID, Failure, Individual

Verdict = Literal["helped", "hurt", "mixed", "neutral", "failed"]
"""Better, worse, both (in different objectives) or neither, each beyond the noise; `failed`: not measured."""

CHANGE_LIMIT, REASON_LIMIT = 2_000, 200
"""Characters that are kept of a change, and of a failure's reason."""
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
    """For failures: the stage and why."""
    insight: str = ""
    """Why a change works, in general terms, as a model stated it when Evolution of Thought asked for it."""
    shown: tuple[str, ...] = ()
    """Ids of the lessons that the candidate's prompt showed."""
    against: int = 1
    """How many trainings the value is the mean of that the effects are counted from: several where the parent
    is the seed, or was trained again."""

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
    against, reason = noise.trainings if parent.id == SEED_ID else parent.trainings, ""
    if isinstance(outcome, Failure):
        reason = f"{outcome.stage}: {one_line(outcome.reason, REASON_LIMIT)}"
    else:
        reference = noise.mean_of_seed(parent.fitness) if parent.id == SEED_ID else parent.fitness
        effects = {o.name: outcome.fitness[o.name] - reference[o.name] for o in objectives}
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
        verdict="failed" if isinstance(outcome, Failure) else verdict(effects, objectives, noise, against, outcome.trainings),
        reason=reason,
        insight=intention if last and last.operator == "eot" else "",
        shown=tuple(dict.fromkeys(shown)),
        against=against,
    )


def verdict(
    effects: Mapping[str, float], objectives: Sequence[Objective], noise: Noise, against: int = 1, trainings: int = 1
) -> Verdict:
    """The verdict on a change. `trainings`, `against`: how many the values after and before the change are means of."""
    certain = [o for o in objectives if noise.is_real(o, effects[o.name], trainings=trainings, against=against)]
    better = [o for o in certain if o.better(effects[o.name], 0)]
    if not certain:
        return "neutral"
    return "hurt" if not better else "helped" if len(better) == len(certain) else "mixed"


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

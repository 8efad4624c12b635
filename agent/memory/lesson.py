"""A lesson: what one change was meant to do, and what it was measured to do."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

from agent.core.objectives import Noise, Objective
from agent.core.text import clean
from agent.genome import Genome, diff, extract_code
from agent.memory.answer import intention, one_line
from agent.memory.kinds import MAX_LINES, kinds_changed
from agent.population.candidate import SEED_ID, Failure, Individual

Verdict = Literal["helped", "hurt", "mixed", "neutral", "failed"]
"""Beyond the noise: better, worse, both (in different objectives), neither; `failed`: not measured at all."""

CHANGE_LIMIT = 2_000
"""Characters of a change that are kept."""
REASON_LIMIT = 200
_DEFINED = re.compile(r"^(?:async\s+def|def|class)\s+(\w+)", re.MULTILINE)
CUT = "[cut: "
"""Begins the last line of a change that was cut. No line of a diff begins so."""


@dataclass(frozen=True)
class Lesson:
    """What a child teaches, kept short. All text is clean of control characters, and hostile all the same."""

    id: str
    """The child's; `insight-1` and so on for general insights, which no child brought."""
    operator: str
    blocks: tuple[str, ...]
    kinds: tuple[str, ...]
    """What the changed lines are about: `Conv2d`, `SGD`, ..."""
    role: str | None
    directive: str | None
    model: str
    change: str
    """Unified diff against the first parent, cut at `CHANGE_LIMIT`; of a child that never parsed, its rewritten block's.
    Empty if the answer held none."""
    intention: str
    expected: str
    effects: Mapping[str, float] = field(hash=False)
    """Child minus first parent, by objective, in the objective's own unit; empty if not measured. The seed as parent counts
    with its mean over training seeds, where that is known."""
    gains: Mapping[str, float] = field(hash=False)
    """The same in units of the noise, positive for the better (see `Noise.gain`)."""
    verdict: Verdict
    reason: str = ""
    """Failures: the stage and why."""
    insight: str = ""
    """Why a change works, in general terms, as a model said it: Evolution of Thought asks for it."""
    shown: tuple[str, ...] = ()
    """Ids of the lessons that the child's prompt told."""

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
    """`parent`: the child's first one. `answer`: the last one that the child was made of, or failed by."""
    candidate = outcome.candidate
    last = candidate.recipes[-1] if candidate.recipes else None
    said, expected = intention(answer)
    if isinstance(outcome, Individual):
        said = said or outcome.intention  # what no model made says it without an answer
    change, kinds = _change(outcome, parent.genome, answer)
    effects: dict[str, float] = {}
    reason = ""
    if isinstance(outcome, Failure):
        reason = f"{outcome.stage}: {one_line(outcome.reason, REASON_LIMIT)}"
    else:
        before = noise.usual(parent.fitness) if parent.id == SEED_ID else parent.fitness
        effects = {o.name: outcome.fitness[o.name] - before[o.name] for o in objectives}
    return Lesson(
        id=outcome.id,
        operator=candidate.operator,
        blocks=candidate.about(outcome.changed),
        kinds=kinds,
        role=candidate.role,
        directive=candidate.directive,
        model=last.model if last else "",
        change=change,
        intention=said,
        expected=expected,
        effects=effects,
        gains={o.name: noise.gain(o, effects[o.name]) for o in objectives if effects},
        verdict="failed" if isinstance(outcome, Failure) else verdict(effects, objectives, noise),
        reason=reason,
        insight=said if last and last.operator == "eot" else "",
        shown=tuple(dict.fromkeys(shown)),
    )


def verdict(effects: Mapping[str, float], objectives: Sequence[Objective], noise: Noise) -> Verdict:
    """Of a measured change."""
    certain = [o for o in objectives if not noise.within(o, effects[o.name])]
    better = [o for o in certain if o.better(effects[o.name], 0)]
    if not certain:
        return "neutral"
    return "hurt" if not better else "helped" if len(better) == len(certain) else "mixed"


def _change(outcome: Individual | Failure, old: Genome, answer: str) -> tuple[str, tuple[str, ...]]:
    """The bounded diff, and the kinds that it is about."""
    candidate, new = outcome.candidate, outcome.genome
    if new is not None:
        before, after = ({block.name: block.source for block in genome.all_blocks} for genome in (old, new))
        pairs = [(before.get(name, ""), after[name]) for name in candidate.about(outcome.changed) if name in after]
        text = diff(old, new) if _comparable([*old.files.values(), *new.files.values()]) else ""
    else:
        # The blocks as the answer has them, with what stands beside them: enough to say what was tried.
        names = {name.rpartition(":")[2] for name in (candidate.recipes[-1].blocks if candidate.recipes else ())}
        code = extract_code(answer, sorted(names))
        names |= set(_DEFINED.findall(code)) if isinstance(code, str) and not names else set()
        source = "".join(b.source for b in old.all_blocks if b.name.rpartition(":")[2] in names)
        pairs = [(source, code)] if isinstance(code, str) else []
        text = "".join(_block_diff(*pair) for pair in pairs if _comparable(pair))
    return _bounded(text), tuple(dict.fromkeys(kind for pair in pairs for kind in kinds_changed(*pair)))


def _comparable(texts: Iterable[str]) -> bool:
    return all(text.count("\n") <= MAX_LINES for text in texts)


def _block_diff(old: str, new: str) -> str:
    lines = difflib.unified_diff(old.splitlines(), new.splitlines(), "a/block", "b/block", lineterm="")
    return "".join(f"{line}\n" for line in lines)


def _bounded(text: str) -> str:
    """Whole lines as far as they fit, and how much was left out."""
    if len(text) <= CHANGE_LIMIT:
        return clean(text)
    kept = text[: CHANGE_LIMIT - 60]
    kept = kept[: kept.rfind("\n") + 1] or f"{kept}\n"
    return f"{clean(kept)}{CUT}{len(text) - len(kept):,} more characters]\n"

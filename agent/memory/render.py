"""A lesson as text for a prompt: a few lines of Markdown, all hostile text in code spans."""

from __future__ import annotations

import math
from collections.abc import Sequence

from agent.core.noise import STEP, Noise, Word, amount
from agent.core.objectives import Objective
from agent.core.text import quote
from agent.memory.lesson import CUT_MARK, Lesson, Verdict
from agent.memory.similarity import changed_lines
from agent.operators import OPERATORS, noun

REAL_WORD: Word = "likely real"
REAL: frozenset[Verdict] = frozenset({"better", "worse", "mixed"})
"""Verdicts of which at least one objective is likely real."""
INTENTION_LIMIT, EXPECTED_LIMIT, NAME_LIMIT = 240, 120, 40
"""Characters that are shown of an intention or insight, of an expected effect, and of an id or a name."""
CHANGE_LIMIT, NEW_LIMIT, LINE_LIMIT = 480, 360, 110
"""Characters that are shown of a change's lines together, of those that came alone, and of one line."""
MAX_BLOCKS, MAX_KINDS = 3, 4
"""Names that are shown."""
LEAST_SHARE, MOST_PERCENT = 0.0005, 10
"""A change by a smaller share is told as a count, a value so many times as large without a percentage."""


def render(
    lesson: Lesson, objectives: Sequence[Objective], noise: Noise, *, code_shown: bool = False, brief: bool = False
) -> str:
    """Two to four lines, a Markdown list item: the verdict with its numbers, why, what was expected, what was changed.

    Percentages are shares of the parent's value, for quantities that have no noise. `code_shown`: whether the prompt shows
    the changed code anyway, so that the change need not be repeated. `brief`: whether it tells the candidate's row and shows
    its parent's code, so that the id, the verdict and the lines that came are enough.
    """
    if brief and _is_measured(lesson):
        why = lesson.insight or lesson.intention
        verdict = f"{quote(lesson.id, NAME_LIMIT)}, {_verdict(lesson, objectives, noise)}, {_outcome(lesson, objectives, noise)}"
        lines = [f"- {verdict}: {quote(why, INTENTION_LIMIT) if why else 'no intention was stated'}"]
    else:
        lines = [f"- {_verdict(lesson, objectives, noise)}: {_outcome(lesson, objectives, noise)} ({_origin(lesson)})"]
        if lesson.insight:
            lines.append(f"Insight: {quote(lesson.insight, INTENTION_LIMIT)}")
        elif lesson.intention:
            lines.append(f"Intention: {quote(lesson.intention, INTENTION_LIMIT)}")
    if not brief and lesson.effects and lesson.expected.strip(". ").lower() not in ("", "unknown"):
        lines.append(f"Expected: {quote(lesson.expected, EXPECTED_LIMIT)}")
    if code_shown and lesson.change:
        lines.append("Change: in the code shown")
    elif change := _change(lesson.change, only_new=brief):
        lines.append(f"Change: {change}")
    elif len(lines) == 1:
        lines.append("Change: not known")
    return "\n  ".join(lines)


def _is_measured(lesson: Lesson) -> bool:
    """Whether it is of one candidate that was trained: a failure's reason and a general insight's numbers stand nowhere else."""
    return bool(lesson.effects) and not lesson.reason and lesson.operator.partition("+")[0] in OPERATORS


def _verdict(lesson: Lesson, objectives: Sequence[Objective], noise: Noise) -> str:
    """The lesson's label; where there are several objectives, with those that decide it: `better on parameters, likely real`."""
    if len(objectives) < 2 or lesson.verdict not in REAL:
        return lesson.label
    certain = [o for o in objectives if _word(o, lesson, noise) == REAL_WORD]
    better = [o.name for o in certain if o.better(lesson.effects[o.name], 0)]
    worse = [o.name for o in certain if o.name not in better]
    told = [f"{word} on {' and '.join(names)}" for word, names in (("better", better), ("worse", worse)) if names]
    return f"{', '.join(told)}, {REAL_WORD}" if told else lesson.label


def _word(objective: Objective, lesson: Lesson, noise: Noise) -> str:
    change = lesson.effects[objective.name]
    return noise.judge(objective, change, trainings=lesson.trainings, against=lesson.against).word


def _outcome(lesson: Lesson, objectives: Sequence[Objective], noise: Noise) -> str:
    if not lesson.effects:
        return quote(lesson.reason) if lesson.reason else "not measured"
    text = ", ".join(f"{o.name} {_effect(o, lesson, noise)}" for o in objectives)
    return f"{text}; {quote(lesson.reason)}" if lesson.reason else text


def _effect(objective: Objective, lesson: Lesson, noise: Noise) -> str:
    """Where there is noise, also in the objective's own unit, in which expectations are stated: `+0.065 (+4.2 sigma)`."""
    change = lesson.effects[objective.name]
    if not change or noise.sigma[objective.name]:
        text = amount(objective, change, noise)
        return f"{change:+.2g} ({text}, {_word(objective, lesson, noise)})" if change else text
    return _share(objective, lesson.gains[objective.name]) or f"{change:+.4g}"


def _share(objective: Objective, gain: float) -> str:
    """A gain in steps of 10 % (see `Noise.gain`) as a share of what the parent had: `-25.9%`, `12.0 times`; empty if tiny."""
    factor = math.exp((gain if objective.direction == "max" else -gain) * STEP)
    if abs(factor - 1) < LEAST_SHARE:
        return ""
    return f"{factor - 1:+.1%}" if factor < MOST_PERCENT else f"{factor:.1f} times"


def _origin(lesson: Lesson) -> str:
    """The operator, the blocks and the kinds of layers: `0007`, mutation "reduce size" of `SE`, about `Linear`."""
    actions = " and ".join(noun(name) for name in lesson.operator.split("+"))
    directive = f' "{lesson.directive.replace("_", " ")}"' if lesson.directive else ""
    blocks = ", ".join(quote(name, NAME_LIMIT) for name in lesson.blocks[:MAX_BLOCKS])
    kinds = ", ".join(quote(name, NAME_LIMIT) for name in lesson.kinds[:MAX_KINDS])
    text = f"{quote(lesson.id, NAME_LIMIT)}, {actions}{directive}"
    return text + (f" of {blocks}" if blocks else "") + (f", about {kinds}" if kinds else "")


def _change(change: str, *, only_new: bool = False) -> str:
    """The removed and added lines, each a code span, as many as fit; then how many more there are.

    Replacements come first, then purely new code: a changed call tells more than the new helper that it calls. `only_new`:
    leaves the removed lines out, if any came.
    """
    lines = _replacements_first(change)
    if only_new:
        lines = [line for line in lines if line[0] == "+"] or lines
    spans: list[str] = []
    room = NEW_LIMIT if only_new else CHANGE_LIMIT
    for line in lines:
        span = quote(line, LINE_LIMIT)
        if len(span) > room:
            break
        spans.append(span)
        room -= len(span) + 1
    rest = len(lines) - len(spans)
    cut = CUT_MARK in change
    if rest or cut:
        more = max(rest, 1)
        spans.append(f"and {'at least ' if cut else ''}{more:,} more line{'s' if more > 1 else ''}")
    return " ".join(spans)


def _replacements_first(change: str) -> list[str]:
    """The removed and added lines in hunks as the diff has them: hunks that remove something, then those that only add.

    Comments are left out, unless there is nothing else.
    """
    hunks: list[list[str]] = [[]]
    for line in change.split("\n"):
        if line[:1] in ("-", "+") or not line:
            hunks[-1].append(line)
        elif hunks[-1]:
            hunks.append([])
    code = [[line for line in changed_lines("\n".join(hunk)) if not _is_comment(line[1:].strip())] for hunk in hunks]
    ranked = sorted(code, key=lambda hunk: all(line[0] == "+" for line in hunk))
    return [line for hunk in ranked for line in hunk] or changed_lines(change)


def _is_comment(line: str) -> bool:
    """Whether the line is a comment or a docstring of one line: it repeats the intention."""
    return line.startswith("#") or (line.startswith('"""') and line.endswith('"""') and len(line) >= 6)

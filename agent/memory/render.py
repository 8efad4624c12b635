"""A lesson in the words of a prompt: a few lines of Markdown, all foreign text in code spans."""

from __future__ import annotations

from collections.abc import Sequence

from agent.core.objectives import Noise, Objective, amount
from agent.core.text import quote
from agent.memory.lesson import CUT, Lesson
from agent.memory.similarity import change_lines

SAID_LIMIT = 240
EXPECTED_LIMIT = 120
CHANGE_SHOWN = 480
"""Characters of a change's lines that are shown."""
LINE_LIMIT = 110
_DEEDS = {
    "mutate": "mutation",
    "mate": "mating",
    "eot": "Evolution of Thought",
    "rewrite": "rewriting",
    "splice": "splicing",
    "insight": "insight",
}


def render(lesson: Lesson, objectives: Sequence[Objective], noise: Noise, *, seen: bool = False) -> str:
    """Two to four lines, a Markdown list item: the verdict with its numbers, why, what was expected, what was changed.

    Percentages are shares of the seed's value, for quantities that have no noise. `seen`: the reader has the code before it.
    """
    lines = [f"- {lesson.verdict}: {_outcome(lesson, objectives, noise)} ({_deed(lesson)})"]
    if lesson.insight:
        lines.append(f"Insight: {quote(lesson.insight, SAID_LIMIT)}")
    elif lesson.intention:
        lines.append(f"Intention: {quote(lesson.intention, SAID_LIMIT)}")
    if lesson.effects and lesson.expected.strip(". ").lower() not in ("", "unknown"):
        lines.append(f"Expected: {quote(lesson.expected, EXPECTED_LIMIT)}")
    if seen and lesson.change:
        lines.append("Change: in the code below")
    elif change := _spans(lesson.change):
        lines.append(f"Change: {change}")
    elif len(lines) == 1:
        lines.append("Change: not known")
    return "\n  ".join(lines)


def _outcome(lesson: Lesson, objectives: Sequence[Objective], noise: Noise) -> str:
    if not lesson.effects:
        return quote(lesson.reason) if lesson.reason else "not measured"
    told = ", ".join(f"{o.name} {_effect(o, lesson.effects[o.name], noise)}" for o in objectives)
    return f"{told}; {quote(lesson.reason)}" if lesson.reason else told


def _effect(objective: Objective, change: float, noise: Noise) -> str:
    """Where there is noise, in the unit that expectations are stated in as well: `+0.065 (+4.2 sigma)`."""
    told = amount(objective, change, noise)
    return f"{change:+.2g} ({told})" if change and noise.sigma[objective.name] else told


def _deed(lesson: Lesson) -> str:
    """What was done, to which blocks, about what: `mutation "reduce size" of `SE`, about `Linear`; `0007``."""
    deed = " and ".join(_DEEDS.get(part, part) for part in lesson.operator.split("+"))
    wanted = f' "{lesson.directive.replace("_", " ")}"' if lesson.directive else ""
    blocks = ", ".join(quote(name, 40) for name in lesson.blocks[:3])
    kinds = ", ".join(quote(name, 40) for name in lesson.kinds[:4])
    return f"{quote(lesson.id, 40)}, {deed}{wanted}" + (f" of {blocks}" if blocks else "") + (f", about {kinds}" if kinds else "")


def _spans(change: str) -> str:
    """The lines that went and came, each a code span, as many as fit; then how many more there are.

    What takes the place of something comes first, and new helpers after it: the call says more than what is called.
    """
    lines = _by_weight(change)
    spans: list[str] = []
    room = CHANGE_SHOWN
    for line in lines:
        span = quote(line, LINE_LIMIT)
        if len(span) > room:
            break
        spans.append(span)
        room -= len(span) + 1
    rest = len(lines) - len(spans)
    cut = CUT in change
    if rest or cut:
        more = max(rest, 1)
        spans.append(f"and {'at least ' if cut else ''}{more:,} more line{'s' if more > 1 else ''}")
    return " ".join(spans)


def _by_weight(change: str) -> list[str]:
    """The lines that went or came, in runs as the diff has them: runs in which something went, then those of new lines."""
    runs: list[list[str]] = [[]]
    for line in change.split("\n"):
        if line[:1] in ("-", "+") or not line:
            runs[-1].append(line)
        elif runs[-1]:
            runs.append([])
    told = [[line for line in change_lines("\n".join(run)) if not _says_only(line[1:].strip())] for run in runs]
    ranked = sorted(told, key=lambda run: all(line[0] == "+" for line in run))
    return [line for run in ranked for line in run] or change_lines(change)


def _says_only(line: str) -> bool:
    """A comment, or a docstring in one line: it repeats the intention."""
    return line.startswith("#") or (line.startswith('"""') and line.endswith('"""') and len(line) >= 6)

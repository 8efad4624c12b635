"""Which lessons a prompt should show: those about the same things, the most relevant first, as many as fit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from agent.memory.credit import LessonCredit
from agent.memory.lesson import Lesson
from agent.memory.similarity import nearly_same

SEPARATOR = "\n\n"
"""Between two lessons of a prompt."""
SAME_BLOCK, SAME_KIND, SAME_DIRECTIVE, UNRELATED = 4.0, 2.0, 1.0, 0.5
"""How relevant a lesson is. Powers of two: a closer relation outweighs all weaker ones together."""

Topic = tuple[str, str, bool]
"""What lessons have in common: a block, a kind, a directive or nothing; its name; whether they warn (hurt or failed)."""


@dataclass(slots=True)
class Verdicts:
    """The verdicts on all candidates that made the same change."""

    counts: Counter[str] = field(default_factory=Counter)
    total: int = 0

    def add(self, verdict: str) -> None:
        self.counts[verdict] += 1
        self.total += 1


@dataclass(slots=True, eq=False)
class Entry:
    """A lesson in the memory."""

    lesson: Lesson
    order: int
    """Its number in the order in which lessons were learnt."""
    text: str
    """As a prompt shows it."""
    words: frozenset[str]
    """See `changed_words`."""
    evidence: float
    """How strong its evidence is, in units of the noise."""
    credit: LessonCredit
    verdicts: Verdicts
    """On the same change, including this lesson's own."""
    replaced: bool = False
    """Whether a general insight replaced it."""

    @property
    def gone(self) -> bool:
        """Whether it is no longer recalled."""
        return self.replaced or self.credit.dead


def topics_of(blocks: Iterable[str], kinds: Iterable[str], directive: str | None, warns: bool) -> list[Topic]:
    """The topics that a lesson is filed under, or that a recall looks up; the last one has every lesson, related or not."""
    directives = [("directive", directive)] if directive else []
    names = [*(("block", name) for name in blocks), *(("kind", name) for name in kinds), *directives, ("any", "")]
    return [(topic, name, warns) for topic, name in names]


def relevance(lesson: Lesson, blocks: frozenset[str], kinds: frozenset[str], directive: str | None) -> float:
    """How closely the lesson is related to a prompt about these blocks and kinds with this directive."""
    same_directive = directive is not None and lesson.directive == directive
    related = SAME_BLOCK * (not blocks.isdisjoint(lesson.blocks)) + SAME_KIND * (not kinds.isdisjoint(lesson.kinds))
    return related + SAME_DIRECTIVE * same_directive or UNRELATED


def choose(good: Sequence[Entry], bad: Sequence[Entry], budget: int) -> list[Entry]:
    """The best of both in turn (good, bad, good, good, bad, good, and so on), up to `budget` characters.

    Entries that do not fit, or whose change is nearly the same as one chosen before, are skipped.
    """
    queues = {False: iter(good), True: iter(bad)}
    chosen: list[Entry] = []
    left = budget
    shortest = min((len(entry.text) for entry in (*good, *bad)), default=0)
    while queues and left >= shortest:
        warns = len(chosen) % 3 == 1
        side = warns if warns in queues else not warns
        entry = next(queues[side], None)
        if entry is None:
            del queues[side]
            continue
        cost = len(entry.text) + (len(SEPARATOR) if chosen else 0)
        if cost <= left and not any(nearly_same(entry.words, other.words) for other in chosen):
            chosen.append(entry)
            left -= cost
    return chosen

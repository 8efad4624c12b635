"""Which lessons a prompt tells, and how much of each: what is known of its blocks first, then of the same kind of change."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from agent.memory.credit import LessonCredit
from agent.memory.lesson import WARNINGS, Lesson
from agent.memory.similarity import nearly_same

SEPARATOR = "\n\n"
"""Between two lessons of a prompt."""
NEWEST = 8
"""So many of the newest lessons about a prompt's blocks are told in any case, if only in one line each."""
STRONGEST = 2
"""So many of the strongest older ones too, and of the strongest about something else."""
UNTOLD = 2
"""So many lessons that no prompt has told yet, of what else is relevant."""

Topic = tuple[str, str]
"""What lessons have in common: a `block`, `kind` or `directive` and its name; `program` has those about several blocks, `any` the
others."""


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
    def warns(self) -> bool:
        return self.lesson.verdict in WARNINGS

    @property
    def gain(self) -> float:
        """The sum of its gains; a failure is below all of them."""
        return sum(self.lesson.gains.values()) if self.lesson.gains else float("-inf")


def topics_of(lesson: Lesson) -> list[Topic]:
    """The topics that a lesson is filed under."""
    directives = [("directive", lesson.directive)] if lesson.directive else []
    names = [("block", name) for name in lesson.blocks] + [("kind", name) for name in lesson.kinds]
    return [*names, *directives, ("program", "") if lesson.is_about_program else ("any", "")]


@dataclass(frozen=True)
class Relevant:
    """The lessons that a prompt might tell, by how close they are to it."""

    same: Sequence[Entry]
    """About its blocks, of any age."""
    farther: Sequence[Sequence[Entry]] = ()
    """The others in groups, the closest first: about the same kinds of layers, after the same directive, about anything else."""
    by_gain: bool = False
    """Whether those about the same come by their gains, else by merit."""

    def ordered(self, merit: Callable[[Entry], float]) -> tuple[list[Entry], int]:
        """In the order in which a prompt needs them; how many at the head are told in any case.

        `merit`: how much a lesson deserves to be told, by its evidence and by what it brought its readers.
        """

        def best_first(entries: Iterable[Entry]) -> list[Entry]:
            return sorted(entries, key=lambda entry: (-merit(entry), -entry.order))

        newest = sorted(self.same, key=lambda entry: -entry.order)[:NEWEST]
        older = best_first(set(self.same).difference(newest))
        certain = best_first([*newest, *older[:STRONGEST]])
        if self.by_gain:
            certain.sort(key=lambda entry: -entry.gain)
        alive = [e for group in self.farther for e in best_first(group) if not e.credit.dead]
        untold = sorted((e for e in alive if not e.credit.readers), key=lambda e: (-e.evidence, e.order))[:UNTOLD]
        picked = {*untold, *best_first(entry for entry in alive if entry not in untold)[:STRONGEST]}
        certain += [entry for entry in alive if entry in picked]
        return [*certain, *older[STRONGEST:], *(entry for entry in alive if entry not in picked)], len(certain)


def choose(ordered: Sequence[Entry], certain: int, budget: int) -> list[Entry]:
    """The entries that a prompt tells in `budget` characters.

    The first `certain` ones are told in one line at least, in their order; of the others those for which there is room when all
    that is told is told in full. Entries whose change is nearly the same as one chosen before are skipped.
    """
    chosen: list[Entry] = []
    in_lines = in_full = 0
    for number, entry in enumerate(ordered):
        gap = len(SEPARATOR) if chosen else 0
        line, full = len(forms(entry.text)[-1]) + gap, len(entry.text) + gap
        fits = in_lines + line <= budget if number < certain else in_full + full <= budget
        if fits and not any(nearly_same(entry.words, other.words) for other in chosen):
            chosen.append(entry)
            in_lines, in_full = in_lines + line, in_full + full
    return chosen


def fit(texts: Mapping[str, str], budget: int) -> dict[str, str]:
    """As much of each text as `budget` characters allow: one line of each, then more of the first ones.

    Texts whose first lines do not fit are left out.
    """
    told: dict[str, str] = {}
    left = budget
    for id, text in texts.items():
        line = forms(text)[-1]
        gap = len(SEPARATOR) if told else 0
        if len(line) + gap <= left:
            told[id] = line
            left -= len(line) + gap
    for id, line in told.items():
        for form in forms(texts[id]):
            if len(form) - len(line) <= left:
                told[id] = form
                left -= len(form) - len(line)
                break
    return told


def forms(text: str) -> tuple[str, str, str]:
    """A lesson's text in full, with its intention alone, and its first line: the verdict with the numbers."""
    lines = text.split("\n")
    return text, "\n".join(lines[:2]), lines[0]

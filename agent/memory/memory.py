"""The memory of a run: keeps every lesson, recalls those that a prompt should show, and credits those that were shown."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import exp2, log2

from agent.core.noise import Noise
from agent.core.objectives import Objective
from agent.core.text import one_line
from agent.memory.credit import STRONG, CreditLedger, LessonCredit, clip
from agent.memory.lesson import Lesson, verdict
from agent.memory.recall import Entry, Topic, Verdicts, choose, relevance, topics_of
from agent.memory.render import render
from agent.memory.similarity import changed_words
from agent.operators import OPERATORS, ModelFreeOperator

MAX_EVIDENCE = 5.0
"""In units of the noise: a larger change is no better evidence."""
NEUTRAL_EVIDENCE, FAILED_EVIDENCE = 0.25, 1.0
LESSONS_PER_TOPIC = 32
"""Lessons that each topic keeps; it is pruned when it has twice as many."""
NEWEST = 8
"""How many of these are kept only because they are the newest."""
MAX_KINDS = 12
"""Kinds that a recall looks for."""

GENERAL = "insight"
"""The operator of a lesson that is a general insight."""
GENERAL_LIMIT = 300
"""Characters of a general insight."""


@dataclass(frozen=True)
class LessonStanding:
    """What a lesson is worth to its readers."""

    lesson: Lesson
    credit: float
    readers: int
    """Candidates whose prompts showed it."""
    status: str
    """`alive`, `dead` (its readers lost too often), or the id of the general insight that replaced it."""


class Memory:
    """Grows by `learn` and `generalise`; reading changes nothing. Not thread-safe."""

    def __init__(self, objectives: Sequence[Objective], noise: Noise) -> None:
        self._objectives, self._noise = tuple(objectives), noise
        self._entries: dict[str, Entry] = {}
        self._successors: dict[str, str] = {}
        """The ids of replaced lessons, each with the id of the general insight that replaced it."""
        self._topics: defaultdict[Topic, list[Entry]] = defaultdict(list)
        self._verdicts: defaultdict[frozenset[str], Verdicts] = defaultdict(Verdicts)
        self._proven: dict[Entry, None] = {}
        """Insights that were strong once; their credit may have faded since then."""
        self._ledger = CreditLedger()
        self._general_count = 0

    def __len__(self) -> int:
        return len(self._entries)

    def __getitem__(self, id: str) -> Lesson:
        return self._entries[id].lesson

    def learn(self, lesson: Lesson) -> None:
        """Keep the lesson, and credit the lessons that its candidate was shown. A known lesson changes nothing."""
        if lesson.id in self._entries:
            return
        shown = dict.fromkeys(self._entry(id) for id in lesson.shown if id in self._entries)
        self._ledger.count(lesson, [entry.credit for entry in shown])
        proven = [e for e in shown if e.credit.value >= STRONG and e.lesson.insight and e.lesson.operator != GENERAL]
        self._proven |= dict.fromkeys(proven)
        self._add(lesson, self._ledger.open())

    def recall(self, blocks: Iterable[str], kinds: Iterable[str], directive: str | None, budget: int) -> tuple[Lesson, ...]:
        """The lessons that a prompt about these blocks should show, best first; rendered, they take at most `budget` characters.

        `kinds`: those in the blocks to be rewritten (see `kinds_in`). The second of every three lessons is one that hurt
        or failed, as long as there are lessons of both sorts.
        """
        blocks, kinds = tuple(blocks), tuple(dict.fromkeys(kinds))[:MAX_KINDS]
        wanted = frozenset(blocks), frozenset(kinds), directive
        good, bad = (self._ranked(topics_of(blocks, kinds, directive, warns), *wanted) for warns in (False, True))
        return tuple(entry.lesson for entry in choose(good, bad, budget))

    def _ranked(
        self, wanted: Iterable[Topic], blocks: frozenset[str], kinds: frozenset[str], directive: str | None
    ) -> list[Entry]:
        """The lessons of these topics, best first."""
        found: set[Entry] = set()
        for topic in wanted:
            found.update(self._topics.get(topic, ()))
        ranked = [(-relevance(e.lesson, blocks, kinds, directive) * self._merit(e), -e.order, e) for e in found if not e.gone]
        ranked.sort()  # no two entries have the same order, so that entries are never compared
        return [entry for _, _, entry in ranked]

    def measure_by(self, noise: Noise) -> None:
        """Judge by this noise from now on: it gets better known during a run."""
        self._noise = noise

    def render(self, lesson: Lesson, *, code_shown: bool = False) -> str:
        """The lesson as a Markdown list item. `code_shown`: whether the prompt shows the lesson's code anyway."""
        known = self._entries.get(lesson.id)
        if known is not None and known.lesson is lesson and not code_shown:
            return known.text
        return render(lesson, self._objectives, self._noise, code_shown=code_shown)

    def credit(self, id: str) -> float:
        """How the lesson's readers did against the average candidate, in units of the noise; it fades with time.

        A lesson that a general insight replaced has the credit of that insight. Raises KeyError for an unknown id.
        """
        return self._ledger.current(self._entry(id).credit)

    def standings(self) -> list[LessonStanding]:
        """All lessons, those with the most credit first."""
        standings = []
        for id, entry in self._entries.items():
            status = self._successors.get(id) or ("dead" if entry.credit.dead else "alive")
            standings.append(LessonStanding(entry.lesson, self._ledger.current(entry.credit), entry.credit.readers, status))
        return sorted(standings, key=lambda s: -s.credit)

    def strong_insights(self) -> tuple[Lesson, ...]:
        """Insights that proved themselves and are worth a shorter, more general form, strongest first."""
        insights = [e for e in self._proven if not e.gone]
        ranked = sorted((-self._ledger.current(e.credit), e.order, e.lesson) for e in insights)
        return tuple(lesson for credit, _, lesson in ranked if -credit >= STRONG)

    def generalise(self, ids: Iterable[str], text: str) -> Lesson:
        """Replace several lessons by one general insight, with their summed credit and their mean effects.

        The replaced lessons are recalled no more, and the results of candidates that were shown one of them are credited to
        the insight. Raises KeyError for an unknown id, ValueError if there is no id or no text.
        """
        sources = list(dict.fromkeys(self._entry(id) for id in ids))
        insight = one_line(text, GENERAL_LIMIT)
        if not sources or not insight:
            raise ValueError("a general insight needs sources and a text")
        self._general_count += 1
        general = self._general(f"{GENERAL}-{self._general_count}", insight, [source.lesson for source in sources])
        credit = sum(self._ledger.current(source.credit) for source in sources)
        self._add(general, self._ledger.open(credit, sum(source.credit.readers for source in sources)))
        for source in sources:
            source.replaced, self._successors[source.lesson.id] = True, general.id
        return general

    def _general(self, id: str, insight: str, sources: Sequence[Lesson]) -> Lesson:
        measured = [lesson for lesson in sources if lesson.effects]
        effects = {o.name: sum(m.effects[o.name] for m in measured) / len(measured) for o in self._objectives if measured}
        directives = {lesson.directive for lesson in sources}
        return Lesson(
            id=id,
            operator=GENERAL,
            blocks=tuple(dict.fromkeys(block for lesson in sources for block in lesson.blocks)),
            kinds=tuple(dict.fromkeys(kind for lesson in sources for kind in lesson.kinds)),
            role=None,
            directive=directives.pop() if len(directives) == 1 else None,
            model="",
            change="",
            intention="",
            expected="",
            effects=effects,
            gains={o.name: self._noise.gain(o, effects[o.name]) for o in self._objectives if effects},
            verdict=verdict(effects, self._objectives, self._noise, trainings=len(measured)) if effects else "neutral",
            insight=insight,
        )

    def _entry(self, id: str) -> Entry:
        """The entry of a lesson, or of the general insight that replaced it."""
        while id in self._successors:
            id = self._successors[id]
        return self._entries[id]

    def _add(self, lesson: Lesson, credit: LessonCredit) -> None:
        # The text is made once, here: a recall needs the lengths of hundreds of them.
        text, words = self.render(lesson), changed_words(lesson)
        verdicts = self._verdicts[words]
        verdicts.add(lesson.verdict)
        entry = Entry(lesson, len(self), text, words, self._evidence(lesson), credit, verdicts)
        self._entries[lesson.id] = entry
        if not lesson.effects and isinstance(OPERATORS.get(lesson.operator), ModelFreeOperator):
            return  # blocks that do not fit together: nothing was meant by it, so there is nothing to avoid
        for topic in topics_of(lesson.blocks, lesson.kinds, lesson.directive, lesson.verdict in ("hurt", "failed")):
            self._file(entry, self._topics[topic])

    def _file(self, entry: Entry, entries: list[Entry]) -> None:
        """Add the entry to a topic. When the topic is full, only its best and its newest entries stay."""
        entries.append(entry)
        if len(entries) >= 2 * LESSONS_PER_TOPIC:
            old = sorted((e for e in entries[:-NEWEST] if not e.gone), key=lambda e: (-self._merit(e), -e.order))
            best = sorted(old[: LESSONS_PER_TOPIC - NEWEST], key=lambda e: e.order)
            entries[:] = [*best, *entries[-NEWEST:]]

    def _evidence(self, lesson: Lesson) -> float:
        """How strong the evidence of a lesson is, in units of the noise."""
        if lesson.effects and lesson.reason:  # a program that was known already: it only shows what not to try again
            return NEUTRAL_EVIDENCE
        if not lesson.effects:
            return FAILED_EVIDENCE if lesson.verdict == "failed" else NEUTRAL_EVIDENCE
        judged = [(o.name, self._noise.is_real(o, lesson.effects[o.name], against=lesson.against)) for o in self._objectives]
        certain = [name for name, real in judged if real]
        return clip(NEUTRAL_EVIDENCE + sum(abs(lesson.gains[name]) for name in certain), MAX_EVIDENCE)

    def _merit(self, entry: Entry) -> float:
        """How much a lesson deserves to be shown.

        The strength of its evidence, raised if several candidates agree, multiplied by a quarter to four according to its
        credit, and doubled if it was never shown.
        """
        credit = entry.credit
        merit = entry.evidence * (1 + 1 / (1 + credit.readers))
        if (total := entry.verdicts.total) > 1:
            support = 2 * entry.verdicts.counts[entry.lesson.verdict] - total
            merit *= 1 + log2(support) / 2 if support > 0 else 0.5
        if credit.value:
            merit *= exp2(clip(self._ledger.current(credit) / 3, 2.0))
        return merit

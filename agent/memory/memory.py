"""The memory of a run: keeps every lesson, recalls those that a prompt should show, and credits those that were shown."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from math import exp2, log2

from agent.core.noise import Noise
from agent.core.objectives import Objective
from agent.core.text import one_line
from agent.memory.credit import STRONG, CreditLedger, LessonCredit, clip
from agent.memory.lesson import GENERAL, Lesson, verdict
from agent.memory.recall import NEWEST, Entry, Relevant, Topic, Verdicts, choose, fit, topics_of
from agent.memory.render import render
from agent.memory.similarity import changed_words
from agent.operators import OPERATORS, ModelFreeOperator

MAX_EVIDENCE = 5.0
"""In units of the noise: a larger change is no better evidence."""
WEAK_EVIDENCE, FAILED_EVIDENCE = 0.25, 1.0
LESSONS_PER_TOPIC = 32
"""Lessons that each topic keeps; it is pruned when it has twice as many."""
MAX_KINDS = 12
"""Kinds that a recall looks for."""

GENERAL_LIMIT = 300
"""Characters of a general insight."""


@dataclass(frozen=True)
class LessonStanding:
    """What a lesson is worth to its readers."""

    lesson: Lesson
    credit: float
    readers: int
    """Candidates whose prompts showed it."""
    cited: int
    """Those of them whose answers named it."""
    status: str
    """`alive`, `dead` (its readers gained less than others: it is told to those who rewrite its blocks only), or the id of the
    general insight that replaced it."""


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
        cited = {self._entry(id) for id in lesson.cited if id in self._entries}
        told = dict.fromkeys(self._entry(id) for id in lesson.told if id in self._entries)
        if lesson.model:  # what no model made says nothing about what models do
            self._ledger.count(lesson, {entry.credit: entry in cited for entry in told})
        strong = [entry for entry in told if entry.lesson.insight and self._is_strong(entry)]
        self._proven |= dict.fromkeys(entry for entry in strong if entry.lesson.operator != GENERAL)
        self._add(lesson, self._ledger.open())

    def recall(self, blocks: Iterable[str], kinds: Iterable[str], directive: str | None, budget: int) -> tuple[Lesson, ...]:
        """The lessons that a prompt should tell; `tell` tells them in at most `budget` characters.

        `blocks`: those to be rewritten; empty where the prompt is about the whole program. `kinds`: those in these blocks (see
        `kinds_in`). First come the results on these blocks: the newest in any case, then the strongest. Then a few lessons that
        no prompt has told yet, those of the same kind of change, and the strongest elsewhere. What was worse or failed elsewhere
        is told only if it is of the same kind. For the whole program, what changes of several blocks gained comes first.
        """
        names, sought = dict.fromkeys(blocks), tuple(dict.fromkeys(kinds))[:MAX_KINDS]
        found = self._about_blocks(names, sought, directive) if names else self._about_program()
        ordered, certain = found.ordered(self._merit)
        return tuple(entry.lesson for entry in choose(ordered, certain, budget))

    def _about_blocks(self, blocks: Iterable[str], kinds: Iterable[str], directive: str | None) -> Relevant:
        same = self._filed(("block", name) for name in blocks)
        by_kind, by_directive, rest = (
            [entry for entry in self._filed(topics) if entry not in same and not entry.lesson.is_about_program]
            for topics in ([("kind", name) for name in kinds], [("directive", directive or "")], [("any", "")])
        )
        asked = [e for e in by_directive if not (e.warns or e in by_kind)]
        return Relevant(list(same), (by_kind, asked, [e for e in rest if not (e.warns or e in by_kind or e in asked)]))

    def _about_program(self) -> Relevant:
        """Any block may be rewritten: no lesson is about something else."""
        return Relevant(list(self._filed([("program", "")])), [list(self._filed([("any", "")]))], by_gain=True)

    def _filed(self, topics: Iterable[Topic]) -> dict[Entry, None]:
        """The lessons of these topics that no general insight has replaced."""
        return {entry: None for topic in topics for entry in self._topics.get(topic, ()) if not entry.replaced}

    def measure_by(self, noise: Noise) -> None:
        """Judge by this noise from now on: it gets better known during a run."""
        self._noise = noise

    def tell(self, ids: Iterable[str], budget: int, code_shown: Collection[str] = ()) -> dict[str, str]:
        """The lessons as Markdown list items by id, together at most `budget` characters: one line of each, more of the first.

        `code_shown`: those whose changed code the prompt shows anyway. Raises KeyError for an unknown id.
        """
        told = {id: self.render(self[id], code_shown=id in code_shown, brief=True) for id in dict.fromkeys(ids)}
        return fit(told, budget)

    def render(self, lesson: Lesson, *, code_shown: bool = False, brief: bool = False) -> str:
        """The lesson as a Markdown list item. `code_shown`, `brief`: whether the prompt shows its code or its numbers anyway."""
        known = self._entries.get(lesson.id)
        if known is not None and known.lesson is lesson and not (code_shown or brief):
            return known.text
        return render(lesson, self._objectives, self._noise, code_shown=code_shown, brief=brief)

    def credit(self, id: str) -> float:
        """How much more the lesson's readers gained than comparable candidates that were not told it, in units of the noise.

        Shrunk towards 0, and fading with time. A lesson that a general insight replaced has the credit of that insight. Raises
        KeyError for an unknown id.
        """
        return self._ledger.current(self._entry(id).credit)

    def standings(self) -> list[LessonStanding]:
        """All lessons, those with the most credit first."""
        standings = []
        for id, entry in self._entries.items():
            status = self._successors.get(id) or ("dead" if entry.credit.dead else "alive")
            credit = entry.credit
            standings.append(LessonStanding(entry.lesson, self._ledger.current(credit), credit.readers, credit.cited, status))
        return sorted(standings, key=lambda s: -s.credit)

    def strong_insights(self) -> tuple[Lesson, ...]:
        """Insights that proved themselves and are worth a shorter, more general form, strongest first."""
        strong = [e for e in self._proven if not e.replaced and self._is_strong(e)]
        return tuple(e.lesson for e in sorted(strong, key=lambda e: (-self._ledger.current(e.credit), e.order)))

    def _is_strong(self, entry: Entry) -> bool:
        return self._ledger.current(entry.credit) >= STRONG

    def generalise(self, ids: Iterable[str], text: str) -> Lesson:
        """Replace several lessons by one general insight, with their readers and their mean effects.

        The replaced lessons are recalled no more, and the results of candidates that were shown one of them are credited to
        the insight. Raises KeyError for an unknown id, ValueError if there is no id or no text.
        """
        sources = list(dict.fromkeys(self._entry(id) for id in ids))
        insight = one_line(text, GENERAL_LIMIT)
        if not sources or not insight:
            raise ValueError("a general insight needs sources and a text")
        self._general_count += 1
        general = self._general(f"{GENERAL}-{self._general_count}", insight, [source.lesson for source in sources])
        self._add(general, self._ledger.merge([source.credit for source in sources]))
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
            verdict=verdict(effects, self._objectives, self._noise, trainings=len(measured)) if effects else "within noise",
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
        for topic in topics_of(lesson):
            self._file(entry, self._topics[topic])

    def _file(self, entry: Entry, entries: list[Entry]) -> None:
        """Add the entry to a topic. When the topic is full, only its best and its newest entries stay."""
        entries.append(entry)
        if len(entries) >= 2 * LESSONS_PER_TOPIC:
            old = sorted((e for e in entries[:-NEWEST] if not e.replaced), key=lambda e: (-self._merit(e), -e.order))
            best = sorted(old[: LESSONS_PER_TOPIC - NEWEST], key=lambda e: e.order)
            entries[:] = [*best, *entries[-NEWEST:]]

    def _evidence(self, lesson: Lesson) -> float:
        """How strong the evidence of a lesson is, in units of the noise."""
        if lesson.repeats:  # it only shows what not to try again
            return WEAK_EVIDENCE
        if not lesson.effects:
            return FAILED_EVIDENCE if lesson.verdict == "failed" else WEAK_EVIDENCE
        counts = {"trainings": lesson.trainings, "against": lesson.against}
        certain = [o.name for o in self._objectives if self._noise.is_real(o, lesson.effects[o.name], **counts)]
        return clip(WEAK_EVIDENCE + sum(abs(lesson.gains[name]) for name in certain), MAX_EVIDENCE)

    def _merit(self, entry: Entry) -> float:
        """How much a lesson deserves to be told.

        The strength of its evidence, raised if several candidates agree, multiplied by a quarter to four according to its
        credit, and doubled if it was never told.
        """
        credit = entry.credit
        merit = entry.evidence * (1 + 1 / (1 + credit.readers))
        if (total := entry.verdicts.total) > 1:
            support = 2 * entry.verdicts.counts[entry.lesson.verdict] - total
            merit *= 1 + log2(support) / 2 if support > 0 else 0.5
        return merit * exp2(clip(2 * self._ledger.current(credit), 2.0))

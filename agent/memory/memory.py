"""The memory of Evolution of Thought: keeps every lesson, recalls what a prompt should tell, credits what was told."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from math import exp2, log2

from agent.core.objectives import Noise, Objective
from agent.memory.answer import one_line
from agent.memory.credit import STRONG, Account, Ledger, clip
from agent.memory.lesson import Lesson, verdict
from agent.memory.render import render
from agent.memory.similarity import alike, moves

SEPARATOR = "\n\n"
"""Between two lessons of a prompt."""

SAME_BLOCK, SAME_KIND, SAME_DIRECTIVE, UNRELATED = 4.0, 2.0, 1.0, 0.5
"""Powers of two: a nearer kinship outweighs all farther ones together."""
MOST_GAIN = 5.0
"""In units of the noise: a larger change is no better evidence."""
NEUTRAL_EVIDENCE, FAILED_EVIDENCE = 0.25, 1.0
CANDIDATES = 32
"""Lessons that each shelf keeps; it is tidied at twice as many."""
NEWEST = 8
"""So many of them are kept for being new."""
KINDS_ASKED = 12

GENERAL = "insight"
"""What stands as operator of a rewritten insight."""
GENERAL_LIMIT = 300
"""Characters of a rewritten insight."""

Shelf = tuple[str, str, bool]
"""What its lessons share: a block, a kind, a directive or nothing; its name; whether they warn (hurt or failed)."""


@dataclass(frozen=True)
class Standing:
    """What a lesson is worth to its readers."""

    lesson: Lesson
    credit: float
    told: int
    """Children whose prompts told it."""
    fate: str
    """`alive`, `dead` (its readers lost too often), or the id of the insight that took its place."""


@dataclass(slots=True)
class _Verdicts:
    """Of all children that made the same moves."""

    of: Counter[str] = field(default_factory=Counter)
    total: int = 0

    def add(self, verdict: str) -> None:
        self.of[verdict] += 1
        self.total += 1


@dataclass(slots=True, eq=False)
class _Entry:
    lesson: Lesson
    order: int
    text: str
    moves: frozenset[str]
    evidence: float
    account: Account
    agreeing: _Verdicts
    replaced: bool = False
    """By a general insight."""

    @property
    def gone(self) -> bool:
        return self.replaced or self.account.dead


class Memory:
    """Grows with `learn` and `rewrite`; reading changes nothing. For one thread."""

    def __init__(self, objectives: Sequence[Objective], noise: Noise) -> None:
        self._objectives, self._noise = tuple(objectives), noise
        self._entries: dict[str, _Entry] = {}
        self._heirs: dict[str, str] = {}
        self._shelves: defaultdict[Shelf, list[_Entry]] = defaultdict(list)
        self._verdicts: defaultdict[frozenset[str], _Verdicts] = defaultdict(_Verdicts)
        self._risen: dict[_Entry, None] = {}
        """Insights that were strong once; a credit that nobody adds to fades."""
        self._ledger = Ledger()
        self._generals = 0

    def __len__(self) -> int:
        return len(self._entries)

    def __getitem__(self, id: str) -> Lesson:
        return self._entries[id].lesson

    def learn(self, lesson: Lesson) -> None:
        """Keeps the lesson, and credits those that its child was shown. A lesson that is known already changes nothing."""
        if lesson.id in self._entries:
            return
        told = dict.fromkeys(self._entry(id) for id in lesson.shown if id in self._entries)
        self._ledger.count(lesson, [entry.account for entry in told])
        risen = [e for e in told if e.account.credit >= STRONG and e.lesson.insight and e.lesson.operator != GENERAL]
        self._risen |= dict.fromkeys(risen)
        self._enter(lesson, self._ledger.opened())

    def recall(self, blocks: Iterable[str], kinds: Iterable[str], directive: str | None, budget: int) -> tuple[Lesson, ...]:
        """The lessons that a prompt about these blocks should tell, best first: `tell` makes at most `budget` characters.

        `kinds`: those in the blocks to be rewritten (see `kinds_in`). Of every three lessons the second is one that hurt
        or failed, as long as there are both.
        """
        blocks, kinds = tuple(blocks), tuple(dict.fromkeys(kinds))[:KINDS_ASKED]
        near = frozenset(blocks), frozenset(kinds), directive
        good, bad = (self._ranked(_shelves(blocks, kinds, directive, warns), *near) for warns in (False, True))
        return tuple(entry.lesson for entry in _fill(good, bad, budget))

    def _ranked(
        self, shelves: Iterable[Shelf], blocks: frozenset[str], kinds: frozenset[str], directive: str | None
    ) -> list[_Entry]:
        """What lies on the shelves, best first."""
        found: set[_Entry] = set()
        for shelf in shelves:
            found.update(self._shelves.get(shelf, ()))
        ranked = [
            (-_relevance(e.lesson, blocks, kinds, directive) * self._merit(e), -e.order, e)
            for e in found
            if not (e.replaced or e.account.dead)
        ]
        ranked.sort()  # no two are of the same order
        return [entry for _, _, entry in ranked]

    def tell(self, lessons: Iterable[Lesson]) -> str:
        """The lessons as one Markdown list."""
        return SEPARATOR.join(self.render(lesson) for lesson in lessons)

    def render(self, lesson: Lesson, *, seen: bool = False) -> str:
        """`seen`: the reader has the lesson's code before it."""
        known = self._entries.get(lesson.id)
        if known is not None and known.lesson is lesson and not seen:
            return known.text
        return render(lesson, self._objectives, self._noise, seen=seen)

    def credit(self, id: str) -> float:
        """How children that were shown the lesson fared against the usual child, in units of the noise, fading.

        A source of a general insight has the credit of that. Raises KeyError for an unknown id.
        """
        return self._ledger.credit(self._entry(id).account)

    def standings(self) -> list[Standing]:
        """All lessons, those with the most credit first."""
        told = []
        for id, entry in self._entries.items():
            fate = self._heirs.get(id) or ("dead" if entry.account.dead else "alive")
            told.append(Standing(entry.lesson, self._ledger.credit(entry.account), entry.account.told, fate))
        return sorted(told, key=lambda s: -s.credit)

    def strong(self) -> tuple[Lesson, ...]:
        """Insights that proved themselves and are worth a shorter, more general form, strongest first."""
        insights = [e for e in self._risen if not e.gone]
        ranked = sorted((-self._ledger.credit(e.account), e.order, e.lesson) for e in insights)
        return tuple(lesson for credit, _, lesson in ranked if -credit >= STRONG)

    def rewrite(self, ids: Iterable[str], text: str) -> Lesson:
        """Puts one general insight in the place of several: it has their summed credit and their mean effects.

        Its sources are recalled no more, and what children do that were shown one of them is credited to it.
        Raises KeyError for an unknown id, ValueError if there is no id or no text.
        """
        sources = list(dict.fromkeys(self._entry(id) for id in ids))
        insight = one_line(text, GENERAL_LIMIT)
        if not sources or not insight:
            raise ValueError("a general insight needs sources and a text")
        self._generals += 1
        general = self._general(f"{GENERAL}-{self._generals}", insight, [source.lesson for source in sources])
        credit = sum(self._ledger.credit(source.account) for source in sources)
        self._enter(general, self._ledger.opened(credit, sum(source.account.told for source in sources)))
        for source in sources:
            source.replaced, self._heirs[source.lesson.id] = True, general.id
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
            verdict=verdict(effects, self._objectives, self._noise) if effects else "neutral",
            insight=insight,
        )

    def _entry(self, id: str) -> _Entry:
        while id in self._heirs:
            id = self._heirs[id]
        return self._entries[id]

    def _enter(self, lesson: Lesson, account: Account) -> None:
        # The text is made now: a recall measures hundreds of them.
        text, moved = self.render(lesson), moves(lesson)
        verdicts = self._verdicts[moved]
        verdicts.add(lesson.verdict)
        entry = _Entry(lesson, len(self), text, moved, self._evidence(lesson), account, verdicts)
        self._entries[lesson.id] = entry
        if lesson.operator == "splice" and not lesson.effects:
            return  # two versions that do not fit each other, and nobody's idea: there is nothing in it to avoid
        for shelf in _shelves(lesson.blocks, lesson.kinds, lesson.directive, lesson.verdict in ("hurt", "failed")):
            self._put(entry, self._shelves[shelf])

    def _put(self, entry: _Entry, shelf: list[_Entry]) -> None:
        """Of a full shelf, the best and the newest stay."""
        shelf.append(entry)
        if len(shelf) >= 2 * CANDIDATES:
            old = sorted((e for e in shelf[:-NEWEST] if not e.gone), key=lambda e: (-self._merit(e), -e.order))
            shelf[:] = [*sorted(old[: CANDIDATES - NEWEST], key=lambda e: e.order), *shelf[-NEWEST:]]

    def _evidence(self, lesson: Lesson) -> float:
        if lesson.effects and lesson.reason:  # a program that was known: it says what not to try again, and no more
            return NEUTRAL_EVIDENCE
        if not lesson.effects:
            return FAILED_EVIDENCE if lesson.verdict == "failed" else NEUTRAL_EVIDENCE
        certain = [o.name for o in self._objectives if not self._noise.within(o, lesson.effects[o.name])]
        return clip(NEUTRAL_EVIDENCE + sum(abs(lesson.gains[name]) for name in certain), MOST_GAIN)

    def _merit(self, entry: _Entry) -> float:
        """Evidence, more if several children agree; up to four times as much or little by credit; twice if never told."""
        account = entry.account
        merit = entry.evidence * (1 + 1 / (1 + account.told))
        if (children := entry.agreeing.total) > 1:
            support = 2 * entry.agreeing.of[entry.lesson.verdict] - children
            merit *= 1 + log2(support) / 2 if support > 0 else 0.5
        if account.credit:
            merit *= exp2(clip(self._ledger.credit(account) / 3, 2.0))
        return merit


def _shelves(blocks: Iterable[str], kinds: Iterable[str], directive: str | None, warns: bool) -> list[Shelf]:
    """Where a lesson stands, and where one is looked for; the last one holds every lesson, related or not."""
    wanted = [("directive", directive)] if directive else []
    names = [*(("block", name) for name in blocks), *(("kind", name) for name in kinds), *wanted, ("any", "")]
    return [(what, name, warns) for what, name in names]


def _relevance(lesson: Lesson, blocks: frozenset[str], kinds: frozenset[str], directive: str | None) -> float:
    same_directive = directive is not None and lesson.directive == directive
    kinship = SAME_BLOCK * (not blocks.isdisjoint(lesson.blocks)) + SAME_KIND * (not kinds.isdisjoint(lesson.kinds))
    return kinship + SAME_DIRECTIVE * same_directive or UNRELATED


def _fill(good: Sequence[_Entry], bad: Sequence[_Entry], budget: int) -> list[_Entry]:
    """The best of both in turn: good, bad, good, and so on. What does not fit, or says nothing new, is passed over."""
    queues = {False: iter(good), True: iter(bad)}
    chosen: list[_Entry] = []
    left = budget
    least = min((len(entry.text) for entry in (*good, *bad)), default=0)
    while queues and left >= least:
        warns = len(chosen) % 3 == 1
        side = warns if warns in queues else not warns
        entry = next(queues[side], None)
        if entry is None:
            del queues[side]
            continue
        cost = len(entry.text) + (len(SEPARATOR) if chosen else 0)
        if cost <= left and not any(alike(entry.moves, other.moves) for other in chosen):
            chosen.append(entry)
            left -= cost
    return chosen

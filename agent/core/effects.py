"""One program measured against another: each change in a reader's units, and what the run may say of it."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from agent.core.noise import Noise
from agent.core.objectives import Fitness, Objective
from agent.core.text import format_number, list_names

_SHARES = frozenset({"accuracy", "acc"})
"""Parts of names of shares: their changes are told in percentage points, whether they are measured in 0..1 or 0..100."""
_TIMES = 10.0
"""A change of so many times the value before is told as a multiple of it."""


@dataclass(frozen=True)
class Effect:
    """What one objective of a program is against the same of another one."""

    objective: Objective
    value: float
    before: float
    """Of the other program."""
    word: str
    """`Noise.judge` in words; empty where nothing has to be told from luck, or nothing can be: see `of`."""
    is_clear: bool
    """Whether the difference is likely real; False where the noise was not measured."""

    @property
    def difference(self) -> float:
        """In the objective's own unit; 0 for what only rounding tells apart, as a mean from its values."""
        return 0.0 if math.isclose(self.value, self.before, rel_tol=1e-9) else self.value - self.before

    @property
    def is_better(self) -> bool | None:
        """None where nothing differs."""
        return self.objective.better(self.value, self.before) if self.difference else None

    @property
    def change(self) -> str:
        """`+0.4 pt` of a share, `-12.0%` of anything else, `+0.2` where the value before was 0, `same`."""
        difference, before = self.difference, abs(self.before)
        if not difference:
            return "same"
        if _is_share(self.objective.name) and min(self.value, before) >= 0 and (largest := max(self.value, before)) <= 100:
            return f"{_short(difference if largest > 1 else 100 * difference)} pt"
        share = difference / before if before else 0.0
        if abs(share) < 0.0005:  # none, or one that would be rounded to nothing
            return f"{difference:+,.0f}" if float(difference).is_integer() else f"{difference:+.2g}"
        return f"{share:+.1%}" if abs(share) < _TIMES else f"{_short(share)} times"

    @property
    def short_word(self) -> str:
        """The word without what it needs to be decided."""
        return self.word.partition(" (")[0]

    @property
    def text(self) -> str:
        """`+0.4 pt, likely real`."""
        return ", ".join(filter(None, (self.change, self.short_word)))


@dataclass(frozen=True)
class Against:
    """A program measured against another one."""

    id: str
    """Of the other one."""
    label: str
    """What a reader calls it: `the seed`, `parent 0003`."""
    trainings: int
    """How many the other one's values are means of."""
    effects: tuple[Effect, ...]
    """One for each objective."""
    is_judged: bool
    """Whether the noise is known; without it nothing tells a gain from luck."""

    @classmethod
    def of(
        cls,
        id: str,
        label: str,
        mine: tuple[Fitness, int],
        other: tuple[Fitness, int],
        objectives: Iterable[Objective],
        noise: Noise | None,
    ) -> Against:
        """`mine`, `other`: means of so many trainings. A word is given where chance has a part, so that the values vary."""
        (values, trainings), (before, against) = mine, other
        effects = []
        for o in objectives:
            difference = values[o.name] - before[o.name]
            judged = noise.judge(o, difference, trainings=trainings, against=against) if noise else None
            has_chance = noise is not None and (noise.sigma[o.name] or (o.reported and noise.seeds_itself))
            clear = judged is not None and judged.word == "likely real"
            one = Effect(o, values[o.name], before[o.name], str(judged) if has_chance else "", clear)
            effects.append(one if one.difference else replace(one, word="", is_clear=False))
        return cls(id, label, against, tuple(effects), noise is not None)

    @property
    def verdict(self) -> str:
        """The words together: `better on accuracy (likely real), parameters; undecided on latency`."""
        if not self.is_judged:
            return "none: the noise was not measured, so nothing tells a gain from luck"
        groups: dict[str, list[str]] = {"better": [], "worse": [], "undecided": [], "within noise": []}
        groups |= {"hardly changed": [], "the same": []}
        for one in self.effects:
            name = one.objective.name
            if one.is_clear:
                groups["better" if one.is_better else "worse"].append(f"{name} ({one.word})" if one.word else name)
            elif one.word.startswith("undecided"):
                groups["undecided"].append(f"{name}{one.word.removeprefix('undecided')}")
            elif one.difference:  # of a quantity without noise: one too small to count
                groups["within noise" if one.word else "hardly changed"].append(name)
            else:
                groups["the same"].append(name)
        return "; ".join(f"{word} on {list_names(names)}" for word, names in groups.items() if names)

    @property
    def brief(self) -> str:
        """Each change with its word, and no more: `accuracy +0.4 pt (likely real), parameters -12.0%`."""
        return ", ".join(_briefly(one) for one in self.effects)


def table(this: str, columns: Sequence[Against]) -> list[str]:
    """The measured values as lines of a table of text: a row for each objective, a column for each other program."""
    if not columns:
        return []
    heads = ["", this, *(_head(one) for one in columns)]
    rows = [
        [one.objective.name, format_number(one.value), *(_cell(column.effects[number]) for column in columns)]
        for number, one in enumerate(columns[0].effects)
    ]
    widths = [max(map(len, cells)) for cells in zip(heads, *rows, strict=True)]
    lines = (zip(cells, widths, strict=True) for cells in (heads, *rows))
    return ["  ".join(cell.ljust(width) for cell, width in line).rstrip() for line in lines]


def _head(one: Against) -> str:
    return f"{one.label} (mean of {one.trainings})" if one.trainings > 1 else one.label


def _cell(one: Effect) -> str:
    return f"{format_number(one.before)} ({one.text})"


def _briefly(one: Effect) -> str:
    """A metric that the program reports of itself is marked as such."""
    marks = ["self-reported"] if one.objective.reported else []
    marks += [one.short_word] if one.word else []
    name = f"{one.objective.name} {one.change}"
    return f"{name} ({', '.join(marks)})" if marks else name


def _is_share(name: str) -> bool:
    return not _SHARES.isdisjoint(re.split(r"[^a-z]+", name.lower()))


def _short(value: float) -> str:
    """Two digits, or all before the point: `+0.28`, `-4.1`, `+41`."""
    return f"{value:+.2g}" if abs(value) < 10 else f"{value:+,.0f}"

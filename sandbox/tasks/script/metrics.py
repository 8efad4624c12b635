"""Finds metrics in the output of a script: a name and a number in the forms in which people print them. The last one counts.

`val_loss: 0.12`, `val_loss=0.12`, `{"val_loss": 0.12}`, `val loss 0.12`, `| val_loss | 0.12 |`, a column of a table. A metric is
read right or not at all: a number that could mean two things, and a name that two labels hold, are refused with their line.
"""

from __future__ import annotations

import math
import re
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sandbox.launch.output import clean
from sandbox.tasks.common.job import StageFailed
from sandbox.tasks.script.columns import column_reading
from sandbox.tasks.script.numbers import BARS, NUMBER, Unclear, read_number, unit_factor

_GAP = re.compile(r"^[^\n]*\n\[\.\.\. [\d,]{1,20} bytes left out \.\.\.\]\n[^\n]*", re.MULTILINE)
"""Where the output was too long to be kept whole: the lines beside it are cut, and so may be their numbers."""
_SHOWN, _AFTER, _BEFORE = 120, 300, 60
"""Characters of a line that are shown; after a name, and before it, that are read."""
_MENTIONS = 10_000
"""The most places with a metric's name that are looked at, the newest ones: the output is hostile, and each costs."""
_CLOSE = r"[\"'`*\])]{0,3}[ \t]*(?:[(\[](?P<unit>[^()\[\]\s]{1,12})[)\]])?[\"'`*]{0,2}[ \t]*"
"""What may stand between a name and its mark: quotes, a unit in brackets."""
_MARK = re.compile(rf"(?:[\"'],|{_CLOSE}(?::=|==?>?|:|--?>|\u2192|\u21d2|\.{{2,}}|(?:is|was)\b))[ \t]*")
_BAR = re.compile(rf"{_CLOSE}[{BARS}][ \t]*")
_BLANK = re.compile(r"[\"'`*\])]{0,3}[ \t]+")
_OF = re.compile(r"[ \t]+(?P<of>(?:of|on|over)\b[^:=|,;()\n]{1,100}?(?P<last>\w*))[ \t]*[:=][ \t]*")
"""`Accuracy of the model on the 10000 test images: 91.2 %`."""
_FROM = re.compile(
    rf"(?:[ \t]+\w+)?[ \t]+from[ \t]+{NUMBER}[%\w]{{0,4}}[ \t]+to[ \t]+|[ \t]+\w+[ \t]*\((?={NUMBER}[ \t]*(?:-{{1,2}}>|\u2192))"
)
"""`val loss improved from 0.5 to 0.4`, `Validation loss decreased (0.5 --> 0.4)`: what it has become counts."""
_COUNTERS = frozenset({"epoch", "step", "iteration", "iter", "batch", "fold", "round", "seed", "lr"})
_PLAIN = frozenset({"the", "a", "an", "and", "with", "has", "is", "was", "new", "current", "of", "to"})
"""Words before a name that do not make it another label."""
_WORD_BEFORE = re.compile(r"([A-Za-z][\w.]*)[ \t]+[\"'`*\[(]{0,3}$")


@dataclass(frozen=True)
class Claim:
    """One place where a script seems to print a metric."""

    label: str
    """The name with the words that make it another one, such as `Test Loss` for `Loss`; the name alone otherwise."""
    line: str
    value: float | None
    """None if the text after the name is not understood."""
    unclear: str = ""
    """What is not understood."""


def read(log: str, names: Sequence[str]) -> dict[str, float]:
    """Return one finite value for each name. Raises StageFailed that shows the line that it failed at. `log` is hostile text."""
    text = _GAP.sub("", clean(log))
    return {name: _value(text, name, log) for name in names}


def _value(text: str, name: str, log: str) -> float:
    claims = _claims(text, _pattern(name, exact=True), name) or _claims(text, _pattern(name, exact=False), name)
    if not claims:
        try:
            column = column_reading(text.splitlines(), name)
        except Unclear as unclear:
            raise StageFailed("score", _not_understood(name, str(unclear), str(unclear)), log) from None
        if column is None:
            raise StageFailed("score", _missing(text, name), log)
        return _finite(name, column, f"{column:g}", log)
    last = claims[-1]
    if last.value is None:
        raise StageFailed("score", _not_understood(name, last.unclear, last.line), log)
    if another := _another_label(claims, name):
        reason = (
            f"The metric {name} is ambiguous: it printed `{another.line}` and `{last.line}`. Name the one that is meant as it "
            f"is printed, such as `{last.label}`, or print `{name}: 0.123` last."
        )
        raise StageFailed("score", reason, log)
    return _finite(name, last.value, last.unclear, log)


def _claims(text: str, name: re.Pattern[str], wanted: str) -> list[Claim]:
    """Return the places where a number, or what looks like one, follows the name."""
    found = []
    for match in deque(name.finditer(text), maxlen=_MENTIONS):
        start = text.rfind("\n", max(0, match.start() - 2000), match.start()) + 1
        end = text.find("\n", match.end(), match.end() + _AFTER)
        after = text[match.end() : end if end >= 0 else match.end() + _AFTER].rstrip("\r")
        before = text[max(start, match.start() - _BEFORE) : match.start()]
        whole = (text[max(start, match.start() - _SHOWN // 2) : match.end()] + after).strip()[:_SHOWN]
        word = _WORD_BEFORE.search(before)
        label = f"{word[1]} {match[0]}" if word and word[1].lower() not in _PLAIN else wanted
        try:
            for offset, alone, suffix in _starts(after):
                if (value := read_number(after[offset:], alone=alone)) is not None:
                    shown = re.match(NUMBER, after[offset:])
                    found.append(Claim(f"{label} {suffix}".strip(), whole, value, shown[0] if shown else f"{value:g}"))
                    break
        except Unclear as unclear:
            found.append(Claim(label, whole, None, str(unclear)))
    return found


def _starts(after: str) -> Iterator[tuple[int, bool, str]]:
    """Yield where in the text after a name a number may begin; whether it must be the only one; and what more the name has."""
    if mark := _MARK.match(after):
        if mark["unit"] is None or unit_factor(mark["unit"]) is not None:
            yield mark.end(), False, ""
        return
    if bar := _BAR.match(after):
        yield bar.end(), True, ""
        return
    if changed := _FROM.match(after):
        yield changed.end(), False, ""
        return
    of = _OF.match(after)
    if of and of["last"].lower() not in _COUNTERS:
        yield of.end(), False, of["of"]
    if blank := _BLANK.match(after):
        yield blank.end(), True, ""


def _pattern(name: str, *, exact: bool) -> re.Pattern[str]:
    """Return a pattern for the name as a word of its own: `val_loss` is neither in `best/val_loss` nor in `val_loss@1`.

    `exact`: as it is written; otherwise in any case, and with blanks, hyphens and underscores alike.
    """
    parts = re.split(r"\s+" if exact else r"[\s_-]+", name.strip())
    joined = (r"[ \t]+" if exact else r"[ \t_-]").join(map(re.escape, parts))
    return re.compile(rf"(?<![\w./@])(?<!\w-){joined}(?!\w|[-/@.]\w)", 0 if exact else re.IGNORECASE)


def _another_label(claims: Sequence[Claim], name: str) -> Claim | None:
    """Return a claim under another label than the last one, where nothing says which of the two is meant.

    The name alone is meant where it comes last. Of several longer labels the last one counts, unless they go on after the
    name, as one for each class does.
    """
    last = claims[-1].label
    if last == name:
        return None
    longer = {claim.label for claim in claims if " of " in claim.label or " on " in claim.label or " over " in claim.label}
    return next((c for c in claims if c.label == name or (c.label != last and longer)), None)


def _finite(name: str, value: float, shown: str, log: str) -> float:
    if not math.isfinite(value):
        raise StageFailed("score", f"The last value that it printed for {name} is {shown}, which is no finite number.", log)
    return value


def _form(name: str) -> str:
    return f"a line such as `{name}: 0.123` is expected, and the last one counts"


def _not_understood(name: str, unclear: str, line: str) -> str:
    return f"It printed no number that can be read for the metric {name}: `{unclear}` in the line `{line}`; {_form(name)}."


def _missing(text: str, name: str) -> str:
    words = [word for word in re.split(r"[\s_/@-]+", name.lower()) if word]
    near = [line.strip() for line in text.splitlines() if all(word in line.lower() for word in words)]
    if near:
        return f"It printed no number for the metric {name}: {_form(name)}; the nearest line is `{near[-1][:_SHOWN]}`."
    return f"It printed no metric {name}: {_form(name)}."

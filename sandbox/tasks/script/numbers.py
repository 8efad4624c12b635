"""Reads one number as people print it: with a unit, in brackets, with digits in groups, as a fraction, as `0.5 -> 0.4`.

A text that could mean two numbers is none: a metric is read right or not at all.
"""

from __future__ import annotations

import re

_GROUPED = r"\d{1,3}(?:,\d{3})+(?!\d)(?:\.\d+)?|\d{1,3}(?:[_\u00a0\u202f\u2009]\d{3})+(?!\d)(?:\.\d+)?"
_DIGITS = rf"(?:{_GROUPED}|\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?"
_SPECIAL = r"(?i:nan|inf(?:inity)?)(?!\w)|(?:None|null|N/A|n/a)(?!\w)"
NUMBER = rf"[-+\u2212]?(?:{_DIGITS}|{_SPECIAL})"
"""A number without its unit; also what is printed in place of one."""
BARS = "|\u2502\u2503\u2551"
"""Characters that are drawn between the cells of a table."""

_WHOLE = re.compile(
    rf"(?P<open>(?:(?:[A-Za-z_][\w.]{{0,60}})?[(\[{{]\s?){{0,3}})[\"'`*]{{0,3}}[$\u20ac\u00a3]?(?P<number>{NUMBER})"
)
"""A number with what may stand before it: `tensor([`, a quote, a currency."""
_GLUED = re.compile(rf"[^\s,;()\[\]{{}}\"'`*<{BARS}]{{0,40}}")
"""What directly follows a number: its unit, or the rest of what is no number."""
_ARROW = re.compile(r"\s*(?:-{1,2}>|=>|\u2192|\u21d2)\s*(?=[-+.\d])")
_FRACTION = re.compile(r"[ \t]?/[ \t]?(?P<whole>\d+)(?![\w/]|\.\d)")
_WORD = re.compile(r"[ \t]{1,2}(?P<word>[A-Za-z%\u00b5\u03bc]{1,16})(?P<after>[ \t]*(?:[:=]|[-+.]?\d))?")
_SPACED_GROUP = re.compile(r" \d{3}(?!\d)")
_ANOTHER = re.compile(rf"[ \t]+[-+.]?\d|[ \t]*[{BARS}][ \t]*[-+.]?\d")
_CLOSED = re.compile(r"[\"'`*]{0,3}\s?(?:[)\]}]|,\s*[a-z_]+=)")

_LONGEST = 400
"""Characters of a text that are read: more than any number with its unit, or what it has become of, has."""

_PREFIXES = {"": 1.0, "K": 1e3, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}
_COUNTED = ("flops", "flop", "mac", "macs", "ops", "param", "params", "hz", "bit")
_BYTES = {"kb": 1e3, "mb": 1e6, "gb": 1e9, "tb": 1e12, "kib": 2.0**10, "mib": 2.0**20, "gib": 2.0**30, "tib": 2.0**40}
_SECONDS = {
    "ns": 1e-9, "us": 1e-6, "\u00b5s": 1e-6, "\u03bcs": 1e-6, "ms": 1e-3, "msec": 1e-3, "s": 1.0, "sec": 1.0, "secs": 1.0,
    "second": 1.0, "seconds": 1.0, "min": 60.0, "mins": 60.0, "minute": 60.0, "minutes": 60.0, "h": 3600.0, "hr": 3600.0,
    "hrs": 3600.0, "hour": 3600.0, "hours": 3600.0,
}  # fmt: skip
_WORDS = {"%": 1.0, "pct": 1.0, "percent": 1.0, "thousand": 1e3, "million": 1e6, "billion": 1e9}


class Unclear(Exception):
    """A text looks like a number and cannot be read as one; the message is the part that is not understood."""


def unit_factor(unit: str) -> float | None:
    """Return by what a number with this unit is multiplied: times become seconds, sizes bytes, `K` a thousand.

    A percentage stays as it is. None for an unknown unit; `B` may be bytes or billions, `m` minutes or millions.
    """
    small = unit.lower()
    for table in (_SECONDS, _WORDS, _BYTES):
        if small in table and (table is not _SECONDS or unit in ("MS", small)):
            return table[small]
    if unit in _PREFIXES:
        return _PREFIXES[unit]
    if unit[:1] in _PREFIXES and small[1:] in _COUNTED:
        return _PREFIXES[unit[:1]]
    return 1.0 if small in _COUNTED else None


def read_number(text: str, *, alone: bool = False) -> float | None:
    """Return the number at the beginning of `text`, a part of one line; None if no number stands there.

    `alone`: no other number may follow it, because nothing but blanks or bars would tell them apart.
    May return an infinity or NaN. Raises Unclear.
    """
    text = text[:_LONGEST]  # it may be a cell of any length
    found = _WHOLE.match(text)
    if not found:
        return None
    shown = text[found.start("number") :][:40].rstrip()
    rest = text[found.end() :]
    while arrow := _ARROW.match(rest):  # `0.5 -> 0.4`: what it has become
        if not (become := _WHOLE.match(rest, arrow.end())):
            raise Unclear(shown)
        found, rest = become, rest[become.end() :]
    value, rest = _with_unit(found["number"], rest, shown)
    if found["open"] and not _CLOSED.match(rest):
        raise Unclear(shown)
    if not found["open"] and alone and _ANOTHER.match(rest):
        raise Unclear(shown)
    return value


def _with_unit(digits: str, rest: str, shown: str) -> tuple[float, str]:
    """Return the value and what follows its unit. Raises Unclear."""
    value = _value(digits, shown)
    if fraction := _FRACTION.match(rest):
        if float(fraction["whole"]) == 0:
            raise Unclear(shown)
        return value / float(fraction["whole"]), rest[fraction.end() :]
    glued = _GLUED.match(rest)
    unit = glued[0].rstrip(".!?\u2026") if glued else ""
    if unit.startswith(("\u00b1", "+/-")):  # its uncertainty
        unit = ""
    factor = unit_factor(unit) if unit else 1.0
    if factor is None or re.match(r",\d", rest) or (not unit and digits[-3:].isdigit() and _is_spaced_group(digits, rest)):
        raise Unclear(shown)
    if unit or not (word := _WORD.match(rest)):
        return value * factor, rest[len(glued[0]) if glued else 0 :]
    spaced = unit_factor(word["word"])
    if spaced is None or (word["after"] or "").strip() in (":", "="):  # any other word, or the name of the next value
        return value, rest
    if word["after"] and word["word"] != "%":  # `1 min 23 s`, or the name of the next value without a mark
        raise Unclear(shown)
    return value * spaced, rest[word.end("word") :]


def _is_spaced_group(digits: str, rest: str) -> bool:
    """Whether `1` and ` 234.5` may be one number."""
    return bool(re.fullmatch(r"[-+\u2212]?\d{1,3}", digits) and _SPACED_GROUP.match(rest))


def _value(digits: str, shown: str) -> float:
    plain = re.sub(r"[,_\u00a0\u202f\u2009]", "", digits).replace("\u2212", "-")
    if re.match(r"[-+]?0\d|[-+]?0,", digits.replace("\u2212", "-")) and re.search(r"[,_]", digits):
        raise Unclear(shown)  # `0,123` is no group of thousands, and `1,234` of the same program would be read as one
    try:
        return float(plain)
    except ValueError:  # None, null, n/a
        raise Unclear(shown) from None

"""Make hostile text safe for prompts, terminals and pages; format numbers.

`visible` is for terminals, and loses nothing; `clean` is for prompts, commits and pages, where an escape would be noise.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Sequence

_ESCAPE_CODE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\))")
"""Colours, cursor movements (CSI) and window titles (OSC) of a terminal."""
_PLAIN = re.compile(r"[ -~\n\t]*")
HALF = "\ufffd"
"""Stands where bytes or half a character could not be read."""


def fence(text: str, language: str = "") -> str:
    """The text as a fenced block, the fence longer than any run of backticks in it: nothing can break out."""
    runs = (len(run) for run in re.findall(r"`+", text))
    ticks = "`" * max(3, 1 + max(runs, default=0))
    return f"{ticks}{language}\n{text.strip(chr(10))}\n{ticks}"


def quote(text: str, limit: int = 160) -> str:
    """Text from a candidate as one code span of at most `limit` characters inside: one line, no control characters."""
    line = one_line(text).replace("`", "'") or "(nothing)"
    return f"`{_shortened(line, limit)}`"


def one_line(text: str, limit: int | None = None) -> str:
    """Hostile text as one line without control characters, of at most `limit` characters; a line that was cut ends with dots."""
    if limit is None:
        return " ".join(clean(text).split())
    return _shortened(one_line(text[: 8 * limit]), limit)  # the text may be very long: cut it first


def format_number(value: float) -> str:
    """Four significant digits; from a thousand on a whole number with separators: `0.9352`, `518,126`."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def format_sigma(value: float) -> str:
    """A spread or a standard error, everywhere with two significant digits: more of them would not be known."""
    return f"{value:.2g}" if value < 10 else f"{value:,.0f}"


def in_sigmas(multiple: float) -> str:
    """A change in units of the noise, everywhere with the same digits: `+4.2 sigma`, `-130 sigma`."""
    return f"{multiple:+.1f} sigma" if abs(multiple) < 100 else f"{multiple:+,.0f} sigma"


def list_names(names: Sequence[str], most: int = 4) -> str:
    """The names in a line that stays short: `A, B, C, D and 3 more`."""
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more} more" if more > 0 else "")


def clean(text: str) -> str:
    """The text without escape codes, control, format and surrogate characters; line breaks and tabs stay."""
    if _PLAIN.fullmatch(text):
        return text
    plain = _ESCAPE_CODE.sub("", text)
    bad = "".join(c for c in set(plain) if c not in "\n\t" and unicodedata.category(c).startswith("C"))
    return plain.translate(str.maketrans("", "", bad))


def visible(text: str, known: Collection[str] = ()) -> str:
    """The text as a terminal may show it: what would act on the terminal, hide or reorder text is written as its escape.

    `\\x1b` for a real escape, `\\u202e` for an override of the direction. Line breaks, tabs and the characters `known` stay.
    """
    if _PLAIN.fullmatch(text):
        return text
    bad = {c for c in set(text) if is_hidden(c) and c not in known}
    return text.translate({ord(c): c.encode("unicode_escape").decode() for c in bad})


def is_hidden(character: str) -> bool:
    """Whether it is no text but a control, format or surrogate character, a line separator, or none at all."""
    category = unicodedata.category(character)
    return character not in "\n\t" and (category[0] == "C" or category in ("Zl", "Zp"))


def valid_text(text: str) -> str:
    """The text with half characters (lone surrogates, as half of an emoji) replaced by `HALF`: UTF-8 cannot write them."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _shortened(line: str, limit: int) -> str:
    """Cut behind a whole word, unless that would lose a third."""
    if len(line) <= limit:
        return line
    kept = line[: limit - 3]
    space = kept.rfind(" ") if line[limit - 3] != " " else -1
    return (kept[:space] if space > 2 * limit // 3 else kept).rstrip(" ,;:.") + "..."

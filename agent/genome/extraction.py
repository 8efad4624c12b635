"""Find the code in an LLM's answer. Works on plain text only: the text is hostile until `compile_error` has passed it."""

from __future__ import annotations

import re
import warnings
from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

MAX_CHARACTERS = 200_000
MAX_LINE = 2_000
"""The most characters of one line."""

_FENCE = re.compile(r"^[ ]{0,3}(?P<marks>`{3,}|~{3,})[ \t]*(?P<language>[\w+-]*)[^\n]*$", re.MULTILINE)
_ANY_DEFINITION = re.compile(r"^(?:async\s+def|def|class)\s+\w|^\w+\s*(?::[^=\n]+)?=[^=]", re.MULTILINE)
"""A class, a function or a constant."""


@dataclass(frozen=True)
class Violations:
    """Why an answer cannot be used, in sentences that a repair prompt can quote."""

    reasons: tuple[str, ...]
    stage: Literal["answer", "contract"] = "contract"


def extract_code(answer: str, names: Collection[str] = ()) -> str | Violations:
    """Return the answer's Python code that defines the blocks `names`: the last fence that defines one of them.

    Without `names`, all fences that define anything are joined, since an answer may have a fence for each file; only the
    last of them may fail to compile, others are taken for sketches. If the answer is cut off inside a fence, the fence
    still counts where `names` are given, because a broken piece would not compile; without `names` the answer is refused.
    An answer without any fence counts as code if it defines something wanted and compiles.
    """
    text = answer.replace("\r\n", "\n")
    if too_long := answer_too_long(text):
        return too_long
    fences, closed = _fences(text)
    one_of = "|".join(map(re.escape, names))
    wanted = re.compile(rf"^(?:async\s+def|def|class)\s+(?:{one_of})\b", re.MULTILINE) if names else _ANY_DEFINITION
    defining = [code for code in fences if wanted.search(code)]
    if defining and names:
        return defining[-1]
    if fences and not closed:
        reason = "The last fence of the answer is not closed: it seems to be cut off. Answer more shortly, the code first of all."
        return Violations((reason,), "answer")
    if defining:
        return "\n\n\n".join([*(code for code in defining[:-1] if compile_error(code) is None), defining[-1]])
    if not fences and wanted.search(text) and compile_error(text) is None:
        return text
    return _nothing_found(names, fenced=bool(fences))


def answer_too_long(answer: str) -> Violations | None:
    """The violation of an answer that is longer than `MAX_CHARACTERS`; None if it is not."""
    if len(answer) <= MAX_CHARACTERS:
        return None
    return Violations((f"The answer has {len(answer):,} characters; {MAX_CHARACTERS:,} is the limit.",), "answer")


def _nothing_found(names: Collection[str], *, fenced: bool) -> Violations:
    quoted = " and ".join(f"`{name}`" for name in names)
    if fenced:
        what = quoted or "a class, function or constant"
        return Violations((f"No fenced Python block of the answer defines {what}.",), "answer")
    what = f"the complete {quoted}" if names else "the definitions that change"
    return Violations((f"The answer has no fenced Python block with {what}.",), "answer")


def compile_error(code: str) -> str | None:
    """Why CPython refuses to compile the text, in its own words; None if it compiles. Nothing is executed.

    Limits on size and line length, and CPython's own compiler, keep text from libcst that would crash it.
    """
    if len(code) > MAX_CHARACTERS:
        return f"The code has {len(code):,} characters; {MAX_CHARACTERS:,} is the limit."
    longest = max(map(len, code.split("\n")))
    if longest > MAX_LINE:
        return f"A line has {longest:,} characters; {MAX_LINE:,} is the limit."
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # an invalid escape sequence must not print a warning on the user's terminal
            compile(code, "answer", "exec", dont_inherit=True)
    except SyntaxError as error:
        place = f" in `{error.text.strip()[:120]}`" if error.text else ""
        return f"Python cannot compile the code: line {error.lineno}: {error.msg}{place}."
    except (RecursionError, MemoryError):
        return "The code is nested too deeply for Python to compile."
    except ValueError as error:
        return f"Python cannot compile the code: {error}."
    return None


def _fences(text: str) -> tuple[list[str], bool]:
    """The contents of the fenced blocks whose language is Python or not given; and whether the last fence is closed."""
    blocks, opened = [], None
    for mark in _FENCE.finditer(text):
        if opened is None:
            opened = mark
        elif mark["marks"][0] == opened["marks"][0] and len(mark["marks"]) >= len(opened["marks"]) and not mark["language"]:
            blocks.append((opened["language"].lower(), text[opened.end() + 1 : mark.start()]))
            opened = None
    if opened is not None:
        blocks.append((opened["language"].lower(), text[opened.end() + 1 :]))
    return [code for language, code in blocks if language in ("", "python", "py", "python3")], opened is None

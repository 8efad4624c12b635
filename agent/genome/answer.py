"""An LLM's answer -> the code in it. Plain text work, no parser: the text is hostile until the gates have passed it."""

from __future__ import annotations

import re
import warnings
from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

MAX_CHARACTERS = 200_000
MAX_LINE = 2_000

_FENCE = re.compile(r"^[ ]{0,3}(?P<marks>`{3,}|~{3,})[ \t]*(?P<language>[\w+-]*)[^\n]*$", re.MULTILINE)
_ANYTHING = re.compile(r"^(?:async\s+def|def|class)\s+\w|^\w+\s*(?::[^=\n]+)?=[^=]", re.MULTILINE)
"""A definition or a constant."""


@dataclass(frozen=True)
class Violations:
    """Why an answer cannot be used, in words fit for a repair prompt."""

    reasons: tuple[str, ...]
    stage: Literal["answer", "contract"] = "contract"


def extract(answer: str, names: Collection[str] = ()) -> str | Violations:
    """The code that defines the wanted blocks: of several fences the last that defines one, else the only Python fence.

    Without names, all that defines anything, fence below fence (but for sketches that do not compile): an answer may hold
    one for each file. A fence that the answer does not close (it was cut) is taken as it is where one block is wanted,
    since a piece of it would not compile or define it. Text without any fence is taken as code if it defines something
    wanted and compiles.
    """
    text = answer.replace("\r\n", "\n")
    if len(text) > MAX_CHARACTERS:
        return Violations((f"The answer has {len(text):,} characters; {MAX_CHARACTERS:,} is the limit.",), "answer")
    fences, closed = _fences(text)
    one_of = "|".join(map(re.escape, names))
    wanted = re.compile(rf"^(?:async\s+def|def|class)\s+(?:{one_of})\b", re.MULTILINE) if names else _ANYTHING
    defining = [code for code in fences if wanted.search(code)]
    if defining and names:
        return defining[-1]
    if fences and not closed:
        told = "The last fence of the answer is not closed: it seems to be cut off. Answer more shortly, the code first of all."
        return Violations((told,), "answer")
    if defining:
        return "\n\n\n".join([*(code for code in defining[:-1] if compile_error(code) is None), defining[-1]])
    if not fences and wanted.search(text) and compile_error(text) is None:
        return text
    quoted = " and ".join(f"`{name}`" for name in names)
    if fences:
        what = quoted or "a class, function or constant"
        return Violations((f"No fenced Python block of the answer defines {what}.",), "answer")
    what = f"the complete {quoted}" if names else "the definitions that change"
    return Violations((f"The answer has no fenced Python block with {what}.",), "answer")


def compile_error(code: str) -> str | None:
    """Why CPython refuses the text, in its own words; None if it compiles. Nothing is executed.

    The gates that keep libcst from crashing on hostile text: size, line length, and CPython's own compiler.
    """
    if len(code) > MAX_CHARACTERS:
        return f"The code has {len(code):,} characters; {MAX_CHARACTERS:,} is the limit."
    longest = max(map(len, code.split("\n")))
    if longest > MAX_LINE:
        return f"A line has {longest:,} characters; {MAX_LINE:,} is the limit."
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # an invalid escape sequence is no reason to write on the user's terminal
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
    """The contents of the fenced blocks whose language is Python or unnamed; and whether the last one is closed."""
    found, opened = [], None
    for mark in _FENCE.finditer(text):
        if opened is None:
            opened = mark
        elif mark["marks"][0] == opened["marks"][0] and len(mark["marks"]) >= len(opened["marks"]) and not mark["language"]:
            found.append((opened["language"].lower(), text[opened.end() + 1 : mark.start()]))
            opened = None
    if opened is not None:
        found.append((opened["language"].lower(), text[opened.end() + 1 :]))
    return [code for language, code in found if language in ("", "python", "py", "python3")], opened is None

"""Find the code in an LLM's answer. Works on plain text only: the text is hostile until `compile_error` has passed it."""

from __future__ import annotations

import re
import warnings
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

MAX_CHARACTERS = 200_000
MAX_LINE = 2_000
"""The most characters of one line."""

_OPENING = {
    "`": re.compile(r"^(?P<before>[^`\n]*+)(?P<marks>`{3,}+)[ \t]*(?P<language>[\w+.#-]*)[^`\n]*$"),
    "~": re.compile(r"^(?P<before>[^\n]*?)(?P<marks>~{3,})[ \t]*(?P<language>[\w+.#-]*)"),
}
"""How a line opens a fence, by whether it has a backtick: then no others may follow, and it opens no fence of tildes."""
_PYTHON = ("", "python", "py", "python3")
_DOCUMENT = ("markdown", "md")
"""A fence of these holds a whole answer, with fences of its own."""
_PATCH = re.compile(r"^(?:@@ -\d|--- a/|<{7} SEARCH\b|<{7} ORIGINAL\b)", re.MULTILINE)
"""What a unified diff, or an edit by search and replace, has and a program has not."""
_ANY_DEFINITION = re.compile(r"^(?:async\s+def|def|class)\s+\w|^\w+(?:[ \t]*,[ \t]*\w+)*\s*(?::[^=\n]+)?=[^=]", re.MULTILINE)
"""A class, a function or a constant."""


@dataclass(frozen=True)
class Violations:
    """Why an answer cannot be used, in sentences that a repair prompt can quote."""

    reasons: tuple[str, ...]
    stage: Literal["answer", "contract"] = "contract"


@dataclass(frozen=True)
class Limits:
    """What an answer, and each file that it changes, may have."""

    characters: int = MAX_CHARACTERS
    line: int = MAX_LINE

    @classmethod
    def beside(cls, texts: Iterable[str]) -> Limits:
        """The limits beside these files: one that they break before the edit holds for what the edit adds.

        A file that is too long may grow by as much as another may have, and a line may be as long as their longest.
        """
        texts = list(texts)
        characters, line = max(map(len, texts), default=0), max(map(longest_line, texts), default=0)
        return cls(MAX_CHARACTERS + (characters if characters > MAX_CHARACTERS else 0), max(MAX_LINE, line))


def longest_line(text: str) -> int:
    return max(map(len, text.split("\n")))


def extract_code(answer: str, names: Collection[str] = (), limits: Limits | None = None) -> str | Violations:
    """Return the answer's Python code that defines the blocks `names`: the last fence that defines one of them.

    Without `names`, all fences that define anything are joined, since an answer may have a fence for each file; only the
    last of them may fail to compile, others are taken for sketches. If the answer is cut off inside a fence, the fence
    still counts where `names` are given, because a broken piece would not compile; without `names` the answer is refused.
    An answer without any fence counts as code if it defines something wanted and compiles.
    """
    limits = limits or Limits()
    text = answer.replace("\r\n", "\n").replace("\r", "\n").removeprefix("\ufeff")
    if too_long := answer_too_long(text, limits):
        return too_long
    fences, closed = _fences(text)
    one_of = "|".join(map(re.escape, names))
    wanted = re.compile(rf"^(?:async\s+def|def|class)\s+(?:{one_of})\b", re.MULTILINE) if names else _ANY_DEFINITION
    defining = [fence.code for fence in fences if fence.language in _PYTHON and wanted.search(fence.code)]
    # Any other label is believed if the text below it is Python all the same.
    defining = defining or [f.code for f in fences if wanted.search(f.code) and compile_error(f.code, limits) is None]
    compiles = any(compile_error(code, limits) is None for code in defining)
    if not compiles and _PATCH.search("\n".join(fence.code for fence in fences) or text):
        return Violations(("The answer is a patch. Write each definition that changes anew, complete.",), "answer")
    if defining and names:
        return defining[-1]
    if fences and not closed:
        reason = "The last fence of the answer is not closed: it seems to be cut off. Answer more shortly, the code first of all."
        return Violations((reason,), "answer")
    if defining:
        return "\n\n\n".join([*(code for code in defining[:-1] if compile_error(code, limits) is None), defining[-1]])
    if not fences and wanted.search(text) and compile_error(text, limits) is None:
        return text
    return _nothing_found(names, fences)


def answer_too_long(answer: str, limits: Limits) -> Violations | None:
    """The violation of an answer that is longer than the limit; None if it is not."""
    if len(answer) <= limits.characters:
        return None
    return Violations((f"The answer has {len(answer):,} characters; {limits.characters:,} is the limit.",), "answer")


def _nothing_found(names: Collection[str], fences: Sequence[_Fence]) -> Violations:
    quoted = " and ".join(f"`{name}`" for name in names)
    if any(fence.language in _PYTHON for fence in fences):
        what = quoted or "a class, function or constant"
        return Violations((f"No fenced Python block of the answer defines {what}.",), "answer")
    what = f"the complete {quoted}" if names else "the definitions that change"
    labels = ", ".join(dict.fromkeys(fence.language for fence in fences))
    seen = f": it has one of {labels}" if labels else ""
    return Violations((f"The answer has no fenced Python block with {what}{seen}.",), "answer")


def compile_error(code: str, limits: Limits) -> str | None:
    """Why CPython refuses to compile the text, in its own words; None if it compiles. Nothing is executed.

    Limits on size and line length, and CPython's own compiler, keep text from libcst that would crash it.
    """
    if len(code) > limits.characters:
        return f"The code has {len(code):,} characters; {limits.characters:,} is the limit."
    if (longest := longest_line(code)) > limits.line:
        return f"A line has {longest:,} characters; {limits.line:,} is the limit."
    return compiler_error(code)


def compiler_error(code: str) -> str | None:
    """As `compile_error`, without limits."""
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


@dataclass(frozen=True)
class _Fence:
    language: str
    """In small letters; empty if none is given."""
    code: str


def _fences(text: str) -> tuple[list[_Fence], bool]:
    """The fenced blocks; and whether the last of them is closed.

    A fence may be indented, as in a list, and its lines are then moved to the left by as much; it may open at the end of a
    sentence and close at the end of a line of code. A fence of Markdown counts as the text that it holds.
    """
    found: list[_Fence] = []
    opened: re.Match[str] | None = None
    lines: list[str] = []
    for line in text.split("\n"):
        if opened is None:
            mark = _OPENING["`" if "`" in line else "~"].match(line)
            if mark and mark["language"].lower() not in _DOCUMENT:
                opened, lines = mark, []
            continue
        end = _before_closing(line, opened)
        if end is None:
            lines.append(line)
            continue
        found.append(_Fence(opened["language"].lower(), _moved_left([*lines, end] if end.strip() else lines, opened)))
        opened = None
    if opened is not None and any(line.strip() for line in lines):
        found.append(_Fence(opened["language"].lower(), _moved_left(lines, opened)))
        return found, False
    return found, True


def _before_closing(line: str, opened: re.Match[str]) -> str | None:
    """What stands on the line before the mark that closes the fence; None if the line closes nothing."""
    text, marks = line.rstrip(), opened["marks"]
    code = text.rstrip(marks[0])
    if len(text) - len(code) < len(marks) or (code.strip() and marks[0] in code):
        return None
    indented = len(code) - len(code.lstrip()) - len(_indentation(opened))
    return None if not code.strip() and indented > 3 else code


def _indentation(opened: re.Match[str]) -> str:
    """The blanks before a fence that opens on a line of its own, the mark of a list item counted as blanks."""
    before = opened["before"]
    return " " * len(before) if re.fullmatch(r"\s*(?:(?:[-*+]|\d+[.)])\s+)?", before) else ""


def _moved_left(lines: Sequence[str], opened: re.Match[str]) -> str:
    """The lines without the indentation of their fence, as far as they have it."""
    blanks = len(_indentation(opened))
    return "".join(line[min(blanks, len(line) - len(line.lstrip())) :] + "\n" for line in lines)

"""Read source files as Python reads them: encodings, marks at the beginning, line ends, and what cannot be analysed."""

from __future__ import annotations

import codecs
import io
import re
import tokenize

from agent.genome.analysis import analyse_statements, parse
from agent.genome.extraction import compiler_error
from agent.genome.static_checks import undefined_names

MARK = "\ufeff"
"""With it, some editors begin a UTF-8 file."""
_WIDE = {
    codecs.BOM_UTF32_LE: "UTF-32", codecs.BOM_UTF32_BE: "UTF-32", codecs.BOM_UTF16_LE: "UTF-16", codecs.BOM_UTF16_BE: "UTF-16",
}  # fmt: skip


class UnreadableSource(Exception):
    """Why a file cannot evolve, as the end of a sentence that begins with its name."""


def decode(data: bytes) -> str:
    """The text of a source file, without a mark at its beginning; line ends stay as they are.

    Raises UnreadableSource for what is not UTF-8, and for carriage returns that end a line alone: git and diffs do not.
    """
    zeros = data[:200].count(0) > len(data[:200]) // 4
    if wide := next((name for mark, name in _WIDE.items() if data.startswith(mark)), "UTF-16" if zeros else ""):
        raise UnreadableSource(f"is {wide} text: save it as UTF-8")
    try:
        encoding = codecs.lookup(tokenize.detect_encoding(io.BytesIO(data.replace(b"\r", b"\n")).readline)[0]).name
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise UnreadableSource(f"is not UTF-8 text (line {line}): save it as UTF-8{_declared(data)}") from None
    except SyntaxError as error:
        raise UnreadableSource(f"is not UTF-8 text ({error}): save it as UTF-8{_declared(data)}") from None
    if encoding not in ("utf-8", "utf-8-sig", "ascii") and not text.isascii():
        raise UnreadableSource(f"declares the encoding {encoding}, and only UTF-8 can evolve: save it as UTF-8{_declared(data)}")
    if alone := re.search(r"\r(?!\n)", text):
        line = len(re.findall(r"\r\n|\r|\n", text[: alone.start()])) + 1
        raise UnreadableSource(
            f"has a carriage return alone at the end of line {line}, where git and diffs see no line end: convert it, "
            "as `tr '\\r' '\\n'` does"
        )
    return text


def _declared(data: bytes) -> str:
    """The rest of a sentence about an encoding that the file declares."""
    found = re.search(rb"^[ \t\f]*#.*?coding[:=][ \t]*([-\w.]+)", b"\n".join(re.split(rb"\r\n|\r|\n", data)[:2]), re.MULTILINE)
    named = found[1].decode("ascii", "replace") if found else ""
    other = named and named.lower().replace("_", "-") not in ("utf-8", "utf8", "utf-8-sig")
    return f", without its line `coding: {named}`" if other else ""


def check(text: str) -> None:
    """Raises UnreadableSource for a text that Python does not compile, or that is nested too deeply to be analysed."""
    try:
        parse(text)
        analyse_statements(text)
        undefined_names(text)
        reason = compiler_error(text)
    except (SyntaxError, ValueError) as error:
        line = getattr(error, "lineno", None)
        raise UnreadableSource(f"is not valid Python: line {line}: {getattr(error, 'msg', error)}") from None
    except (RecursionError, MemoryError):
        reason = "it is nested too deeply: split its longest expression, or its longest chain of `elif`"
    if reason:
        raise UnreadableSource(f"cannot evolve: {reason.removesuffix('.')}")

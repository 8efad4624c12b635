"""What the command prints on its own, without rich: JSON, and lines on standard error."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import click

from agent.cli.streams import is_utf8
from agent.core.text import is_hidden, visible


def print_line(text: str) -> None:
    """Print a line, or several, on standard output."""
    click.echo(visible(text))


def print_to_stderr(line: str, *, end: str = "\n") -> None:
    with suppress(OSError):  # the terminal may be closed
        click.echo(visible(line) + end, err=True, nl=False)


def print_json(facts: Any) -> None:
    """Print facts as JSON. A list gets one line for each member: it may have ten thousand."""
    if isinstance(facts, list):
        lines = ",\n".join(_json(one) for one in facts)
        click.echo(f"[\n{lines}\n]")
    else:
        click.echo(_json(facts, indent=2))


def _json(facts: Any, indent: int | None = None) -> str:
    """The facts as JSON that a terminal can show: the same texts, but each character that would act on it escaped."""
    text = json.dumps(facts, indent=indent, ensure_ascii=not is_utf8())
    if text.isascii() and "\x7f" not in text:
        return text
    bad = {c for c in set(text) if is_hidden(c)}
    return text.translate({ord(c): json.dumps(c)[1:-1] if c != "\x7f" else "\\u007f" for c in bad})

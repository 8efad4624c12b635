"""What the command prints on its own, without rich: JSON, and lines on standard error."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import click

from agent.cli.streams import is_utf8


def print_to_stderr(line: str) -> None:
    with suppress(OSError):  # the terminal may be closed
        click.echo(line, err=True)


def print_json(facts: Any) -> None:
    """Print facts as JSON. A list gets one line for each member: it may have ten thousand."""
    if isinstance(facts, list):
        lines = ",\n".join(json.dumps(one, ensure_ascii=not is_utf8()) for one in facts)
        click.echo(f"[\n{lines}\n]")
    else:
        click.echo(json.dumps(facts, indent=2, ensure_ascii=not is_utf8()))

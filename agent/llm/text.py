"""Text helpers that several backends share: a conversation as one text, thoughts, estimated usage, redacted errors."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from urllib.parse import quote

from agent.core.text import one_line
from agent.llm.base import Message, Request, Usage

_SECRET_ENDINGS = ("_KEY", "_TOKEN", "_SECRET", "_PASSWORD", "_CREDENTIALS", "_KEY_ID")
_SHORTEST = 8
"""Characters of a secret: a shorter one would hide ordinary words."""
_TURNS = {"system": "Also", "user": "The reply to it", "assistant": "Your answer"}


def transcript(messages: Sequence[Message]) -> str:
    """Return a conversation as one text: the system message, a blank line, the user's prompt.

    Further messages follow when an answer is sent back for repair, each below a line such as `===== Your answer =====`
    or `===== The reply to it =====`. These lines have more equals signs than any run in the messages, so an answer
    cannot imitate one and pass its own text off as another turn.
    """
    longest = max((len(run) for message in messages for run in re.findall("=+", message.text)), default=0)
    bar = "=" * max(5, longest + 1)
    end_of_prompt = next((position for position, m in enumerate(messages, 1) if m.role == "user"), 0)
    parts = [m.text.strip("\n") for m in messages[:end_of_prompt]]
    parts += [f"{bar} {_TURNS[m.role]} {bar}\n\n{m.text.strip(chr(10))}" for m in messages[end_of_prompt:]]
    return "\n\n".join(filter(None, parts)) + "\n"


def without_thoughts(text: str) -> str:
    """Return the text without the `<think>` block that some reasoning models leave at the head of an answer."""
    return re.sub(r"\A\s*<think>.*?</think>\s*", "", text, flags=re.DOTALL)


def estimate_usage(request: Request, text: str) -> Usage:
    """Return the usage of a request and its answer, at four characters a token."""
    return Usage(sum(len(m.text) for m in request.messages) // 4, len(text) // 4, estimated=True)


def environment_secrets() -> tuple[str, ...]:
    """Return the values of environment variables that look like keys, which no error message may contain."""
    values = (value.strip() for name, value in os.environ.items() if name.upper().endswith(_SECRET_ENDINGS))
    return tuple(value for value in values if len(value) >= _SHORTEST)


def redact(text: str, secrets: Iterable[str]) -> str:
    """Return the text as one line without control characters, each secret replaced by `[key]`.

    Shorten the result, never the input: a secret that was cut in two would not be found.
    """
    line = one_line(text)
    for form in _forms(secrets):
        line = line.replace(form, "[key]")
    return line


def _forms(secrets: Iterable[str]) -> list[str]:
    """The forms in which secrets appear in errors, longest first: as they are, each line of them, as repr(), URL-quoted."""
    forms = set()
    for secret in secrets:
        for part in (secret, one_line(secret), *secret.splitlines()):
            shapes = (part, repr(part)[1:-1], repr(part.encode())[2:-1], quote(part, safe=""), ascii(part)[1:-1])
            forms |= {shape.strip() for shape in shapes if len(shape.strip()) >= _SHORTEST}
    return sorted(forms, key=len, reverse=True)

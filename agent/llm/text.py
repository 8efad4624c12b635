"""What several kinds of model share: a conversation as one text, thoughts, estimated usage, errors fit to be shown."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence

from agent.core.text import clean
from agent.llm.protocol import Message, Request, Usage

ANSWER_LIMIT = 2_000_000
"""Bytes of an answer that comes from a program or a file; more is no answer."""

_TURNS = {"system": "Also", "user": "The reply to it", "assistant": "Your answer"}


def transcript(messages: Sequence[Message]) -> str:
    """A conversation as one text: the system's words, a blank line, the user's prompt.

    If it goes on, as it does when an answer is sent back for repair, each further message stands below a line such as
    `===== Your answer =====` or `===== The reply to it =====`. These lines have more equals signs than any run in the
    messages: an answer cannot contain one, and so cannot speak in another's name.
    """
    longest = max((len(run) for message in messages for run in re.findall("=+", message.text)), default=0)
    bar = "=" * max(5, longest + 1)
    asked = next((place for place, m in enumerate(messages, 1) if m.role == "user"), 0)
    parts = [m.text.strip("\n") for m in messages[:asked]]
    parts += [f"{bar} {_TURNS[m.role]} {bar}\n\n{m.text.strip(chr(10))}" for m in messages[asked:]]
    return "\n\n".join(filter(None, parts)) + "\n"


def without_thoughts(text: str) -> str:
    """Some reasoning models leave their thoughts at the head of the answer."""
    return re.sub(r"\A\s*<think>.*?</think>\s*", "", text, flags=re.DOTALL)


def estimated_usage(request: Request, text: str) -> Usage:
    return Usage(sum(len(m.text) for m in request.messages) // 4, len(text) // 4, estimated=True)


def environment_secrets() -> tuple[str, ...]:
    """Values of the environment that no error may tell."""
    values = (value.strip() for name, value in os.environ.items() if name.endswith(("_KEY", "_TOKEN", "_SECRET")))
    return tuple(value for value in values if len(value) >= 8)


def presentable(text: str, secrets: Iterable[str]) -> str:
    """One line without control characters and secrets; to be cut afterwards, since half a secret would not be found."""
    line = " ".join(clean(text).split())
    for secret in secrets:
        line = line.replace(secret, "[key]")
    return line

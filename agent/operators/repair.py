"""Repair: continue a conversation with the answer that could not be used and the reasons why."""

from __future__ import annotations

from collections.abc import Sequence

from agent.core.text import clean, fence
from agent.llm import Message
from agent.operators.templates import Prompts

ANSWER_LIMIT, REASONS_LIMIT = 20_000, 3_000
"""Characters that are sent back at most: an answer may be anything, a reason may hold a candidate's whole output."""


def repair(prompts: Prompts, messages: tuple[Message, ...], answer: str, reasons: Sequence[str]) -> tuple[Message, ...]:
    """The messages that ask for a repair: `messages` as they were sent, the `answer` to them, and why it cannot be used."""
    text = _shortened("\n".join(f"- {clean(reason).strip()}" for reason in reasons), REASONS_LIMIT)
    return follow_up(messages, answer, prompts.parts["repair"].fill(reasons=fence(text, "text")))


def follow_up(messages: tuple[Message, ...], answer: str, reply: str) -> tuple[Message, ...]:
    """The messages, the model's answer to them, and the user's reply to that answer."""
    # Providers refuse an empty message.
    answered = Message("assistant", _shortened(answer, ANSWER_LIMIT).strip() or "(no answer)")
    return (*messages, answered, Message("user", reply))


def _shortened(text: str, limit: int) -> str:
    """Head and tail of a text that is too long: the tail of a log usually says what went wrong."""
    if len(text) <= limit:
        return text
    return f"{text[: limit // 2]}\n[... {len(text) - limit:,} characters left out ...]\n{text[-limit // 2 :]}"

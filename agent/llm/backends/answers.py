"""Read a provider's answer, whatever its shape: text, usage, and why there is no text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agent.core.text import one_line, valid_text
from agent.llm.base import LONGEST_COMPLAINT, Request, Usage
from agent.llm.text import estimate_usage, without_thoughts

_REASONING = ("reasoning_content", "reasoning")
"""Where servers put the thoughts of a reasoning model."""


def text_of(answer: Any) -> str:
    """The text, without a reasoning model's thoughts, which some servers leave at its head or in a part of it."""
    message = _message(answer)
    return valid_text(without_thoughts(_joined(_field(message, "content"))))


def usage_of(answer: Any, request: Request) -> Usage:
    """As the provider counted; estimated where it did not, or not in numbers."""
    counted = _field(answer, "usage")
    tokens_in, tokens_out = (_count(_field(counted, key)) for key in ("prompt_tokens", "completion_tokens"))
    if not tokens_in and not tokens_out:
        return estimate_usage(request, text_of(answer))
    cached = _count(_field(_field(counted, "prompt_tokens_details"), "cached_tokens"))
    return Usage(tokens_in, tokens_out, tokens_cached=min(tokens_in, cached))


def finish_of(answer: Any) -> str:
    """Why the answer ends: `stop`, `length`, or the provider's own word."""
    choice = _choice(answer)
    return str(_field(choice, "finish_reason") or "stop") if choice is not None else "empty"


def upstream_error(answer: Any) -> str | None:
    """The words of an error that came in the place of an answer; None if there is none."""
    choice = _choice(answer)
    error = _field(choice, "error") or _field(answer, "error")
    if error is None and finish_of(answer) != "error":
        return None
    message = _field(error, "message") or (error if isinstance(error, str) else None)
    return one_line(str(message or "the answer ends with an error"), LONGEST_COMPLAINT)


def why_empty(answer: Any) -> str:
    """A sentence about an answer without text: what it holds instead, and what helps."""
    message, finish = _message(answer), finish_of(answer)
    if refusal := _field(message, "refusal"):
        return f"The model refused: {one_line(str(refusal), LONGEST_COMPLAINT)}"
    if finish == "content_filter":
        return "The answer is empty: the provider's content filter stopped it."
    if _field(message, "tool_calls"):
        return "The answer is a call of a tool instead of text, although no tool was offered."
    if any(_field(message, key) for key in _REASONING):
        remedy = "allow more tokens (llm.max_tokens), or turn the server's reasoning parser off"
        return f"The answer is empty: it holds reasoning and no text; {remedy}."
    return f"The answer is empty (finish reason {finish})."


def _choice(answer: Any) -> Any:
    choices = _field(answer, "choices")
    return choices[0] if isinstance(choices, list) and choices else None


def _message(answer: Any) -> Any:
    return _field(_choice(answer), "message")


def _joined(content: Any) -> str:
    """A text; the parts of a list, be they texts or objects with one; the text of an object."""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return "".join(_joined(part) for part in content if _is_text(part))
    text = _field(content, "text")
    return text if isinstance(text, str) else ""


def _is_text(part: Any) -> bool:
    """Thoughts are parts of another type."""
    return isinstance(part, str) or _field(part, "type") in ("text", "output_text", None)


def _count(value: Any) -> int:
    """Some servers write numbers as text."""
    try:
        return max(0, int(value or 0))
    except (TypeError, ValueError, OverflowError):
        return 0


def _field(value: Any, name: str) -> Any:
    return value.get(name) if isinstance(value, Mapping) else getattr(value, name, None)

"""What a model's server does not take: remembered from its complaints, and left out or made smaller from then on."""

from __future__ import annotations

import re
from typing import Any

from agent.llm.base import Message, Request

LEAST_TOKENS = 256
"""A limit on the answer is not lowered below this: no program fits in less."""
_MARGIN = 64
"""Tokens that are left free beside an estimated prompt."""
_LONGEST = 4_000
"""Characters of a complaint that are read."""
_NUMBER = re.compile(r"\d[\d,_]*")
_CONTEXT = re.compile(r"(?:context|sequence)[^.]{0,80}?(?:length|window|size|limit)[^.]{0,80}?(\d[\d,_]*)")
_PROMPT = re.compile(r"(\d[\d,_]*)(?: tokens)? (?:in|from|of) (?:the |your )?(?:messages|input|prompt)")
_BUDGET = re.compile(r"limit:? (\d[\d,_]*)\D+requested:? (\d[\d,_]*)")
"""As in `on tokens per minute (TPM): Limit 6000, Requested 17204`."""


class Adaptation:
    """Turns requests into bodies as this model takes them. Callers in several threads may learn at the same time."""

    def __init__(self) -> None:
        self._without_temperature = self._without_system = False
        self._token_key = "max_tokens"
        self._most_tokens: int | None = None
        """Of an answer."""
        self._context: int | None = None
        """Tokens of a prompt and its answer together."""

    def body(self, request: Request) -> dict[str, Any]:
        """What is sent besides the model's name."""
        messages = _without_system(request.messages) if self._without_system else request.messages
        body: dict[str, Any] = {"messages": [{"role": m.role, "content": m.text} for m in messages]}
        if request.temperature is not None and not self._without_temperature:
            body["temperature"] = request.temperature
        if request.max_tokens is not None:
            body[self._token_key] = self._tokens(request, request.max_tokens)
        return body

    def of(self, request: Request) -> tuple[str, ...]:
        """What is changed of this request, in words for the journal."""
        body, changes = self.body(request), []
        if self._without_system and any(m.role == "system" for m in request.messages):
            changes.append("the system message stands at the head of the user's")
        if request.temperature is not None and "temperature" not in body:
            changes.append("no temperature")
        tokens = body.get(self._token_key)
        if tokens != request.max_tokens:
            changes.append(f"at most {tokens} tokens")
        return tuple(changes)

    def learn(self, complaint: str, sent: dict[str, Any]) -> bool:
        """Learn from a refusal of the body `sent`; False if it is about nothing that can be taken back.

        What was sent counts, not what is known: another thread may have learnt the same meanwhile.
        """
        text = complaint[:_LONGEST].lower()  # a server may say anything, at any length
        if "temperature" in text and "temperature" in sent:
            self._without_temperature = True
            return True
        if "max_completion_tokens" in text and "max_tokens" in sent:
            self._token_key = "max_completion_tokens"
            return True
        if ("system" in text or "developer instruction" in text) and sent["messages"][0]["role"] == "system":
            self._without_system = True
            return True
        return self._learn_length(text, sent)

    def _learn_length(self, text: str, sent: dict[str, Any]) -> bool:
        """From a complaint about too many tokens: the model's limit on an answer, or its context."""
        asked = sent.get("max_tokens", sent.get("max_completion_tokens"))
        if asked is None or not ("token" in text or "context" in text):
            return False
        if budget := _BUDGET.search(text):
            limit, requested = map(_integer, budget.groups())
            return self._lower(asked - (requested - limit), asked)
        if context := _CONTEXT.search(text):
            size, prompt = _integer(context[1]), _PROMPT.search(text)
            needed = _integer(prompt[1]) if prompt else _estimated(sent["messages"])
            if LEAST_TOKENS <= size - needed < asked:
                self._context = size
                return True
            # The answer was small enough by that count: the prompt has more tokens than were estimated.
            fewer = size - needed if size - needed < asked else asked // 2
            return self._lower(fewer, asked)
        named = [n for n in map(_integer, _NUMBER.findall(text)) if LEAST_TOKENS <= n < asked]
        if "max" in text or "too large" in text or "at most" in text:
            return self._lower(max(named, default=asked // 2), asked)
        return False

    def _lower(self, tokens: int, asked: int) -> bool:
        """Allow fewer tokens than were asked for; False if that is none, or too few for a program."""
        if not LEAST_TOKENS <= tokens < asked:
            return False
        self._most_tokens = min(tokens, self._most_tokens or tokens)
        return True

    def _tokens(self, request: Request, wanted: int) -> int:
        tokens = min(wanted, self._most_tokens or wanted)
        if self._context is not None:
            room = self._context - _estimated([{"content": m.text} for m in request.messages])
            tokens = max(LEAST_TOKENS, min(tokens, room))
        return tokens


def _without_system(messages: tuple[Message, ...]) -> tuple[Message, ...]:
    """The text of the system messages at the head of the first one of the user."""
    told = "\n\n".join(m.text for m in messages if m.role == "system")
    rest = [m for m in messages if m.role != "system"]
    if not told or not rest:
        return messages
    return (Message("user", f"{told}\n\n{rest[0].text}"), *rest[1:])


def _estimated(messages: Any) -> int:
    """Tokens of a prompt, at three characters each: code takes more than prose."""
    return sum(len(message["content"]) for message in messages) // 3 + _MARGIN


def _integer(text: str) -> int:
    return int(re.sub(r"\D", "", text))

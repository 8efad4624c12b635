"""The protocol of a language model: request, completion, usage, errors, and the settings that every backend reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

from agent.core.errors import MachineError

EMPTY_ANSWER_RETRIES = 1
"""How often a backend asks again after an answer without text."""
LONGEST_PAUSE_SECONDS = 60.0
"""Upper bound of a pause between two attempts, unless the provider names a longer one."""
ANSWER_LIMIT_BYTES = 2_000_000
"""The longest answer that is accepted from a program or a file."""


LONGEST_COMPLAINT = 400
"""Characters of a provider's or a program's error message that are shown."""


class LanguageModelDown(MachineError):
    """The provider did not answer, after all retries and within the deadline. The run can be resumed later."""

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        """`retry_after`: pause in seconds that the provider asked for, if it is longer than a call may take."""
        super().__init__(message)
        self.retry_after = retry_after


class LanguageModelRefused(MachineError):
    """The provider will never answer: wrong key, unknown model, no credit. Retrying is useless."""


class RequestRejected(Exception):
    """The provider refuses this one request (too long, filtered): the candidate fails, the run goes on."""


@dataclass(frozen=True)
class LlmSettings:
    """How models are reached."""

    api_base: str | None = None
    """Address of an OpenAI-compatible endpoint."""
    key_variable: str = "OPENAI_API_KEY"
    """The environment variable that holds the key for that endpoint."""
    deadline_seconds: float = 600.0
    """For one answer, including retries and the pauses between them."""
    attempts: int = 6
    first_wait_seconds: float = 0.5
    """Pause before the second attempt; doubles with each further one, with jitter, unless the provider names a pause."""
    prices: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    """US dollars per million tokens (in, out, and in from the provider's cache where that is cheaper), by model name; they
    take precedence over the bundled table."""


@dataclass(frozen=True)
class Message:
    role: Literal["system", "user", "assistant"]
    text: str


@dataclass(frozen=True)
class Request:
    messages: tuple[Message, ...]
    seed: int = 0
    temperature: float | None = None
    """None: not sent, the provider uses its default."""
    max_tokens: int | None = None
    """Upper bound of the answer, reasoning included. None: not sent, the model uses its default."""
    tries: int | None = None
    """Most attempts of this call. None: as many as the settings allow."""


@dataclass(frozen=True)
class Usage:
    """Tokens as counted by the provider; `estimated` if at least a part is characters / 4 because it did not count."""

    tokens_in: int
    tokens_out: int
    estimated: bool = False
    tokens_cached: int = 0
    """Of `tokens_in`: what the provider had in its cache from an earlier prompt with the same beginning."""

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.tokens_in + other.tokens_in,
            self.tokens_out + other.tokens_out,
            self.estimated or other.estimated,
            self.tokens_cached + other.tokens_cached,
        )


@dataclass(frozen=True)
class Completion:
    text: str
    """May be empty: some providers send an empty answer with status 200."""
    finish_reason: str
    """`stop`, `length` (the answer was cut), or the provider's own word."""
    usage: Usage
    """All tokens paid for, those of empty answers before this one included."""
    usd: float | None
    """None: the price of this model is unknown. Zero only for models that cost nothing."""
    seconds: float
    model: str
    """Name of the model that answered."""
    adapted: tuple[str, ...] = ()
    """What was sent otherwise than asked for, because the provider takes it in no other way."""
    missing: str = ""
    """Why there is no text, in a sentence; empty if there is."""


class LanguageModel(Protocol):
    """Can be called from several threads at once."""

    name: str
    waits_for_person: bool
    """True if a person writes the answers: calls may take days, and ending one costs nothing."""

    def complete(self, request: Request) -> Completion:
        """Return the answer. Raises LanguageModelDown, LanguageModelRefused or RequestRejected.

        Raises concurrent.futures.CancelledError if another thread closes the model meanwhile.
        """
        ...

    def close(self) -> None:
        """End the calls under way and release what the model holds. May be called several times."""
        ...

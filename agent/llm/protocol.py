"""The one small protocol behind which every model stands."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

from agent.core.errors import MachineError


class LanguageModelDown(MachineError):
    """The provider did not answer, after all retries and within the deadline. The run can be resumed later."""

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        """`retry_after`: seconds for which the provider asked to be left alone, if that is longer than a call may take."""
        super().__init__(message)
        self.retry_after = retry_after


class LanguageModelRefused(MachineError):
    """The provider will never answer this: wrong key, unknown model, no credit. Retrying costs time only."""


class RequestRejected(Exception):
    """The provider refuses this one request (too long, filtered): the child's failure, not the run's end."""


@dataclass(frozen=True)
class Message:
    role: Literal["system", "user", "assistant"]
    text: str


@dataclass(frozen=True)
class Request:
    messages: tuple[Message, ...]
    seed: int = 0
    temperature: float | None = None
    """None: not sent, the provider's default."""
    max_tokens: int | None = None
    """Upper bound of the answer, reasoning included. None: the model's own default."""


@dataclass(frozen=True)
class Usage:
    """Tokens as the provider counted them; `estimated` where it did not say and characters / 4 stand in."""

    tokens_in: int
    tokens_out: int
    estimated: bool = False


@dataclass(frozen=True)
class Completion:
    text: str
    """May be empty: some providers answer nothing with status 200."""
    finish_reason: str
    """`stop`, `length` (the answer was cut), or what the provider says."""
    usage: Usage
    usd: float | None
    """None: the price of this model is not known. Zero only for models that cost nothing."""
    seconds: float
    model: str


class LanguageModel(Protocol):
    """Answers from several threads at once."""

    name: str
    patient: bool
    """Waits for a person: a call that is given up costs nothing."""

    def complete(self, request: Request) -> Completion:
        """Raises LanguageModelDown, LanguageModelRefused, or RequestRejected."""
        ...

    def close(self) -> None: ...

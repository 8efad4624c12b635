"""What each child has cost and what its last answer said: kept from the events until the child is learned from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from agent.events import Answered, Event, Settled


@dataclass(slots=True)
class Account:
    """Of one child."""

    usd: float = 0.0
    seconds: float = 0.0
    """Of its models and of its evaluation."""
    answer: str = ""
    """The last one: what the child was made of, or failed by."""


class Accounts:
    """A fold over the events of a run, those of earlier processes included."""

    def __init__(self) -> None:
        self._open: dict[str, Account] = {}

    def see(self, event: Event) -> None:
        if isinstance(event, Answered):
            completion = event.completion
            self._answered(event.id, completion.usd, completion.seconds, completion.text)
        elif isinstance(event, Settled) and event.seconds is not None:
            self._of(event.outcome.id).seconds += event.seconds

    def recall(self, rows: Iterable[tuple[float, str, str, Mapping[str, Any]]]) -> None:
        """The journal's rows, before the first event of this process."""
        for _, kind, key, data in rows:
            if kind == "answered":
                self._answered(key.partition("/")[0], data["usd"], data["seconds"], data["text"])
            elif kind == "settled":
                self._of(key).seconds += data.get("seconds") or 0.0

    def take(self, id: str) -> Account:
        """Closes the account: a child is learned from once."""
        return self._open.pop(id, None) or Account()

    def _answered(self, id: str, usd: float | None, seconds: float, text: str) -> None:
        account = self._of(id)
        account.usd += usd or 0.0
        account.seconds += seconds
        account.answer = text

    def _of(self, id: str) -> Account:
        return self._open.setdefault(id, Account())

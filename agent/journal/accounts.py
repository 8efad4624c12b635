"""What each child has cost and what its last answer said: kept from the events until the child is learned from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from agent.journal.events import Answered, Event, Settled


@dataclass(slots=True)
class Account:
    """Of one child."""

    usd: float = 0.0
    seconds: float = 0.0
    """Of its models and of its evaluation."""
    answer: str = ""
    """The last one: what the child was made of, or failed by."""
    models: tuple[str, ...] = ()
    """Those that answered, in the order of their first answers: others than were drawn, where one stood in."""

    def of(self, drawn: str) -> str:
        """The model that a part of the child is owed to: the drawn one, unless only others answered."""
        return drawn if drawn in self.models or not self.models else self.models[-1]


class Accounts:
    """A fold over the events of a run, those of earlier processes included."""

    def __init__(self) -> None:
        self._open: dict[str, Account] = {}

    def see(self, event: Event) -> None:
        if isinstance(event, Answered):
            completion = event.completion
            self._answered(event.id, completion.model, completion.usd, completion.seconds, completion.text)
        elif isinstance(event, Settled) and event.seconds is not None:
            self._of(event.outcome.id).seconds += event.seconds

    def recall(self, rows: Iterable[tuple[float, str, str, Mapping[str, Any]]]) -> None:
        """The journal's rows, before the first event of this process."""
        for _, kind, key, data in rows:
            if kind == "answered":
                self.answered(key.partition("/")[0], data)
            elif kind == "settled":
                self._of(key).seconds += data.get("seconds") or 0.0

    def answered(self, id: str, row: Mapping[str, Any]) -> None:
        """A journal's row; its text may be left out."""
        self._answered(id, row["model"], row["usd"], row["seconds"], row.get("text", ""))

    def look(self, id: str) -> Account:
        """As it stands."""
        return self._open.get(id) or Account()

    def take(self, id: str) -> Account:
        """Closes the account: a child is learned from once."""
        return self._open.pop(id, None) or Account()

    def _answered(self, id: str, model: str, usd: float | None, seconds: float, text: str) -> None:
        account = self._of(id)
        if model not in account.models:
            account.models += (model,)
        account.usd += usd or 0.0
        account.seconds += seconds
        account.answer = text

    def _of(self, id: str) -> Account:
        return self._open.setdefault(id, Account())

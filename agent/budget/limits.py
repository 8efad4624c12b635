"""What the user allows a run to spend."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo

from agent.core.errors import UserError

HOUR = 3600.0


@dataclass(frozen=True)
class RunLimits:
    """What a run may spend at most, all its processes together. None: no limit."""

    hours: float | None = None
    """Wall time during which some process works on the run and the machine is awake."""
    until: str | None = None
    """A local time, HH:MM: the next one after the run's first start. A resume keeps that moment, unless it names a new one."""
    usd: float | None = None
    """Cost of all model calls."""
    tokens: int | None = None
    """Of all prompts and answers."""
    gpu_hours: float | None = None
    """GPUs times hours of all evaluations."""
    variants: int | None = None
    """Candidates that are proposed, whatever becomes of them."""
    reserve: float = 0.1
    """Share of hours, until, usd and gpu_hours that is kept for what follows the search."""
    grace_seconds: float = 60.0
    """How long what is under way may go on when the time of the search is over."""

    __pydantic_config__ = {"extra": "forbid"}

    def __post_init__(self) -> None:
        for name in ("hours", "usd", "tokens", "gpu_hours", "variants"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise ValueError(f"{name} must be a number above 0; leave it out for no limit")
        if self.until is not None and not re.fullmatch(r"([01]?\d|2[0-3]):[0-5]\d", self.until, re.ASCII):
            raise ValueError(f"until must be a local time such as 07:30, not {self.until!r}")
        if not 0 <= self.reserve <= 0.9:
            raise ValueError("reserve is a share, from 0 to 0.9")
        if not 0 <= self.grace_seconds < math.inf:
            raise ValueError("grace_seconds cannot be negative or without end")

    @property
    def share(self) -> float:
        """Of time and money, for the search."""
        return 1 - self.reserve


PriceOf = Callable[[str], tuple[float, float] | None]
"""US dollars of a token (in, out) by model; None: unknown."""


def check(limits: RunLimits, models: Sequence[str], price_of: PriceOf) -> None:
    """Raises UserError if dollars are limited and those of some model cannot be counted."""
    if limits.usd is None:
        return
    for model in models:
        if model != "offline" and price_of(model) is None:
            raise UserError(
                f"limits.usd cannot be held, since the price of {model} is unknown: give llm.prices.\"{model}\" = [in, out], "
                "in dollars per million tokens."
            )


def next_time(text: str, now: float, zone: tzinfo | None = None) -> float:
    """The moment (seconds since the epoch) of the next local time `HH:MM` after `now`. `zone`: None is the system's.

    A time that comes twice, when clocks are set back, is its next occurrence; one that is skipped, when they are set
    forward, is the moment at which it would have come.
    """
    hour, minute = map(int, text.split(":"))
    today = datetime.fromtimestamp(now, zone)
    moments = []
    for day in (today - timedelta(days=1), today, today + timedelta(days=1), today + timedelta(days=2)):
        local = day.replace(hour=hour, minute=minute, second=0, microsecond=0)
        both = [local.replace(fold=fold).timestamp() for fold in (0, 1)]
        real = [m for m in both if (t := datetime.fromtimestamp(m, zone)).hour == hour and t.minute == minute]
        moments.extend(real or both[:1])
    return min(m for m in moments if m > now)


def seconds_left(
    limits: RunLimits, started: float | None, used: float, wall: float, zone: tzinfo | None = None
) -> dict[str, float]:
    """Seconds until the search must end, by limit; negative when that is past.

    `started`: the run's first start (None: now) and `wall`: now, in seconds since the epoch; `used`: seconds of the run.
    """
    ends = {}
    if limits.hours is not None:
        ends["hours"] = limits.hours * limits.share * HOUR - used
    if limits.until is not None:
        started = wall if started is None else started
        moment = next_time(limits.until, started, zone)
        ends["until"] = started + (moment - started) * limits.share - wall
    return ends

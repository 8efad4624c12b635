"""Time in a run: the clock, how much time is used, and when a local time such as 07:30 comes next."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo

HOUR = 3600.0


@dataclass(frozen=True)
class Clock:
    """The functions that read the time. A test can replace them."""

    seconds: Callable[[], float] = time.monotonic
    """Seconds for durations: never jumps, and stands still while the machine sleeps."""
    wall: Callable[[], float] = time.time
    """Seconds since the epoch, for `until` alone: it may jump."""
    zone: tzinfo | None = None
    """None: the system's local time."""


SYSTEM_CLOCK = Clock()


@dataclass(frozen=True)
class RunTime:
    """How much time a run has used, and the time now."""

    used: float
    """Seconds during which its processes worked on it."""
    started: float | None
    """Seconds since the epoch of the start from which `limits.until` is counted; None: not started yet."""
    now: float
    """Seconds since the epoch."""
    zone: tzinfo | None = None
    """None: the system's local time."""

    def local(self, seconds: float = 0.0) -> str:
        """The local time, HH:MM, so many seconds from now."""
        return f"{datetime.fromtimestamp(self.now + seconds, self.zone):%H:%M}"


def next_time(text: str, now: float, zone: tzinfo | None = None) -> float:
    """The moment (seconds since the epoch) of the next local time `HH:MM` after `now`. `zone`: None is the system's.

    If the time comes twice because clocks are set back, the next occurrence counts. If it is skipped because clocks are set
    forward, the moment counts at which it would have come.
    """
    hour, minute = map(int, text.split(":"))
    today = datetime.fromtimestamp(now, zone)
    moments = []
    for day in (today - timedelta(days=1), today, today + timedelta(days=1), today + timedelta(days=2)):
        local = day.replace(hour=hour, minute=minute, second=0, microsecond=0)
        both = [local.replace(fold=fold).timestamp() for fold in (0, 1)]
        existing = [one for one in both if f"{datetime.fromtimestamp(one, zone):%H:%M}" == f"{hour:02d}:{minute:02d}"]
        moments.extend(existing or both[:1])
    return min(moment for moment in moments if moment > now)

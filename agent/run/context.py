"""What the parts of one run share, in one object."""

from __future__ import annotations

from dataclasses import dataclass, field

from agent.journal.events import Record
from agent.journal.replay import Replay
from agent.journal.tracker import Tracker
from agent.run.admission import Admission
from agent.run.config import Config


@dataclass(frozen=True)
class RunContext:
    """Handed to whatever breeds, evaluates, measures the noise or drives the search."""

    record: Record
    """Journals an event and tells everybody who follows the run; returns when it is safe on disk."""
    config: Config = field(default_factory=Config)
    replay: Replay = field(default_factory=Replay)
    """What earlier processes of the run did: looked at before anything is done again."""
    admission: Admission = field(default_factory=Admission)
    """Asked before anything is spent."""
    tracker: Tracker = field(default_factory=Tracker)
    """Where each candidate is."""

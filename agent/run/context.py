"""The objects that the parts of one run share."""

from __future__ import annotations

from dataclasses import dataclass, field

from agent.journal.events import Record
from agent.journal.replay import Replay
from agent.journal.tracker import Tracker
from agent.run.admission import Admission
from agent.run.config import Config


@dataclass(frozen=True)
class RunContext:
    """Passed to the parts that breed, evaluate, measure the noise or drive the search."""

    record: Record
    """Records an event in the journal and passes it on to all that follow the run; returns when it is safe on disk."""
    config: Config = field(default_factory=Config)
    replay: Replay = field(default_factory=Replay)
    """What earlier processes of the run did, so that nothing is done twice."""
    admission: Admission = field(default_factory=Admission)
    """Asked before anything is spent."""
    tracker: Tracker = field(default_factory=Tracker)
    """Knows the stage of each candidate."""

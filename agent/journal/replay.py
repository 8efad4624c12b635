"""What a journal holds of earlier processes of its run, so that a resume repeats nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from agent.journal.events import DirectiveWritten, Generalised, Repeated
from agent.llm import Completion, Message
from agent.memory import Lesson
from agent.population.candidate import Candidate, Failure, Individual, Outcome, Variant


@dataclass(frozen=True)
class RecordedConversation:
    """What the journal knows of the conversation with a model about one child."""

    messages: tuple[Message, ...]
    answer: str
    calls: int
    repaired: int


@dataclass(frozen=True)
class Replay:
    """What an earlier process of the same run already did: pools look here first, so that a resume repeats nothing."""

    answers: Mapping[tuple[str, int], Completion] = field(default_factory=dict)
    variants: Mapping[str, Variant] = field(default_factory=dict)
    outcomes: Mapping[str, Individual | Failure] = field(default_factory=dict)
    candidates: Mapping[str, Candidate] = field(default_factory=dict)
    commits: Mapping[str, str] = field(default_factory=dict)
    """Commit by id."""
    conversations: Mapping[str, RecordedConversation] = field(default_factory=dict)
    """Of the variants that are not settled."""
    asked: Mapping[tuple[str, int], tuple[Message, ...]] = field(default_factory=dict)
    """What was sent in the calls of those that are not settled: a call that is made again says the same."""
    lessons: Mapping[str, Lesson] = field(default_factory=dict)
    """By the child's id."""
    repeats: Mapping[int, Repeated] = field(default_factory=dict)
    """By training seed."""
    history: tuple[Candidate | Outcome | Generalised | DirectiveWritten, ...] = ()
    """What was drawn, settled, generalised and written, in that order: a candidate stands for its being drawn."""

"""Read from a journal what earlier processes of a run have done, so that a resume does nothing twice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Set
from dataclasses import dataclass, field

from agent.genome import Genome
from agent.journal.codec import (
    read_candidate,
    read_completion,
    read_elite_retrained,
    read_lesson,
    read_messages,
    read_outcome,
    read_seed,
    read_seed_repeated,
    read_variant,
    split_call_key,
)
from agent.journal.events import DirectiveWritten, EliteRetrained, Generalised, SeedRepeated
from agent.journal.store import Journal
from agent.llm import Completion, Message
from agent.memory import Lesson
from agent.population.candidate import SEED_ID, Candidate, Failure, Individual, Outcome, Variant

Remembered = Candidate | Outcome | EliteRetrained | Generalised | DirectiveWritten
"""What the search learns from. A `Candidate` stands for its proposal."""
_Prompts = dict[tuple[str, int], tuple[Message, ...]]
"""The prompt by id and number of the call."""


@dataclass(frozen=True)
class RecordedConversation:
    """The last state of the conversation with a model about one candidate."""

    messages: tuple[Message, ...]
    """The messages that were sent last."""
    answer: str
    """The answer to these messages."""
    calls: int
    repaired: int
    """How often a program of it was sent back from the smoke stage: 0 or 1."""


@dataclass(frozen=True)
class Replay:
    """What earlier processes of the run have done. The pools look here before they do any work."""

    answers: Mapping[tuple[str, int], Completion] = field(default_factory=dict)
    """By id and number of the call."""
    variants: Mapping[str, Variant] = field(default_factory=dict)
    outcomes: Mapping[str, Individual | Failure] = field(default_factory=dict)
    """Without duplicates: the archive decides again which candidates are duplicates."""
    candidates: Mapping[str, Candidate] = field(default_factory=dict)
    commits: Mapping[str, str] = field(default_factory=dict)
    """Hash of the commit by id."""
    conversations: Mapping[str, RecordedConversation] = field(default_factory=dict)
    """By id, for the variants that are not settled."""
    asked: Mapping[tuple[str, int], tuple[Message, ...]] = field(default_factory=dict)
    """Prompts by id and number of the call, of the candidates that are not settled and of questions about the search: a call that
    is repeated sends the same."""
    lessons: Mapping[str, Lesson] = field(default_factory=dict)
    """By the candidate's id."""
    seed: Individual | None = None
    """None: it is not trained yet."""
    repeats: Mapping[int, SeedRepeated] = field(default_factory=dict)
    """Trainings of the seed for the noise floor that have not failed, by training seed."""
    readings: Mapping[tuple[str, int], EliteRetrained] = field(default_factory=dict)
    """Trainings of elites with other training seeds, by id and training seed."""
    history: tuple[Remembered, ...] = ()
    """All of it in the order in which it happened."""


def read_replay(journal: Journal, like: Genome) -> Replay:
    """`like`: the seed's genome, from which the rules (frozen blocks, entry points) of all genomes are taken.

    Raises MachineError if the journal was damaged.
    """
    candidates = {key: read_candidate(data) for _, _, key, data in journal.events("drawn")}
    variants = {
        id: read_variant(data, candidates[id], like)
        for _, _, key, data in journal.events("bred", "mended")
        if (id := key.partition("/")[0]) in candidates
    }
    history = _history(journal, candidates, variants)
    outcomes = {one.id: one for one in history if isinstance(one, Individual | Failure)}
    asked = _asked(journal, outcomes.keys())
    return Replay(
        answers={split_call_key(key): read_completion(data) for _, _, key, data in journal.events("answered")},
        variants=variants,
        outcomes=outcomes,
        candidates=candidates,
        commits={key: data["commit"] for _, _, key, data in journal.events("committed")},
        conversations=_conversations(journal, asked, variants.keys() - outcomes.keys()),
        asked=asked,
        lessons={key: read_lesson(data) for _, _, key, data in journal.events("learned")},
        seed=next((read_seed(data, like) for _, _, _, data in journal.events("settled", key=SEED_ID)), None),
        repeats={int(key): read_seed_repeated(key, data) for _, _, key, data in journal.events("repeated") if data["fitness"]},
        readings={(one.id, one.training_seed): one for one in history if isinstance(one, EliteRetrained)},
        history=tuple(history),
    )


def _history(journal: Journal, candidates: Mapping[str, Candidate], variants: Mapping[str, Variant]) -> list[Remembered]:
    history: list[Remembered] = []
    for _, kind, key, data in journal.events("drawn", "settled", "reading", "generalised", "directive"):
        if kind == "drawn":
            history.append(candidates[key])
        elif kind == "reading":
            history.append(read_elite_retrained(key, data))
        elif kind == "generalised":
            history.append(Generalised(key, tuple(data["sources"]), data["text"]))
        elif kind == "directive":
            history.append(DirectiveWritten(key, data["text"], data["origin"]))
        elif data["outcome"] != "seed":
            history.append(read_outcome(data, candidates[key], variants.get(key)))
    return history


def _asked(journal: Journal, ended: Set[str]) -> _Prompts:
    """The prompts that were sent for all but these candidates, and with the questions about the search."""
    rows = ((split_call_key(key), data) for _, _, key, data in journal.events("asked"))
    return {call: read_messages(data) for call, data in rows if call[0] not in ended}


def _conversations(journal: Journal, asked: _Prompts, ids: Set[str]) -> dict[str, RecordedConversation]:
    """The conversations about the candidates with these ids that have both a prompt and an answer."""
    messages = {id: prompt for (id, _), prompt in asked.items()}  # the last one of each
    answers: dict[str, list[str]] = {}
    for _, _, key, data in journal.events("answered"):
        answers.setdefault(split_call_key(key)[0], []).append(data["text"])
    repaired = Counter(key.partition("/")[0] for _, _, key, _ in journal.events("mended"))
    return {
        id: RecordedConversation(messages[id], answers[id][-1], len(answers[id]), repaired[id])
        for id in ids
        if id in answers and id in messages
    }

"""What a journal holds of the confirmations of a run: the frozen shortlist, the trainings so far, the verdicts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from agent.core.objectives import Objective
from agent.core.verdicts import Role, Sample, Verdicts, judge
from agent.journal.codec import read_retrained, read_shortlist, read_verdicts
from agent.journal.events import Retrained, ShortlistFrozen
from agent.journal.store import Journal
from agent.population.candidate import SEED_ID


@dataclass
class ConfirmationRecord:
    """One confirmation as far as it has come."""

    shortlist: ShortlistFrozen
    trainings: dict[int, Retrained] = field(default_factory=dict)
    """Those that ended, by training seed."""
    is_opened: bool = False
    """Its opening of the test split is recorded."""
    verdicts: Verdicts | None = None
    """None until every training was made."""

    @property
    def is_complete(self) -> bool:
        return self.verdicts is not None

    def samples(self) -> list[Sample]:
        """What was measured of each program, on the split that is judged, in the order of the training seeds."""
        frozen = self.shortlist
        found = []
        for id, search in frozen.members.items():
            role: Role = "seed" if id == SEED_ID else "null" if id in frozen.nulls else "member"
            seeds = [seed for who, seed in frozen.plan if who == id]
            made = [self.trainings[seed] for seed in seeds if seed in self.trainings]
            validation = [one.values for one in made if one.values is not None]
            test = [one.test_values for one in made if one.test_values is not None]
            failures = [one.reason for one in made if one.values is None]
            judged = test if frozen.has_test_split else validation
            found.append(Sample(id, role, judged, failures, len(seeds), search, validation))
        return found

    def judge(self, objectives: Sequence[Objective]) -> Verdicts:
        """The verdicts, of which all that are not known yet are `undecided`."""
        return self.verdicts or judge(self.samples(), objectives, self.shortlist.margin)


def read_confirmations(journal: Journal) -> list[ConfirmationRecord]:
    """All of a run, the oldest first. Raises MachineError if the journal was damaged."""
    found: dict[int, ConfirmationRecord] = {}
    for _, kind, key, data in journal.events("shortlist", "opened", "retrained", "verdicts"):
        number = int(key.partition("/")[0])
        match kind:
            case "shortlist":
                found[number] = ConfirmationRecord(read_shortlist(key, data))
            case "opened":
                found[number].is_opened = True
            case "retrained":
                training = read_retrained(key, data)
                found[number].trainings[training.training_seed] = training
            case "verdicts":
                found[number].verdicts = read_verdicts(data)
    return list(found.values())


def count_openings(records: Iterable[ConfirmationRecord]) -> int:
    """How often the test split was opened: by how many confirmations."""
    return sum(one.is_opened for one in records)


def search_end(journal: Journal) -> tuple[str, str]:
    """(state, reason) in which the search of a run ended last, whatever a confirmation did after it; stopped if unknown."""
    state, confirms, known = ("stopped", ""), False, False
    for _, kind, _, data in journal.events("started", "searched", "ended"):
        if kind == "started":
            confirms, known = data.get("confirms", False), False
        elif kind == "searched" or not (confirms or known):
            state, known = (data["state"], data["reason"]), kind == "searched"
    return state

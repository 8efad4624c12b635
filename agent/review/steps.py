"""A candidate measured against its parents and the seed, and the steps from the seed to it, as plain facts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from agent.core.effects import Against
from agent.core.noise import Noise
from agent.core.objectives import Objective
from agent.journal.header import config_of
from agent.journal.readings import Measured, against_parents_and_seed, measured, noise_now
from agent.journal.store import Journal
from agent.review.facts import Facts
from sandbox.tasks import self_reported


class Effects:
    """What each trained candidate of a run is against others. Reads the journal once."""

    def __init__(self, journal: Journal) -> None:
        known = measured(journal)
        config = config_of(journal)
        self._known = {one.id: one for one in known}
        self._noise: Noise | None = noise_now(journal, known)
        self._objectives = _objectives(config)

    def of(self, id: str, parents: Sequence[str]) -> list[Facts]:
        """Against these parents and, at the end, the seed; nothing unless it is trained."""
        if (mine := self._known.get(id)) is None:
            return []
        return [_facts(one) for one in self._against(mine, parents)]

    def _against(self, mine: Measured, parents: Sequence[str]) -> list[Against]:
        return against_parents_and_seed(mine, parents, self._known, self._objectives, self._noise)


def _objectives(config: dict[str, Any]) -> list[Objective]:
    reasons = self_reported(config.get("task", {}))
    return [Objective(name, direction, reasons.get(name, "")) for name, direction in config.get("objectives", {}).items()]


def _facts(one: Against) -> Facts:
    return {
        "id": one.id,
        "trainings": one.trainings,
        "verdict": one.verdict,
        "brief": one.brief,
        "objectives": [
            {
                "objective": effect.objective.name,
                "value": effect.value,
                "before": effect.before,
                "difference": effect.difference,
                "change": effect.change,
                "word": effect.short_word,
                "better": effect.is_better,
            }
            for effect in one.effects
        ],
    }

from dataclasses import fields
from datetime import datetime

import pytest

from agent.budget import Forecast, RunLimits
from agent.budget.budget import forecast_from_journal
from agent.budget.forecast import forecast_facts, forecast_text
from agent.core.objectives import Fitness
from agent.genome import Genome
from agent.journal.events import Answered, Bred, Proposed, RunStarted, Settled
from agent.journal.store import Journal
from agent.llm import Completion, Usage
from agent.population.candidate import SEED_ID, Candidate, Individual, Variant
from agent.search.settings import SearchSettings

MORNING = datetime(2026, 3, 3, 6, 12).timestamp()
GENOME = Genome({"model.py": "x = 1\n"})


def test_it_says_what_a_variant_takes_how_many_come_and_what_ends_it():
    told = forecast_text(Forecast(41.2, 0.00871, 30.0, 1022, "until", MORNING))
    assert told == "41 s and 0.0087 USD a variant; 1,022 more variants by Tue 06:12, when the time is up"
    assert forecast_facts(Forecast(41.2, 0.00871, 30.0, 1022, "until", MORNING))["ends"].startswith("2026-03-03T06:12:00")


def test_what_is_not_known_is_said_so():
    assert forecast_text(Forecast(None, None, None, None, None, None)) == ""
    assert forecast_text(Forecast(0.912, None, None, None, None, None)) == "0.91 s and dollars unknown a variant; no end in sight"
    assert forecast_text(Forecast(900.0, 0.0, None, 3, "planned", None)) == (
        "15 min and 0.0000 USD a variant; 3 more variants, when all are done"
    )


@pytest.mark.parametrize("limit", [field.name for field in fields(RunLimits) if field.name not in ("reserve", "grace_seconds")])
def test_every_limit_has_its_words(limit):
    assert "more variants" in forecast_text(Forecast(1.0, 0.0, 0.0, 5, limit, MORNING))


def test_another_process_foretells_the_same_from_the_journal(tmp_path):
    config = {"limits": {"hours": 1.0, "reserve": 0.0}, "sandbox": {"slots": 2}, "llm": {"concurrency": 4}}
    candidate = Candidate("0001", 0)
    journal = Journal(tmp_path / "journal.db")
    journal.record(RunStarted(config, "full", ()))
    journal.record(Settled(Individual(Candidate(SEED_ID, 0), GENOME, Fitness({"accuracy": 0.5})), 20.0))
    for event in (
        Proposed(candidate),
        Answered("0001", 0, Completion("", "stop", Usage(1, 1), 0.25, 8.0, "m")),
        Bred(Variant(candidate, GENOME)),
    ):
        journal.record(event)
    *_, (last, _, _, _) = journal.events()
    found = forecast_from_journal(journal.events(), config, SearchSettings().candidates, last + 600)
    journal.close()
    assert (found.seconds_per_variant, found.usd_per_variant) == (10.0, 0.25)  # two slots of 20 s each
    assert found.limit == "planned" and found.variants == SearchSettings().candidates
    assert found.ends == pytest.approx(last + 600 + SearchSettings().candidates * 10.0)

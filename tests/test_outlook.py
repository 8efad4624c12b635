from dataclasses import fields
from datetime import datetime

import pytest

from agent import outlook
from agent.budget import Forecast, Limits
from agent.events import Answered, Bred, Drawn, RunStarted, Settled
from agent.fitness import Fitness
from agent.genome import Genome
from agent.individual import SEED_ID, Birth, Individual, Variant
from agent.journal import Journal
from agent.llm import Completion, Usage
from agent.search import Search

MORNING = datetime(2026, 3, 3, 6, 12).timestamp()
GENOME = Genome({"model.py": "x = 1\n"})


def test_it_says_what_a_variant_takes_how_many_come_and_what_ends_it():
    told = outlook.words(Forecast(41.2, 0.00871, 30.0, 1022, "until", MORNING))
    assert told == "41 s and 0.0087 USD a variant; 1,022 more variants by Tue 06:12, when the time is up"
    assert outlook.facts(Forecast(41.2, 0.00871, 30.0, 1022, "until", MORNING))["ends"].startswith("2026-03-03T06:12:00")


def test_what_is_not_known_is_said_so():
    assert outlook.words(Forecast(None, None, None, None, None, None)) == ""
    assert outlook.words(Forecast(0.912, None, None, None, None, None)) == "0.91 s and dollars unknown a variant; no end in sight"
    assert outlook.words(Forecast(900.0, 0.0, None, 3, "planned", None)) == (
        "15 min and 0.0000 USD a variant; 3 more variants, when all are done"
    )


@pytest.mark.parametrize("limit", [field.name for field in fields(Limits) if field.name not in ("reserve", "grace_seconds")])
def test_every_limit_has_its_words(limit):
    assert "more variants" in outlook.words(Forecast(1.0, 0.0, 0.0, 5, limit, MORNING))


def test_another_process_foretells_the_same_from_the_journal(tmp_path):
    config = {"limits": {"hours": 1.0, "reserve": 0.0}, "sandbox": {"slots": 2}, "llm": {"concurrency": 4}}
    birth = Birth("0001", 0)
    journal = Journal(tmp_path / "journal.db")
    journal.record(RunStarted(config, "full", ()))
    journal.record(Settled(Individual(Birth(SEED_ID, 0), GENOME, Fitness({"accuracy": 0.5})), 20.0))
    for event in (
        Drawn(birth),
        Answered("0001", 0, Completion("", "stop", Usage(1, 1), 0.25, 8.0, "m")),
        Bred(Variant(birth, GENOME)),
    ):
        journal.record(event)
    *_, (last, _, _, _) = journal.events()
    found = outlook.from_journal(journal.events(), config, Search().births, last + 600)
    journal.close()
    assert (found.seconds_per_variant, found.usd_per_variant) == (10.0, 0.25)  # two slots of 20 s each
    assert found.limit == "planned" and found.variants == Search().births
    assert found.ends == pytest.approx(last + 600 + Search().births * 10.0)

import pytest

from agent.core.objectives import Fitness, Objective
from agent.genome import Genome
from agent.journal.events import RunStarted, Settled
from agent.journal.header import config_of, first_start, objectives_of, seed_fitness_of
from agent.journal.store import Journal
from agent.population.candidate import SEED_ID, Candidate, Individual


@pytest.fixture
def journal(tmp_path):
    journal = Journal(tmp_path / "journal.db")
    yield journal
    journal.close()


def test_an_empty_journal_has_no_facts(journal):
    assert first_start(journal) is None
    assert config_of(journal) == {}
    assert objectives_of(journal) == ()
    assert seed_fitness_of(journal) is None


def test_the_first_start_counts_and_not_that_of_a_resume(journal):
    fitness = Fitness({"parameters": 12.0, "accuracy": 0.5})
    journal.record(RunStarted({"objectives": {"parameters": "min", "accuracy": "max"}}, "full", ()))
    journal.record(Settled(Individual(Candidate(SEED_ID, 0), Genome({}), fitness)))
    journal.record(RunStarted({"objectives": {}}, "none", ()))
    assert first_start(journal)["isolation"] == "full"
    assert config_of(journal) == {"objectives": {"parameters": "min", "accuracy": "max"}}
    assert objectives_of(journal) == (Objective("parameters", "min"), Objective("accuracy", "max"))
    assert seed_fitness_of(journal) == fitness

"""What the head of a journal says, before and after the run has started."""

from contextlib import closing

from agent.core.objectives import Fitness, Objective
from agent.genome import Genome
from agent.journal.events import RunStarted, Settled
from agent.journal.header import config_of, first_start, objectives_of, seed_fitness_of
from agent.journal.store import Journal
from agent.population.candidate import SEED_ID, Candidate, Individual


def test_an_empty_journal_has_an_empty_header(tmp_path):
    with closing(Journal(tmp_path / "journal.db")) as journal:
        assert (first_start(journal), config_of(journal), objectives_of(journal)) == ({}, {}, ())
        assert seed_fitness_of(journal) is None


def test_the_first_start_counts_and_not_a_later_one(tmp_path):
    config = {"objectives": {"accuracy": "max", "parameters": "min"}}
    with closing(Journal(tmp_path / "journal.db")) as journal:
        journal.record(RunStarted(config, "full", ("seccomp",)), RunStarted({"objectives": {}}, "contained", ()))
        fitness = Fitness({"accuracy": 0.5, "parameters": 9})
        journal.record(Settled(Individual(Candidate(SEED_ID, 0), Genome({"model.py": ""}), fitness)))
        assert first_start(journal)["isolation"] == "full"
        assert config_of(journal) == config
        assert objectives_of(journal) == (Objective("accuracy", "max"), Objective("parameters", "min"))
        assert seed_fitness_of(journal) == fitness

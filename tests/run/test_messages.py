"""The messages of a run's commits, from its events and from the journal of an earlier process."""

from contextlib import closing

import pytest

from agent.core.noise import Noise
from agent.core.objectives import Fitness, Objective
from agent.core.worth import WorthScale
from agent.genome import Genome
from agent.journal.events import EliteRetrained, NoiseMeasured, Settled
from agent.journal.store import Journal
from agent.journal.tracker import TrackedCandidate
from agent.population.candidate import SEED_ID, Candidate, Individual, Recipe
from agent.run.messages import MessageWriter

OBJECTIVES = (Objective("accuracy", "max"), Objective("parameters", "min"))


def individual(id, accuracy, *parents):
    recipes = (Recipe("mutate", parents, ("Net",), "m", 1),) if parents else ()
    fitness = Fitness({"accuracy": accuracy, "parameters": 100.0})
    return Individual(Candidate(id, 0, recipes), Genome({"model.py": f"x = {accuracy}\n"}), fitness)


SEED, ONE, TWO = individual(SEED_ID, 0.8), individual("0001", 0.9, SEED_ID), individual("0002", 0.9, "0001", SEED_ID)
FLOOR = Noise({"accuracy": 0.01, "parameters": 0.0}, {"accuracy": 0.78, "parameters": 100.0}, trainings=4)
UNITS = NoiseMeasured(FLOOR, WorthScale.of(OBJECTIVES, FLOOR))
AGAIN = EliteRetrained("0001", 7, Fitness({"accuracy": 0.8, "parameters": 100.0}), "", 1.0)
EVENTS = (Settled(SEED), UNITS, Settled(ONE), AGAIN)
COSTS = TrackedCandidate("0002")


@pytest.fixture
def journal(tmp_path):
    with closing(Journal(tmp_path / "journal.db")) as journal:
        yield journal


def written(journal, *events, outcome=TWO):
    writer = MessageWriter(journal, OBJECTIVES)
    for event in events:
        writer.see(event)
    return writer.write(outcome, COSTS)


def test_a_child_is_told_against_the_mean_of_its_parent_and_of_the_seed(journal):
    text = written(journal, *EVENTS)
    assert text.startswith("Net: mutate; accuracy +12 pt (likely real), parameters same\n")
    head, accuracy = next(part for part in text.split("\n\n") if "parent 0001" in part).splitlines()[:2]
    assert head.split() == ["this", "parent", "0001", "(mean", "of", "2)", "the", "seed", "(mean", "of", "4)"]
    assert accuracy.split()[:4] == ["accuracy", "0.9", "0.85", "(+5"]
    assert "0.78 (+12 pt, likely real)" in accuracy


def test_a_resumed_process_tells_the_same(journal):
    journal.record(*EVENTS)
    assert written(journal) == written(journal, Settled(SEED), UNITS, Settled(ONE))
    assert "parent 0001 (mean of 2)" in written(journal) and "the seed (mean of 4)" in written(journal)


def test_a_price_that_nobody_knows_is_not_zero(journal):
    writer = MessageWriter(journal, OBJECTIVES)
    for event in EVENTS:
        writer.see(event)
    assert "with m for 0.0000 USD." in writer.write(TWO, COSTS).replace("\n  ", " ")
    text = writer.write(TWO, TrackedCandidate("0002", unpriced=True)).replace("\n  ", " ")
    assert "with m, price unknown." in text
    text = writer.write(TWO, TrackedCandidate("0002", usd=0.25, unpriced=True)).replace("\n  ", " ")
    assert "with m for 0.2500 USD and calls of unknown price." in text


def test_its_own_message_names_its_first_training(journal):
    text = written(journal, *EVENTS, outcome=ONE)
    assert "accuracy    0.9 " in text and "parent" not in text


def test_where_the_noise_was_not_measured_nothing_is_called_real(journal):
    unknown = NoiseMeasured(None, UNITS.scale)
    text = written(journal, Settled(SEED), unknown, Settled(ONE))
    assert text.startswith("Net: mutate; accuracy +10 pt, parameters same\n")
    assert "likely real" not in text and "the noise was not measured" in text


def test_the_seed_and_what_settles_before_its_noise_is_known(journal):
    assert written(journal, Settled(SEED), outcome=SEED).startswith("seed: accuracy 0.8, parameters 100\n")
    assert "likely real" not in written(journal, Settled(SEED), Settled(ONE))

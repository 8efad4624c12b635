"""Which elite is trained again, and when: the rule alone, on archives made by hand."""

import pytest
from pydantic import TypeAdapter, ValidationError

from agent.core.noise import Noise
from agent.core.objectives import Fitness, Objective
from agent.core.worth import WorthScale
from agent.genome import Genome
from agent.journal.events import EliteRetrained
from agent.population.archive import Archive
from agent.population.candidate import SEED_ID, Candidate, Failure, Individual
from agent.search.retraining import Retraining, RetrainingSettings

OBJECTIVES = (Objective("accuracy", "max"), Objective("parameters", "min"))
NOISE = Noise({"accuracy": 0.01, "parameters": 0.0}, {"accuracy": 0.8, "parameters": 100.0})


def fit(accuracy, parameters=100.0):
    return Fitness({"accuracy": accuracy, "parameters": parameters})


def individual(id, *readings):
    one = Individual(Candidate(id, 0), Genome({"model.py": f"x = '{id}'\n"}), readings[0])
    for reading in readings[1:]:
        one = one.with_reading(reading)
    return one


def retraining(*others, share=1.0, noise=NOISE, failed=0):
    archive = Archive(individual(SEED_ID, *[fit(0.8)] * 4), OBJECTIVES, WorthScale.of(OBJECTIVES, NOISE))
    found = Retraining(archive, noise, RetrainingSettings(share))
    for one in others:
        archive.add(one)
        found.see(one)
    for number in range(failed):
        found.see(Failure(Candidate(f"9{number:03d}", 0), "fit", "NaN"))
    return found, archive


def ids(individuals):
    return [one.id for one in individuals]


def reading(id, accuracy, seed=1, parameters=100.0):
    return EliteRetrained(id, seed, None if accuracy is None else fit(accuracy, parameters), "" if accuracy else "fit: NaN", 1.0)


def test_the_elite_that_was_trained_less_often_is_next_where_as_much_hangs_on_both():
    twice = individual("0001", fit(0.85, 50.0), fit(0.85, 50.0))
    found, _ = retraining(twice, individual("0002", fit(0.9, 100.0)), failed=10)
    assert ids(found.due())[0] == "0002"
    again = individual("0002", *[fit(0.9, 100.0)] * 30)
    found, _ = retraining(twice, again, failed=10)
    assert ids(found.due())[0] == "0001"


def test_an_elite_whose_place_another_would_take_can_wait():
    """0002 leads by a tenth of a sigma over an equal; 0001 stands alone."""
    alone = individual("0001", fit(0.85, 50.0))
    found, _ = retraining(alone, individual("0002", fit(0.9, 100.0)), individual("0003", fit(0.899, 100.0)), failed=10)
    assert ids(found.due())[0] == "0001"


def test_more_are_due_where_places_hang_on_luck_than_where_differences_are_large():
    """One elite each, 40 trainings, a share of a tenth."""
    close, _ = retraining(individual("0001", fit(0.805)), share=0.1, failed=39)
    far, _ = retraining(individual("0001", fit(0.99)), share=0.1, failed=39)
    made = {}
    for name, one in (("close", close), ("far", far)):
        made[name] = 0
        while one.due() and made[name] < 20:  # as if the readings changed nothing: 0001 stays as it is
            one._read += 1
            made[name] += 1
    assert made == {"close": 8, "far": 1}


def test_only_what_was_trained_counts_and_under_way_counts_as_made():
    found, _ = retraining(individual("0001", fit(0.805)), share=0.25)
    for _ in range(10):
        found.see(Failure(Candidate("0009", 0), "contract", "no"))
        found.see(Failure(Candidate("0009", 0), "smoke", "no"))
    assert found.due() == []
    found.see(Failure(Candidate("0002", 0), "fit", "NaN"))
    assert ids(found.due()) == ["0001"]
    assert found.due({"0001"}) == []
    found.see(Failure(Candidate("0003", 0), "score", "low"))
    found.see(Failure(Candidate("0004", 0), "predict", "NaN"))
    assert found.due({"0001"}) == []  # it is trained once at a time
    found.take(reading("0001", 0.9))
    assert found._read == 1


def test_the_seed_is_never_due_nor_is_what_is_beaten():
    found, _ = retraining(individual("0001", fit(0.7, 200.0)), failed=10)
    assert found.due() == []


@pytest.mark.parametrize("noise", [Noise.unmeasured(fit(0.8), OBJECTIVES)])
def test_nothing_is_due_where_nothing_varies(noise):
    assert retraining(individual("0001", fit(0.9)), noise=noise, failed=10)[0].due() == []


def test_a_reading_makes_the_mean_moves_the_front_and_sharpens_sigma():
    found, archive = retraining(individual("0001", fit(0.84)), individual("0002", fit(0.83)), failed=10)
    assert ids(archive.front()) == ["0001"]
    worth = archive.worth()
    known = found.take(reading("0001", 0.8))
    assert (known.trainings, known.fitness["accuracy"]) == (2, pytest.approx(0.82))
    assert ids(archive.front()) == ["0002"] and archive.worth() < worth
    assert archive.recent(12)[0] == known
    assert found.noise.df == NOISE.df + 1
    assert found.noise.sigma["accuracy"] == pytest.approx(((0.01**2 * 3 + 0.02**2 * 2) / 4) ** 0.5)
    assert archive.scale.axes[0].sigma == 0.01  # the scale of the worth stays


def test_one_that_failed_keeps_its_value_and_leads_no_more():
    found, archive = retraining(individual("0001", fit(0.84)), individual("0002", fit(0.83)), failed=10)
    known = found.take(reading("0001", None))
    assert (known.fitness, known.trainings, known.fault) == (fit(0.84), 1, "fit: NaN")
    assert ids(archive.front()) == ["0002"]
    assert "0001" in archive.individuals and "0001" not in ids(archive.everyone)
    assert found.noise == NOISE


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
def test_a_share_is_from_0_to_1(share):
    with pytest.raises(ValidationError):
        TypeAdapter(RetrainingSettings).validate_python({"share": share})


def test_while_one_is_trained_again_no_other_takes_its_share():
    """Differences are large: a quarter of the share, so one of eight trainings, where twice the share would allow more."""
    found, _ = retraining(individual("0001", fit(0.95, 50.0)), individual("0002", fit(0.99, 100.0)), share=0.5, failed=6)
    (one,) = found.due()
    assert found.due({one.id}) == []

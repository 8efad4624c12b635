"""In a null run no two trainings share a training seed; in any other run all candidates do."""

from agent.population.candidate import SEED_ID
from agent.run.config import RunSection
from agent.run.confirmation import FIRST_FRESH_SEED
from agent.run.training_seeds import training_seed_of

IDS = [f"{number:04d}" for number in (1, 2, 9, 4999, 49_999)]


def test_candidates_of_a_run_share_the_luck_of_the_batches():
    run = RunSection(training_seed=7)
    assert {training_seed_of(id, run) for id in (SEED_ID, *IDS)} == {7}
    assert {training_seed_of(id, run, 2) for id in (SEED_ID, *IDS)} == {9}


def test_those_of_a_null_run_do_not():
    run = RunSection(training_seed=7, null=True)
    assert training_seed_of(SEED_ID, run) == 7
    seeds = [training_seed_of(id, run, trainings) for id in IDS for trainings in range(5)]
    assert len({*seeds}) == len(seeds)
    noise, confirmation = range(7, 7 + 1000), 7 + FIRST_FRESH_SEED
    assert min(seeds) > max(noise) and max(seeds) < confirmation

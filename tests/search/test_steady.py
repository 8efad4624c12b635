"""The steady schedule: how far breeding runs ahead of the slots."""

from agent.core.objectives import Fitness
from agent.genome import Genome
from agent.population.candidate import Candidate, Evidence, Failure, Individual
from agent.search.steady import Prefetch

GENOME = Genome({"model.py": "x = 1\n"})
FITNESS = Fitness({"accuracy": 0.5})


def trained(fit, beside=0.0, waited=0.0):
    evidence = Evidence(seconds={"fit": fit, "predict": beside}, waited=waited)
    return Individual(Candidate("0001", 0), GENOME, FITNESS, evidence)


def test_it_is_a_candidate_for_each_slot_until_something_is_measured():
    prefetch = Prefetch(slots=4, limit=20)
    assert prefetch.wants_more(breeding=3, evaluating=0)
    assert not prefetch.wants_more(breeding=4, evaluating=0)
    assert prefetch.wants_more(breeding=3, evaluating=4)


def test_it_is_what_the_slots_use_up_while_one_candidate_is_bred_and_tried():
    prefetch = Prefetch(slots=4, limit=20)
    for _ in range(50):
        prefetch.add_bred(2.5)
        prefetch.add_settled(trained(fit=2.0, beside=0.5, waited=9.0), seconds=2.0 + 0.5 + 9.0)
    assert prefetch.ahead == 4 * 3 / 2 + 1
    assert prefetch.wants_more(breeding=6, evaluating=4)
    assert not prefetch.wants_more(breeding=6, evaluating=5)


def test_a_prompt_misses_no_more_results_than_there_are_slots_where_answers_are_fast():
    """One slot: the next candidate is bred while one trains, and another only when that one has its slot."""
    prefetch = Prefetch(slots=1, limit=20)
    for _ in range(5):
        prefetch.add_bred(1.0)
        prefetch.add_settled(trained(fit=20.0, beside=0.5), seconds=20.5)
    assert prefetch.wants_more(breeding=0, evaluating=1)
    assert not prefetch.wants_more(breeding=1, evaluating=1)
    assert not prefetch.wants_more(breeding=0, evaluating=2)


def test_where_time_is_no_limit_fewer_results_are_missing_from_prompts():
    eager, fresh = (Prefetch(slots=1, limit=20, eager=eager) for eager in (True, False))
    for n in range(20):
        for prefetch in (eager, fresh):
            prefetch.add_bred(90.0 if n % 2 else 50.0)
            prefetch.add_settled(trained(fit=60.0, beside=2.0), seconds=62.0)
    assert (eager.ahead, fresh.ahead) == (3, 2)


def test_it_follows_when_models_get_slow_but_breeds_no_more_at_once_than_allowed():
    prefetch = Prefetch(slots=4, limit=20)
    prefetch.add_settled(trained(fit=2.0), seconds=2.0)
    for _ in range(50):
        prefetch.add_bred(600.0)
    assert prefetch.ahead == 4 * 600 / 2 + 1
    assert prefetch.wants_more(breeding=19, evaluating=4)
    assert not prefetch.wants_more(breeding=20, evaluating=4)


def test_where_some_take_much_longer_than_others_there_is_a_margin():
    even, uneven = Prefetch(slots=4, limit=99), Prefetch(slots=4, limit=99)
    for n in range(50):
        even.add_bred(2.0)
        uneven.add_bred(3.0 if n % 2 else 1.0)
        for prefetch in (even, uneven):
            prefetch.add_settled(trained(fit=2.0), seconds=2.0)
    assert even.ahead == 4 * 2 / 2 + 1
    assert 4 * 3.5 / 2 + 1 <= uneven.ahead <= 4 * 4.5 / 2 + 1


def test_candidates_that_never_train_are_made_up_for():
    prefetch = Prefetch(slots=4, limit=99)
    for n in range(400):
        prefetch.add_bred(1.0)
        failure = Failure(Candidate("0001", 0), "contract", "it has no body")
        prefetch.add_settled(trained(fit=2.0) if n % 2 else failure, seconds=2.0)
    assert 4 * 1 / 2 / 0.6 + 1 < prefetch.ahead <= 4 * 1 / 2 / 0.4 + 2


def test_while_one_training_takes_long_nothing_more_is_proposed_unless_time_is_what_limits_the_run():
    for eager in (False, True):
        prefetch = Prefetch(slots=1, limit=20, eager=eager)
        prefetch.add_bred(90)
        prefetch.add_settled(trained(fit=20.0), 25.0)
        assert prefetch.ahead > 3 and prefetch.wants_more(0, 1)
        assert prefetch.wants_more(0, 2) is eager  # one waits for the slot already

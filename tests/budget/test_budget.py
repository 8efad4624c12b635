import dataclasses
import itertools
import queue
import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.budget import Budget, Guess, RunLimits, Spend
from agent.core.objectives import Fitness
from agent.journal.events import Answered, Asked, Bred, Proposed, Retrained, RunEnded, SeedRepeated, Settled
from agent.journal.replay import read_replay
from agent.journal.store import Journal
from agent.population.candidate import SEED_ID, Candidate, Failure, Individual, Variant
from agent.run.context import RunContext
from agent.run.evaluation import EvaluationPool, Evaluator, EvaluatorSettings
from sandbox.pool.lanes import Lanes
from sandbox.tasks.common.job import StageFailure
from tests.budget.simulation import (
    GENOME,
    SEED,
    START,
    ManualClock,
    Run,
    answer,
    ask,
    breed,
    draw,
    run_candidate,
    settle,
    start_budget,
)


class TestCeilings:
    def test_dollars_are_spent_up_to_the_reserve(self, manual):
        budget = start_budget(manual, usd=1.0, reserve=0.2)
        run_candidate(budget, "0001", usd=0.4)
        assert budget.admits_breeding() is None  # 0.4 + 0.4 of 0.8
        run_candidate(budget, "0002", usd=0.4)
        refusal = budget.admits_breeding()
        assert refusal.limit == "usd"
        assert refusal.reason == "usd: 0.80 spent of 1.00, of which 0.20 are kept in reserve; what comes next needs 0.40"

    def test_what_is_kept_in_reserve_is_there_for_what_follows(self, manual):
        budget = start_budget(manual, usd=1.0, hours=1.0, gpu_hours=1.0, reserve=0.5)
        run_candidate(budget, "0001", usd=0.5, seconds=1800, gpus=1)
        manual.pass_(1800)
        assert budget.admits_breeding()
        assert budget.admits_evaluation("0001")
        later = start_budget(manual, usd=1.0, hours=1.0, gpu_hours=1.0, reserve=0.0)
        run_candidate(later, "0001", usd=0.5, seconds=1800, gpus=1)
        manual.pass_(1800)
        assert later.admits_breeding() is None
        assert later.admits_evaluation("0002") is None

    def test_candidates_in_flight_count_at_the_mean_cost_of_a_candidate(self, manual):
        budget = start_budget(manual, usd=1.0, reserve=0)
        run_candidate(budget, "0001", usd=0.25)
        draw(budget, "0002", "0003")
        assert budget.admits_breeding() is None
        draw(budget, "0004")
        assert budget.admits_breeding().reason == "usd: 0.25 spent and 0.75 in flight of 1.00; what comes next needs 0.25"

    def test_an_admitted_candidate_may_call_its_model_when_no_other_is_admitted(self, manual):
        budget = start_budget(manual, usd=1.0, reserve=0)
        run_candidate(budget, "0001", usd=0.4)
        draw(budget, "0002")
        assert budget.admits_breeding()
        assert budget.admits_call("0002") is None
        assert budget.admits_call("0002") is None  # asking again does not reserve twice

    def test_calls_in_flight_count_and_a_candidate_without_a_call_is_given_up(self, manual):
        budget = start_budget(manual, usd=1.0, tokens=10_000, reserve=0)
        run_candidate(budget, "0001", usd=0.4, tokens=(10, 10))
        draw(budget, "0002", "0003")
        assert budget.admits_call("0002") is None
        message = "usd: 0.40 spent and 0.40 in flight of 1.00; what comes next needs 0.40"
        assert budget.admits_call("0003").reason == message
        assert budget.spend.in_flight == 1

    def test_no_call_is_paid_for_a_candidate_that_could_not_be_evaluated_in_time(self, manual):
        budget = start_budget(manual, hours=1.0, reserve=0, grace_seconds=0)
        budget.see(Settled(SEED, 600.0))
        draw(budget, "0001", "0002")
        manual.pass_(3000)
        assert budget.admits_call("0001") is None
        manual.pass_(1)
        assert budget.admits_call("0002").limit == "hours"

    def test_a_call_over_the_tokens_is_refused(self, manual):
        budget = start_budget(manual, tokens=100)
        run_candidate(budget, "0001", tokens=(50, 10))
        draw(budget, "0002")
        assert budget.admits_call("0002").limit == "tokens"

    def test_what_a_candidate_in_flight_has_paid_is_not_expected_again(self, manual):
        budget = start_budget(manual, usd=1.0, reserve=0)
        run_candidate(budget, "0001", usd=0.3)
        draw(budget, "0002")
        ask(budget, "0002")
        budget.see(Answered("0002", 0, answer(0.3)))
        assert budget.spend.usd_in_flight == pytest.approx(0)
        ask(budget, "0002", 1)  # a repair
        assert budget.spend.usd_in_flight == pytest.approx(0.3)
        budget.see(Answered("0002", 1, answer(0.1)))
        assert budget.admits_breeding() is None  # 0.7 spent, a candidate costs 0.3
        budget.see(Bred(Variant(Candidate("0002", 0), GENOME)))
        assert budget.spend.usd_per_candidate == pytest.approx((0.3 + 0.4) / 2)
        assert budget.admits_breeding().limit == "usd"

    def test_a_refusal_is_lifted_when_the_work_in_flight_was_cheaper_than_expected(self, manual):
        budget = start_budget(manual, usd=1.0, reserve=0)
        run_candidate(budget, "0001", usd=0.4)
        draw(budget, "0002")
        assert budget.admits_breeding()
        ask(budget, "0002")
        budget.see(Answered("0002", 0, answer(0.0)))
        settle(budget, "0002")
        assert budget.admits_breeding() is None

    def test_a_guess_is_used_until_the_first_candidate_has_settled(self, manual):
        budget = start_budget(manual, Guess(usd=0.6), usd=1.0, reserve=0)
        assert budget.admits_breeding() is None
        draw(budget, "0001")
        assert budget.admits_breeding().limit == "usd"
        ask(budget, "0001")
        budget.see(Answered("0001", 0, answer(0.1)))
        settle(budget, "0001")
        assert budget.admits_breeding(candidates=9) is None
        assert budget.admits_breeding(candidates=10).limit == "usd"

    def test_tokens_of_prompts_and_answers_have_no_reserve(self, manual):
        budget = start_budget(manual, tokens=1000, reserve=0.5)
        run_candidate(budget, "0001", tokens=(300, 100))
        draw(budget, "0002")
        assert budget.admits_breeding().reason == "tokens: 400 spent and 400 in flight of 1,000; what comes next needs 400"
        settle(budget, "0002")
        assert budget.admits_breeding() is None

    def test_candidates_are_counted_when_they_are_proposed_whatever_their_outcome(self, manual):
        budget = start_budget(manual, variants=3)
        draw(budget, "0001")
        settle(budget, "0002")
        draw(budget, "0002", "0003")
        assert budget.admits_breeding().reason == "variants: 3 spent of 3"
        assert budget.admits_evaluation("0001") is None

    def test_a_generation_is_admitted_as_a_whole(self, manual):
        budget = start_budget(manual, variants=10)
        draw(budget, "0001", "0002", "0003")
        assert budget.admits_breeding(7) is None
        assert budget.admits_breeding(8).limit == "variants"

    def test_gpu_hours_count_failed_evaluations_and_those_that_run(self, manual):
        budget = start_budget(manual, gpu_hours=1.0, reserve=0.0, slots=8)
        breed(budget, "0001")
        budget.see(Settled(Failure(Candidate("0001", 0), "fit", "it ran too long"), 600.0, 2.0))
        assert budget.spend.gpu_seconds == 1200
        breed(budget, "0002")
        breed(budget, "0003")
        assert budget.admits_evaluation("0002") is None
        assert budget.admits_evaluation("0003") is None  # a yes reserves
        assert budget.admits_evaluation("0003") is None  # and asking again does not reserve twice
        assert budget.admits_evaluation("0004").limit == "gpu_hours"
        assert budget.admits_breeding().limit == "gpu_hours"

    def test_threads_that_ask_at_once_are_not_admitted_together_beyond_the_ceiling(self, manual):
        budget = start_budget(manual, gpu_hours=1.0, reserve=0.0, slots=64)
        run_candidate(budget, "seen", seconds=360, gpus=1)
        admission = threading.Barrier(32)

        def ask(n):
            admission.wait()
            return budget.admits_evaluation(f"{n:04d}")

        with ThreadPoolExecutor(32) as threads:
            answers = list(threads.map(ask, range(32)))
        assert answers.count(None) == 9

    def test_a_candidate_whose_evaluation_is_refused_is_no_longer_in_flight(self, manual):
        budget = start_budget(manual, gpu_hours=1.0, reserve=0.0)
        run_candidate(budget, "0001", seconds=1800, gpus=1)
        for id in ("0002", "0003"):
            breed(budget, id)
        assert budget.admits_evaluation("0002") is None
        assert budget.admits_evaluation("0003")
        assert budget.spend.in_flight == 1

    def test_the_seeds_evaluation_is_the_first_that_is_known(self, manual):
        budget = start_budget(manual, hours=1.0, reserve=0.0, grace_seconds=0)
        budget.see(Settled(SEED))
        assert (budget.spend.evaluation_seconds, budget.spend.settled, budget.spend.variants) == (60, 0, 0)
        manual.pass_(3600 - 61)
        assert budget.admits_evaluation("0001") is None
        manual.pass_(2)
        assert budget.admits_evaluation("0001").limit == "hours"

    def test_answers_of_unknown_price_are_counted_and_teach_no_price(self, manual):
        budget = start_budget(manual)
        run_candidate(budget, "0001", usd=None, tokens=(5, 5))
        assert (budget.spend.unpriced_calls, budget.spend.tokens, budget.spend.usd) == (1, 10, 0)
        assert not budget.spend.candidate_usd.known
        assert not budget.spend.call_usd.known

    def test_events_that_a_resume_passes_by_again_count_once(self, manual):
        budget = start_budget(manual)
        for _ in range(2):
            run_candidate(budget, "0001", usd=0.5, tokens=(1, 2), seconds=10, gpus=1)
        s = budget.spend
        assert (s.usd, s.tokens, s.variants, s.settled) == (0.5, 3, 1, 1)
        assert (s.gpu_seconds, s.in_flight) == (10, 0)


class TestTime:
    def test_hours_end_at_the_reserve(self, manual):
        budget = start_budget(manual, hours=8.0, reserve=0.25)
        manual.pass_(6 * 3600 - 1)
        assert budget.admits_breeding() is None
        manual.pass_(1)
        message = "hours: 6.00 used of 8.00, of which 2.00 are kept in reserve"
        assert budget.admits_breeding().reason == message
        assert budget.admits_evaluation("0001").reason == message

    def test_nothing_begins_that_would_end_after_the_grace(self, manual):
        budget = start_budget(manual, hours=1.0, reserve=0.0, grace_seconds=60)
        run_candidate(budget, "0001", seconds=600)
        breed(budget, "0002")
        manual.pass_(3600 - 540)
        assert budget.admits_evaluation("0002") is None
        manual.pass_(1)
        assert budget.admits_evaluation("0002").limit == "hours"

    def test_an_evaluation_whose_slot_gets_free_too_late_does_not_begin(self, manual):
        budget = start_budget(manual, hours=1.0, reserve=0.0, grace_seconds=0, slots=2)
        budget.see(Settled(SEED, 2000.0))
        assert [budget.admits_evaluation(id) for id in ("0001", "0002", "0003")] == [None, None, None]
        manual.pass_(2000)  # the third has waited for one of the first two
        assert budget.admits_evaluation("0003").limit == "hours"

    def test_what_is_under_way_keeps_its_slot_busy_first(self, manual):
        budget = start_budget(manual, hours=1.0, reserve=0.0, grace_seconds=0, slots=2, concurrency=4)
        budget.see(Settled(SEED, 600.0))
        draw(budget, *(f"{n:04d}" for n in range(1, 12)))
        assert budget.admits_breeding() is None  # the twelfth: six rounds of ten minutes in two slots
        draw(budget, "0012")
        assert budget.admits_breeding().limit == "hours"

    def test_slow_models_count_too(self, manual):
        budget = start_budget(manual, hours=1.0, reserve=0.0, grace_seconds=0, slots=8, concurrency=2)
        breed(budget, "0001", seconds=600)
        settle(budget, "0001", seconds=60)
        assert budget.admits_breeding(10) is None  # five rounds of ten minutes, then one
        assert budget.admits_breeding(12).limit == "hours"

    def test_what_is_under_way_may_go_on_for_the_grace(self, manual):
        budget = start_budget(manual, hours=1.0, reserve=0.5, grace_seconds=90)
        assert budget.seconds_left() == 1890
        manual.pass_(1800)
        assert budget.seconds_left() == 90
        manual.pass_(500)
        assert budget.seconds_left() == 0

    def test_time_passes_only_between_start_and_end(self, manual):
        budget = Budget(RunLimits(hours=1.0, reserve=0), clock=manual.clock)
        manual.pass_(5000)
        assert budget.admits_breeding() is None
        budget.see(START)
        manual.pass_(1000)
        budget.see(RunEnded("finished", ""))
        manual.pass_(5000)
        assert budget.admits_breeding() is None
        assert budget.spend.seconds == 1000

    def test_the_wall_clock_may_jump_without_touching_the_hours(self, manual):
        budget = start_budget(manual, hours=1.0, reserve=0.0)
        for jump in (-7200, 86_400, -1e9):
            manual.wall += jump
            manual.pass_(100)
            assert budget.admits_breeding() is None
        assert budget.spend.seconds == 300

    def test_a_night_that_the_machine_slept_through_costs_no_hours_but_passes_until(self, manual):
        hours, until = start_budget(manual, hours=2.0), start_budget(manual, until="07:00")
        manual.pass_(60)
        manual.wall += 10 * 3600
        assert hours.admits_breeding() is None
        assert until.admits_breeding().limit == "until"

    def test_a_clock_set_back_gives_until_its_time_again(self, manual):
        budget = start_budget(manual, until="23:00", reserve=0.0)
        manual.pass_(3601)
        assert budget.admits_breeding()
        manual.wall -= 7200
        assert budget.admits_breeding() is None

    def test_until_is_reached_over_midnight_less_its_reserve(self, manual):
        budget = start_budget(manual, until="07:00", reserve=0.1)  # nine hours from 22:00
        manual.pass_(8 * 3600)
        assert budget.admits_breeding() is None
        manual.pass_(6 * 60)
        assert budget.admits_breeding().reason == (
            "until: it is 06:06 and the search ends at 06:06, 10% of the time before 07:00 are kept in reserve"
        )

    def test_the_ceiling_that_comes_first_is_the_one_that_refuses(self, manual):
        budget = start_budget(manual, hours=3.0, until="23:00", reserve=0.0)
        manual.pass_(3600)
        assert budget.admits_breeding().limit == "until"


@st.composite
def shapes(draw):
    return {
        "slots": draw(st.integers(1, 6)),
        "concurrency": draw(st.integers(1, 6)),
        "ahead": draw(st.integers(1, 12)),
    }


@settings(max_examples=60, deadline=None)
@given(shapes(), st.integers(0, 2**32), st.floats(0.2, 5.0), st.floats(0.0, 0.9), st.floats(0.01, 0.5), st.floats(1.0, 4.0))
def test_dollars_are_exceeded_by_no_more_than_what_was_in_flight(shape, seed, usd, reserve, most, shape_of_costs):
    manual = ManualClock()
    budget = start_budget(manual, Guess(usd=most), shape["slots"], shape["concurrency"], usd=usd, reserve=reserve)
    run = Run(
        budget,
        manual,
        random.Random(seed),
        **shape,
        cost=lambda chance: most * chance.random() ** shape_of_costs,
        breed_seconds=lambda chance: chance.uniform(1, 20),
        evaluate_seconds=lambda chance: chance.uniform(1, 30),
    ).go()
    allowed = usd * (1 - reserve)
    if not run.costs:
        assert most > allowed
        return
    assert run.refusal.limit == "usd"
    assert budget.spend.usd == pytest.approx(sum(run.paid))
    assert budget.spend.usd <= allowed + sum(run.costs[id] for id in run.last_out) + 1e-6
    assert budget.spend.usd <= allowed + shape["concurrency"] * most + 1e-6


@settings(max_examples=60, deadline=None)
@given(shapes(), st.integers(0, 2**32), st.floats(0.2, 5.0), st.floats(0.0, 0.9), st.floats(0.01, 0.5))
def test_candidates_that_cost_what_was_expected_never_pass_a_ceiling(shape, seed, ceiling, reserve, each):
    manual = ManualClock()
    guess = Guess(usd=each, tokens=150, breeding_seconds=10, evaluation_seconds=each * 3600, gpu_seconds=each * 3600)
    limits = {"usd": ceiling, "gpu_hours": ceiling, "hours": ceiling, "tokens": 10_000, "reserve": reserve, "grace_seconds": 0}
    budget = start_budget(manual, guess, shape["slots"], shape["concurrency"], **limits)
    run = Run(
        budget,
        manual,
        random.Random(seed),
        **shape,
        cost=lambda _: each,
        breed_seconds=lambda _: 10.0,
        evaluate_seconds=lambda _: each * 3600,
    ).go()
    s = budget.spend
    assert s.usd <= ceiling * (1 - reserve) + 1e-6
    assert s.gpu_seconds <= ceiling * (1 - reserve) * 3600 + 1e-3
    assert s.tokens <= 10_000
    assert s.seconds <= ceiling * (1 - reserve) * 3600 + 1e-3
    assert run.refusal


@settings(max_examples=40, deadline=None)
@given(shapes(), st.integers(0, 2**32), st.integers(1, 60))
def test_exactly_as_many_candidates_are_proposed_as_allowed(shape, seed, variants):
    manual = ManualClock()
    budget = start_budget(manual, variants=variants, slots=shape["slots"])
    seconds = {"breed_seconds": lambda c: c.uniform(1, 9), "evaluate_seconds": lambda c: c.uniform(1, 9)}
    run = Run(budget, manual, random.Random(seed), **shape, cost=lambda _: 0.0, **seconds).go()
    assert len(run.costs) == variants


class TestResume:
    LIMITS = {"hours": 2.0, "usd": 3.0, "tokens": 30_000, "gpu_hours": 1.5, "until": "07:00"}

    def run(self, manual, budget, seed=1):
        return Run(
            budget,
            manual,
            random.Random(seed),
            slots=2,
            concurrency=3,
            ahead=4,
            cost=lambda chance: chance.uniform(0.0, 0.05),
            breed_seconds=lambda chance: chance.uniform(5, 40),
            evaluate_seconds=lambda chance: chance.uniform(20, 60),
        )

    @pytest.mark.parametrize(("given_again", "admitted"), [(False, False), (True, True)])
    def test_a_time_that_is_given_again_is_the_next_one_after_that_start(self, manual, journal, given_again, admitted):
        """The run ended at 07:00 and is resumed in the evening; so is a process after that one, from the journal."""
        budget = Budget(RunLimits(until="07:00", reserve=0.0), clock=manual.clock)
        self.both(budget, journal)(START)
        manual.pass_(22 * 3600)
        again = dataclasses.replace(START, until_restarted=given_again)
        for start in (again, START):
            budget = Budget(RunLimits(until="07:00", reserve=0.0), clock=manual.clock)
            budget.recall(journal.cost_rows())
            self.both(budget, journal)(start)
            assert (budget.admits_breeding() is None) == admitted

    @pytest.fixture
    def journal(self, tmp_path, manual, monkeypatch):
        monkeypatch.setattr("agent.journal.store.time.time", lambda: manual.wall)
        journal = Journal(tmp_path / "journal.db")
        yield journal
        journal.close()

    def both(self, budget, journal):
        def record(event):
            journal.record(event)
            budget.see(event)

        return record

    def facts(self, spend):
        means = {k: v.value for k, v in vars(spend).items() if hasattr(v, "add") and hasattr(v, "known")}
        return {
            **{k: v for k, v in vars(spend).items() if isinstance(v, int | float)},
            **{f"mean_{k}": v for k, v in means.items()},
            **{f"end_{n}": seconds for n, seconds in enumerate(spend.settled_at)},
            **{k: getattr(spend, k) for k in ("in_flight", "breeding", "usd_in_flight", "tokens_in_flight")},
        }

    @pytest.mark.parametrize("settled", [0, 1, 7, 40])
    def test_a_budget_rebuilt_from_the_journal_gives_the_same_answers(self, manual, journal, settled):
        budget = Budget(RunLimits(**self.LIMITS), slots=2, concurrency=3, clock=manual.clock)
        record = self.both(budget, journal)
        record(START)
        record(Settled(SEED))
        run = self.run(manual, budget)
        run.record = record
        run.go(stop=lambda run: run.settled >= settled)
        budget.forecast()  # brings its time to now, as a last event does for the journal
        record(RunEnded("stopped", ""))

        again = Budget(RunLimits(**self.LIMITS), slots=2, concurrency=3, clock=ManualClock(manual.wall).clock)
        again.recall(journal.cost_rows())
        assert self.facts(again.spend) == pytest.approx(self.facts(budget.spend))
        assert again.spend.started == budget.spend.started
        for several in range(1, 200, 7):
            assert again.admits_breeding(several) == budget.admits_breeding(several)
        text, first = again.forecast(), budget.forecast()
        assert (text.variants, text.limit) == (first.variants, first.limit)
        assert (text.seconds_per_variant, text.ends) == pytest.approx((first.seconds_per_variant, first.ends))
        assert again.admits_evaluation("0001") == budget.admits_evaluation("0001")

    def test_only_the_time_in_which_a_process_ran_counts_and_a_crash_leaves_no_end(self, manual, journal):
        for _ in range(3):
            budget = Budget(RunLimits(hours=1.0, reserve=0), clock=manual.clock)
            budget.recall(journal.cost_rows())
            record = self.both(budget, journal)
            record(START)
            manual.pass_(1000)
            record(Proposed(Candidate(f"{time.monotonic_ns()}", 0)))
            assert budget.admits_breeding() is None
            manual.wall += 50_000  # nothing ran
            manual.seconds = 3.0  # the machine was restarted
        assert budget.spend.seconds == 3000
        last = Budget(RunLimits(hours=1.0, reserve=0), clock=manual.clock)
        last.recall(journal.cost_rows())
        last.see(START)
        manual.pass_(599)
        assert last.admits_breeding() is None
        manual.pass_(1)
        assert last.admits_breeding().limit == "hours"

    def test_a_wall_clock_that_went_back_between_two_records_takes_no_time_away(self, manual, journal):
        journal.record(START)
        manual.wall += 100
        journal.record(Proposed(Candidate("0001", 0)))
        manual.wall -= 5000
        journal.record(Proposed(Candidate("0002", 0)))
        manual.wall += 50
        journal.record(RunEnded("stopped", ""))
        spend = Spend()
        spend.recall(journal.cost_rows())
        assert spend.seconds == pytest.approx(150)

    def test_what_is_recorded_after_the_end_of_the_search_takes_none_of_its_time(self, manual, journal):
        for event, seconds in ((START, 100), (RunEnded("finished", ""), 5000), (Proposed(Candidate("0001", 0)), 0)):
            journal.record(event)
            manual.pass_(seconds)
        spend = Spend()
        spend.recall(journal.cost_rows())
        assert spend.seconds == 100

    def test_trainings_of_the_seed_and_for_the_noise_hold_a_gpu_too(self, manual, journal):
        record = self.both(start_budget(manual), journal)
        record(Settled(Individual(Candidate(SEED_ID, 0), GENOME, Fitness({})), 30.0, 0.5))
        for number, fitness in ((1, Fitness({})), (2, None)):
            record(SeedRepeated(number, fitness, "", 20.0, 0.5))
        noted = start_budget(manual, gpu_hours=40 / 3600, reserve=0.0)
        noted.recall(journal.cost_rows())
        for repeated in read_replay(journal, GENOME).repeats.values():
            noted.see(repeated)  # a resume passes them by again
        assert (noted.spend.gpu_seconds, noted.spend.evaluation_seconds, noted.spend.settled) == (35, 70, 0)
        assert noted.admits_breeding().limit == "gpu_hours"  # 35 and one more of 10

    def test_a_training_for_the_noise_is_under_way_until_it_ends(self, manual):
        budget = start_budget(manual, guess=Guess(evaluation_seconds=10, gpu_seconds=10), gpu_hours=25 / 3600, reserve=0.0)
        one, two, three = map(SeedRepeated.id_of, (1, 2, 3))
        assert budget.admits_evaluation(one) is budget.admits_evaluation(two) is None
        assert budget.admits_evaluation(three).limit == "gpu_hours"
        budget.see(SeedRepeated(1, Fitness({}), "", 5.0, 1.0))
        budget.see(SeedRepeated(2, Fitness({}), "", 5.0, 1.0))
        assert budget.spend.evaluations() == 0
        assert budget.admits_evaluation(three) is None

    def test_until_stays_the_moment_that_it_was_at_the_first_start(self, manual, journal):
        journal.record(START)
        manual.wall += 11 * 3600  # 09:00, two hours after
        budget = Budget(RunLimits(until="07:00"), clock=manual.clock)
        budget.recall(journal.cost_rows())
        budget.see(START)
        assert budget.admits_breeding().limit == "until"

    def test_what_was_in_flight_at_a_crash_is_in_flight_until_it_settles(self, manual, journal):
        record = self.both(start_budget(manual), journal)
        record(Proposed(Candidate("0001", 0)))
        record(Asked("0001", 0, "gpt-x", (), None, None))
        budget = Budget(RunLimits(variants=2), clock=manual.clock)
        budget.recall(journal.cost_rows())
        assert (budget.spend.in_flight, budget.spend.variants) == (1, 1)
        run_candidate(budget, "0001", usd=0.1)
        assert (budget.spend.in_flight, budget.spend.variants, budget.spend.usd) == (0, 1, 0.1)

    def test_an_interrupted_and_resumed_run_keeps_the_ceiling(self, manual, journal):
        proposed, spent = 0, 0.0
        for life in range(4):
            budget = Budget(RunLimits(usd=1.0, reserve=0.0), slots=2, concurrency=3, clock=manual.clock)
            budget.recall(journal.cost_rows())
            record = self.both(budget, journal)
            record(START)
            run = self.run(manual, budget, seed=life)
            run.record = record
            run._ids = (f"{n:04d}" for n in itertools.count(proposed + 1))
            run.go(stop=lambda run: run.settled >= 9)
            proposed, spent = budget.spend.variants, budget.spend.usd
            manual.pass_(10_000)
        assert run.refusal.limit == "usd"
        assert 0.8 < spent <= 1.0 + 0.05 * 4


def test_a_failed_evaluation_has_its_duration():
    class Slow:
        exact = frozenset()

        def evaluate(self, job, sandbox, progress):
            time.sleep(0.05)
            return StageFailure("fit", "it ran too long")

    events = queue.SimpleQueue()
    evaluator = Evaluator(Slow(), Lanes("none", object, ["cpu"]), EvaluatorSettings(()))
    evaluation = EvaluationPool(RunContext(events.put), evaluator)
    outcome = evaluation.submit(Variant(Candidate("0001", 0), GENOME)).result()
    settled = events.get()
    assert settled.outcome == outcome
    assert 0.05 <= settled.seconds < 5
    evaluation.close()


def test_an_evaluation_is_journaled_with_what_it_held(tmp_path):
    journal = Journal(tmp_path / "journal.db")
    journal.record(Settled(Failure(Candidate("0001", 0), "fit", "out of memory"), 12.5, 0.5))
    journal.record(Settled(Failure(Candidate("0002", 0), "contract", "no code")))
    rows = {key: data for _, _, key, data in journal.events("settled")}
    assert (rows["0001"]["seconds"], rows["0001"]["gpus"]) == (12.5, 0.5)
    assert "seconds" not in rows["0002"]
    journal.close()


class TestWhatFollowsTheSearch:
    def test_it_may_use_the_reserve_once_that_is_opened(self, manual):
        budget = start_budget(manual, hours=1.0, gpu_hours=1.0, reserve=0.5, grace_seconds=0)
        run_candidate(budget, "0001", seconds=60, gpus=1)
        manual.pass_(1800)
        assert budget.late() and budget.admits_evaluation("seed/7") and budget.seconds_left() == 0
        budget.open_reserve()
        assert budget.late() is None and budget.admits_evaluation("seed/7") is None
        assert budget.seconds_left() == 1800
        manual.pass_(1800)
        assert budget.late() and budget.admits_evaluation("seed/8")

    def test_where_no_confirmation_follows_the_search_may_use_everything(self):
        limits = RunLimits(hours=1.0, reserve=0.5)
        assert [limits.for_search(at_end).share for at_end in ("auto", True, False, None)] == [0.5, 0.5, 1.0, 0.5]

    @pytest.mark.parametrize(
        ("limits", "keeps"),
        [({}, False), ({"variants": 9}, False), ({"tokens": 9}, False), ({"hours": 1.0}, True), ({"until": "07:00"}, True),
         ({"usd": 1.0}, True), ({"gpu_hours": 1.0}, True), ({"hours": 1.0, "reserve": 0.0}, False)],
    )  # fmt: skip
    def test_a_reserve_is_kept_of_time_dollars_and_gpus(self, limits, keeps):
        assert RunLimits(**limits).keeps_reserve is keeps

    def test_how_many_evaluations_are_affordable(self, manual):
        budget = start_budget(manual, slots=2, hours=1.0, gpu_hours=1.0, reserve=0.0)
        assert budget.affordable_evaluations() is None  # nothing is known of them
        run_candidate(budget, "0001", seconds=60, gpus=0.5)
        manual.pass_(1800)
        assert budget.affordable_evaluations() == pytest.approx(60)  # by time; by GPUs it were 119
        few = start_budget(manual, slots=2, gpu_hours=0.05, reserve=0.0)
        run_candidate(few, "0001", seconds=60, gpus=0.5)
        assert few.affordable_evaluations() == pytest.approx(5)
        assert start_budget(manual, usd=1.0).affordable_evaluations() is None

    def test_its_trainings_are_counted_once_now_and_by_a_later_process(self, manual, tmp_path):
        events = [Retrained(1, "null-1", seed, None, None, "fit: NaN", 10.0, 0.5) for seed in (7, 8)]
        budget = start_budget(manual)
        for event in (*events, events[0]):
            budget.see(event)
        assert (budget.spend.evaluation_seconds, budget.spend.gpu_seconds, budget.spend.settled) == (20, 10, 0)
        journal = Journal(tmp_path / "journal.db")
        journal.record(START, *events)
        later = Spend()
        later.recall(journal.cost_rows())
        journal.close()
        assert (later.evaluation_seconds, later.gpu_seconds) == (20, 10)

    def test_one_that_ended_is_no_longer_under_way(self, manual):
        budget = start_budget(manual)
        budget.admits_evaluation(Retrained.id_of("null-1", 7))
        assert budget.spend.evaluations() == 1
        budget.see(Retrained(1, "null-1", 7, None, None, "fit: NaN", 10.0))
        assert budget.spend.evaluations() == 0

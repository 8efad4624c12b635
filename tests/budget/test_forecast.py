import dataclasses
import math
import random
from dataclasses import fields
from datetime import datetime

import pytest

from agent.budget import Forecast, RunLimits
from agent.budget.budget import forecast_from_journal
from agent.budget.forecast import compute_forecast, forecast_facts, forecast_text
from agent.core.objectives import Fitness
from agent.journal.events import Answered, Bred, Proposed, RunStarted, Settled
from agent.journal.store import Journal
from agent.llm import Completion, Usage
from agent.population.candidate import SEED_ID, Candidate, Individual, Variant
from agent.search.settings import SearchSettings
from tests.budget.simulation import GENOME, SEED, ManualClock, Run, breed, run_candidate, start_budget

MORNING = datetime(2026, 3, 3, 6, 12).timestamp()


def test_it_has_the_cost_of_a_variant_the_number_to_come_and_the_limit_that_ends_the_run():
    text = forecast_text(Forecast(41.2, 0.00871, 30.0, 1022, "until", MORNING))
    assert text == "41 s and 0.0087 USD a variant; 1,022 more variants by Tue 06:12, when the time is up"
    assert forecast_facts(Forecast(41.2, 0.00871, 30.0, 1022, "until", MORNING))["ends"].startswith("2026-03-03T06:12:00")


def test_unknown_values_are_shown_as_unknown():
    assert forecast_text(Forecast(None, None, None, None, None, None)) == ""
    assert forecast_text(Forecast(0.912, None, None, None, None, None)) == "0.91 s and dollars unknown a variant; no end in sight"
    assert forecast_text(Forecast(900.0, 0.0, None, 3, "planned", None)) == (
        "15 min and 0.0000 USD a variant; 3 more variants, when all are done"
    )


@pytest.mark.parametrize("limit", [field.name for field in fields(RunLimits) if field.name not in ("reserve", "grace_seconds")])
def test_every_limit_has_its_texts(limit):
    assert "more variants" in forecast_text(Forecast(1.0, 0.0, 0.0, 5, limit, MORNING))


def test_another_process_forecasts_the_same_from_the_journal(tmp_path):
    config = {"limits": {"hours": 1.0, "reserve": 0.0}, "llm": {"concurrency": 4}}
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
    found = forecast_from_journal(journal.events(), config, SearchSettings().candidates, last + 600, slots=2)
    journal.close()
    assert (found.seconds_per_variant, found.usd_per_variant) == (10.0, 0.25)  # two slots of 20 s each
    assert found.limit == "planned" and found.variants == SearchSettings().candidates
    assert found.ends == pytest.approx(last + 600 + SearchSettings().candidates * 10.0)


class TestForecast:
    def test_before_there_is_data_it_is_unknown(self, manual):
        budget = start_budget(manual, usd=5.0, hours=8.0)
        text = budget.forecast()
        assert dataclasses.astuple(text) == (None,) * 6

    def test_one_ceiling_of_unknown_cost_leaves_the_end_unknown(self, manual):
        budget = start_budget(manual, usd=5.0, hours=8.0)
        manual.pass_(10)
        run_candidate(budget, "0001", usd=None, seconds=10)
        text = budget.forecast()
        assert text.seconds_per_variant == pytest.approx(10)
        assert (text.usd_per_variant, text.variants, text.limit, text.ends) == (None, None, None, None)

    def test_without_limits_there_is_a_pace_and_no_end_but_that_of_the_plan(self, manual):
        budget = start_budget(manual)
        for n in range(5):
            manual.pass_(20)
            run_candidate(budget, f"{n:04d}", usd=0.1, seconds=19.0, gpus=0.5)
        assert budget.forecast().variants is None
        text = budget.forecast(planned=105)
        assert (text.variants, text.limit, text.ends) == (100, "planned", pytest.approx(manual.wall + 2000))
        assert (text.usd_per_variant, text.gpu_seconds_per_variant) == (pytest.approx(0.1), 9.5)

    def test_the_seed_and_one_answer_are_enough_for_a_first_pace(self, manual):
        budget = start_budget(manual, slots=3, concurrency=2, hours=1.0, reserve=0.0)
        budget.see(Settled(SEED, 60.0))
        assert budget.forecast().variants is None
        breed(budget, "0001", seconds=10)
        assert budget.forecast().seconds_per_variant == pytest.approx(20)
        assert budget.forecast().variants == 180

    def test_the_cost_of_the_first_answers_is_used_until_a_candidate_has_settled(self, manual):
        budget = start_budget(manual, usd=1.0, reserve=0.0)
        budget.see(Settled(SEED, 60.0))
        breed(budget, "0001", usd=0.02)
        assert (budget.forecast().usd_per_variant, budget.forecast().variants) == (0.02, 49)

    def test_the_ceiling_that_is_reached_first_is_named(self, manual):
        for limits, limit, variants in (
            ({"usd": 1.0, "hours": 10.0}, "usd", 9),
            ({"usd": 100.0, "hours": 1.0}, "hours", 59),
            ({"tokens": 1000, "usd": 100.0}, "tokens", 4),
            ({"gpu_hours": 0.5, "usd": 100.0}, "gpu_hours", 29),
            ({"variants": 3, "usd": 100.0}, "variants", 2),
            ({"until": "22:31", "usd": 100.0}, "until", 30),
        ):
            manual = ManualClock()
            budget = start_budget(manual, **limits, reserve=0.0)
            manual.pass_(60)
            run_candidate(budget, "0001", usd=0.1, tokens=(100, 100), seconds=60, gpus=1)
            text = budget.forecast()
            assert (text.limit, text.variants) == (limit, variants)
            assert text.ends == pytest.approx(manual.wall + 60 * variants)

    def test_a_ceiling_that_is_passed_leaves_no_candidate(self, manual):
        budget = start_budget(manual, usd=1.0)
        manual.pass_(60)
        run_candidate(budget, "0001", usd=1.5, seconds=60)
        assert (budget.forecast().variants, budget.forecast().ends) == (0, manual.wall)

    def test_one_hung_call_does_not_spoil_the_running_mean(self, manual):
        budget = start_budget(manual)
        for n in range(200):
            run_candidate(budget, f"{n:04d}", usd=1.0 if n != 150 else 20.0)
        assert budget.spend.candidate_usd.value == pytest.approx(1.0, rel=0.2)

    @pytest.mark.parametrize("limits", [{"usd": 4.0}, {"hours": 3.0}, {"gpu_hours": 4.0}, {"until": "02:00"}, {"tokens": 40_000}])
    @pytest.mark.parametrize(("slots", "concurrency", "breeding"), [(1, 4, 20.0), (4, 2, 5.0), (3, 2, 90.0)])
    @pytest.mark.parametrize("seed", [1, 2, 3])
    def test_a_quarter_into_a_run_it_knows_the_end_within_a_sixth(self, limits, slots, concurrency, breeding, seed):
        def run(stop):
            manual = ManualClock()
            budget = start_budget(manual, slots=slots, concurrency=concurrency, **limits)
            simulated = Run(
                budget,
                manual,
                random.Random(seed),
                slots=slots,
                concurrency=concurrency,
                ahead=slots + concurrency,
                cost=lambda chance: chance.lognormvariate(-4.5, 0.4),
                breed_seconds=lambda chance: chance.lognormvariate(math.log(breeding), 0.3),
                evaluate_seconds=lambda chance: chance.uniform(30, 90),
            )
            return simulated.go(stop)

        whole = run(lambda _: False)
        assert whole.refusal.limit == next(iter(limits))
        quarter = run(lambda r: r.settled >= whole.settled / 4)
        text = quarter.budget.forecast()
        assert text == compute_forecast(
            quarter.budget.limits, quarter.budget.spend, quarter.manual.time(quarter.budget), slots, concurrency
        )
        assert text.limit == next(iter(limits))
        assert quarter.settled + text.variants == pytest.approx(whole.settled, rel=1 / 6)
        assert text.ends == pytest.approx(whole.manual.wall, abs=(whole.manual.wall - whole.budget.spend.started) / 6)

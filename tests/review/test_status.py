"""The status of a small run, written through the journal as a run writes it."""

import json

import pytest

from agent.core.noise import Noise
from agent.core.objectives import Objective
from agent.core.worth import WorthScale
from agent.journal.events import (
    EliteRetrained,
    NoiseMeasured,
    Proposed,
    RunEnded,
    RunStarted,
    SeedFailed,
    SeedRepeated,
    Settled,
)
from agent.journal.store import Journal
from agent.population.candidate import SEED_ID, Candidate, Evidence, Failure, Individual
from agent.review.candidates import candidates
from agent.review.status import status
from tests.review.small_run import BETTER, CONFIG, EVENTS, SMALLER, candidate, fitness, genome

NOISE = Noise({"accuracy": 0.1, "parameters": 0.0}, {"accuracy": 0.6, "parameters": 100.0}, 2, 3)
UNITS = NoiseMeasured(NOISE, WorthScale.of([Objective("accuracy", "max"), Objective("parameters", "min")], NOISE))


def facts_of(journal, alive=False):
    return status(journal, "night", alive=alive)


class TestStatus:
    def test_each_candidate_is_counted_once_by_its_outcome(self, small_run):
        counts = facts_of(small_run)["counts"]
        assert counts == {"proposed": 7, "invalid": 1, "duplicate": 1, "failed": 1, "trained": 3}
        assert sum(counts.values()) - counts["proposed"] == 6  # one is in flight

    def test_reasons_of_failures_are_counted_most_frequent_first(self, small_run):
        for id in ("0008", "0009"):
            small_run.record(Proposed(candidate(id)))
            small_run.record(Settled(Failure(candidate(id), "answer", "no code")))
        failures = facts_of(small_run)["failures"]
        assert list(failures.items()) == [("answer: no code", 3), ("fit: out of memory", 1)]

    def test_the_front_holds_what_nothing_dominates_with_branches(self, small_run):
        assert facts_of(small_run)["front"] == [
            {
                "id": "0001",
                "branch": "evolve/night/0001",
                "fitness": {"accuracy": 0.9, "parameters": 100.0},
                "intention": "try 0001",
                "judgements": None,
                "trainings": 1,
                "error": None,
            },
            {
                "id": "0002",
                "branch": None,
                "fitness": {"accuracy": 0.6, "parameters": 50.0},
                "intention": "try 0002",
                "judgements": None,
                "trainings": 1,
                "error": None,
            },
        ]

    def test_the_seed_is_on_the_front_until_it_is_beaten(self, journal):
        for event in EVENTS[:3]:
            journal.record(event)
        facts = facts_of(journal)
        assert [entry["id"] for entry in facts["front"]] == [SEED_ID]
        assert facts["seed"] == {"fitness": {"accuracy": 0.5, "parameters": 100.0}, "trainings": 1, "planned": 1, "error": None}
        before = facts["hypervolume"]
        for event in EVENTS[3:8]:
            journal.record(event)
        assert facts_of(journal)["hypervolume"] > before > 0

    def test_money_tokens_and_calls_are_summed_and_unknown_prices_counted(self, small_run):
        spend = facts_of(small_run)["spend"]
        assert spend["usd"] == 0.25 + 0.5 + 0.0 + 1.0 + 0.125
        assert spend["calls_without_a_known_price"] == 1
        assert (spend["llm_calls"], spend["tokens_in"], spend["tokens_out"]) == (7, 70, 35)

    def test_the_cost_of_progress_is_that_of_all_calls(self, small_run):
        facts = facts_of(small_run)
        cost = facts["cost"]
        assert (cost["tokens"], cost["tokens_cached"], cost["tokens_estimated"]) == (105, 0, False)
        assert (cost["tokens_per_trained"], cost["tokens_per_worth"]) == (35, 105 / (facts["worth"] - 1))
        assert (cost["usd"], cost["usd_per_trained"], cost["usd_per_worth"]) == (None, None, None)  # one call has no price

    def test_the_phase_is_what_the_process_at_work_does(self, journal):
        assert facts_of(journal, alive=True)["phase"] is None
        seed = Individual(Candidate(SEED_ID, 0), genome(8), fitness(0.5, 100.0), Evidence({"fit": 2.0}))
        steps = (
            (RunStarted({**CONFIG, "noise": {"trainings": 2}}, "full", ()), ("seed", 0)),
            (SeedFailed(0, "fit", "NaN", 1.0), ("seed", 0)),
            (Settled(seed), ("noise", 1)),
            (SeedRepeated(1, fitness(0.6, 100.0), "", 1.0), ("noise", 2)),
            (SeedRepeated(2, fitness(0.7, 100.0), "", 1.0), ("noise", 3)),
            (UNITS, ("search", 3)),
        )
        for event, expected in steps:
            journal.record(event)
            facts = facts_of(journal, alive=True)
            assert (facts["phase"], facts["seed"]["trainings"]) == expected
            assert facts["seed"]["planned"] == 3
        assert facts_of(journal)["phase"] is None  # no process is at work

    def test_only_the_time_in_which_a_process_worked_is_counted(self, journal, monkeypatch):
        happened = (
            (1000.0, RunStarted(CONFIG, "full", ())),
            (1030.0, Proposed(BETTER)),  # and then the process is killed
            (9000.0, RunStarted(CONFIG, "full", ())),
            (9005.0, Proposed(SMALLER)),
            (9007.0, RunEnded("stopped", "")),
            (20000.0, RunStarted(CONFIG, "full", ())),
            (20001.5, RunEnded("finished", "")),
        )
        for moment, event in happened:
            monkeypatch.setattr("agent.journal.store.time.time", lambda moment=moment: moment)
            journal.record(event)
        assert facts_of(journal)["spend"]["seconds"] == 30.0 + 7.0 + 1.5

    def test_generations_and_isolation_are_those_of_the_run(self, small_run):
        facts = facts_of(small_run)
        assert (facts["run"], facts["generation"], facts["generations"]) == ("night", 2, 2)
        assert (facts["isolation"], facts["objectives"]) == ("full", CONFIG["objectives"])

    @pytest.mark.parametrize(("slots", "devices"), [(1, ("cpu",)), ("2/gpu", ("cuda:0", "cuda:0")), ("cpu:2", ("cpu", "cpu"))])
    def test_a_forecast_counts_slots_in_whatever_form_they_were_asked_for(self, journal, slots, devices):
        config = {**CONFIG, "sandbox": {"slots": slots}, "limits": {"hours": 9.0}}
        child = Individual(BETTER, genome(9), fitness(0.9, 100.0))
        for event in (RunStarted(config, "full", (), devices=devices), *EVENTS[1:7], Settled(child, 40.0)):
            journal.record(event)
        assert facts_of(journal, alive=True)["forecast"]["seconds_per_variant"] == 40.0 / len(devices)

    def test_a_run_is_running_while_its_lock_is_held_and_stopped_if_it_ended_without_an_event(self, small_run):
        assert facts_of(small_run, alive=True)["state"] == "running"
        assert facts_of(small_run)["state"] == "stopped"

    @pytest.mark.parametrize("state", ["finished", "stopped", "failed"])
    def test_a_run_that_ended_is_in_the_state_it_named_with_its_reason(self, small_run, state):
        small_run.record(RunEnded(state, "because"))
        assert (facts_of(small_run)["state"], facts_of(small_run)["reason"]) == (state, "because")

    def test_a_resumed_and_killed_run_is_stopped_whatever_its_earlier_state(self, small_run):
        small_run.record(RunEnded("failed", "the provider was down"))
        small_run.record(RunStarted(CONFIG, "contained", ()))
        assert (facts_of(small_run)["state"], facts_of(small_run)["reason"]) == ("stopped", "")
        assert facts_of(small_run)["isolation"] == "contained"

    def test_a_journal_in_which_nothing_happened_has_a_status(self, journal):
        facts = facts_of(journal)
        assert (facts["state"], facts["seed"], facts["front"], facts["hypervolume"]) == (
            "stopped",
            {"fitness": None, "trainings": 0, "planned": 1, "error": None},
            [],
            0.0,
        )
        assert set(facts["counts"].values()) == {0}
        assert set(facts["spend"].values()) == {0}

    def test_it_is_plain_json(self, small_run):
        facts = facts_of(small_run)
        assert json.loads(json.dumps(facts, allow_nan=False)) == facts


def test_a_status_is_read_from_a_journal_that_another_process_writes(small_run, tmp_path):
    reader = Journal(tmp_path / "journal.db", read_only=True)
    before = facts_of(reader)["counts"]["proposed"]
    small_run.record(Proposed(candidate("0008")))
    assert facts_of(reader)["counts"]["proposed"] == before + 1
    reader.close()

    def test_a_value_is_the_mean_of_all_readings_with_its_error_and_one_that_failed_leads_no_more(self, small_run):
        for seed, accuracy in ((1, 0.52), (2, 0.54)):
            small_run.record(SeedRepeated(seed, fitness(accuracy, 100.0), "", 1.0))
        small_run.record(EliteRetrained("0001", 1, fitness(0.7, 100.0), "", 1.0))
        small_run.record(EliteRetrained("0002", 1, None, "fit: NaN", 1.0))
        facts = facts_of(small_run)
        assert [member["id"] for member in facts["front"]] == ["0001"]
        (member,) = facts["front"]
        sigma = ((0.02**2 * 2 + 0.02) / 3) ** 0.5
        assert (member["fitness"]["accuracy"], member["trainings"]) == (pytest.approx(0.8), 2)
        assert member["error"] == {"accuracy": pytest.approx(sigma / 2**0.5)}
        assert (facts["noise"]["sigma"]["accuracy"], facts["noise"]["df"]) == (pytest.approx(sigma), 3)
        assert facts["seed"]["fitness"]["accuracy"] == pytest.approx(0.52) and facts["seed"]["trainings"] == 3
        assert facts["retrained"] == {"trainings": 2, "elites": 2, "faults": {"0002": "fit: NaN"}}
        known = {one["id"]: one for one in candidates(small_run)}
        assert (known["0002"]["fault"], known["0002"]["trainings"], known["0002"]["outcome"]) == ("fit: NaN", 1, "trained")
        assert [one["accuracy"] for one in known["0001"]["readings"]] == [0.9, 0.7]

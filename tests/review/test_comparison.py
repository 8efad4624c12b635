"""Runs side by side, from journals written event by event."""

import math
from contextlib import closing

import pytest

from agent.core.errors import UserError
from agent.core.objectives import Fitness
from agent.genome import Genome
from agent.journal.events import Answered, Proposed, RunStarted, Settled
from agent.journal.store import Journal
from agent.llm import Completion, Usage
from agent.population.candidate import SEED_ID, Candidate, Individual, Recipe
from agent.review.comparison import compare


def written(path, values, *, usd=0.1, objectives=None, seed=(0.5, 100)):
    journal = Journal(path)
    config = {"objectives": objectives or {"accuracy": "max", "parameters": "min"}, "llm": {"models": ["m"]}}
    journal.record(RunStarted(config, "full", ()))
    for number, (accuracy, parameters) in enumerate([seed, *values]):
        id = f"{number:04d}" if number else SEED_ID
        recipes = (Recipe("mutate", (SEED_ID,), ("a",), "m", 1),) if number else ()
        if number:
            journal.record(Proposed(Candidate(id, 0, recipes)))
            journal.record(Answered(id, 0, Completion("", "stop", Usage(1, 1), usd, 0.0, "m")))
        fitness = Fitness({"accuracy": accuracy, "parameters": parameters})
        journal.record(Settled(Individual(Candidate(id, 0, recipes), Genome({"model.py": ""}), fitness)))
    return journal


def fewer(parameters):
    """The worth of so many parameters at the accuracy of a seed with 100: one tenth more for each step of 10 %."""
    return 1 + math.log(100 / parameters) / math.log(1.1) / 10


def test_runs_are_compared_at_equal_numbers_and_at_equal_dollars(tmp_path):
    quick = written(tmp_path / "a", [(0.5, 50), (0.5, 40), (0.5, 30)], usd=0.1)
    dear = written(tmp_path / "b", [(0.5, 80), (0.5, 20)], usd=1.0)
    with closing(quick), closing(dear):
        facts = compare({"quick": quick, "dear": dear})
    a, b = facts["runs"]
    assert facts["equal"] == {"trained": 2, "usd": pytest.approx(0.3)}
    assert (a["trained"], b["trained"]) == (3, 2)
    assert a["at_equal_trained"] == pytest.approx(fewer(40), abs=1e-6)
    assert b["at_equal_trained"] == pytest.approx(fewer(20), abs=1e-6)
    assert a["at_equal_usd"] == pytest.approx(fewer(30), abs=1e-6) and b["at_equal_usd"] == 1.0
    assert [p["worth"] for p in a["points"]] == pytest.approx([1.0, fewer(50), fewer(40), fewer(30)], abs=1e-6)


def test_each_run_says_what_its_progress_has_cost(tmp_path):
    gained, nothing = written(tmp_path / "a", [(0.5, 50), (0.5, 80)], usd=0.5), written(tmp_path / "b", [(0.5, 200)])
    cached = Completion("", "stop", Usage(1000, 96, estimated=True, tokens_cached=800), 0.0, 0.0, "m")
    nothing.record(Answered("0001", 1, cached))
    with closing(gained), closing(nothing):
        a, b = (run["cost"] for run in compare({"a": gained, "b": nothing})["runs"])
    worth = fewer(50) - 1
    assert (a["tokens"], a["tokens_estimated"], a["tokens_per_trained"], a["usd_per_trained"]) == (4, False, 2.0, 0.5)
    assert (a["tokens_per_worth"], a["usd_per_worth"]) == (pytest.approx(4 / worth), pytest.approx(1 / worth))
    assert (b["tokens"], b["tokens_cached"], b["tokens_estimated"]) == (1098, 800, True)
    assert (b["tokens_per_trained"], b["tokens_per_worth"], b["usd_per_worth"]) == (1098, None, None)


def test_worth_is_measured_by_the_first_seed(tmp_path):
    a, b = written(tmp_path / "a", []), written(tmp_path / "b", [], seed=(0.5, 50))
    with closing(a), closing(b):
        assert [run["worth"] for run in compare({"a": a, "b": b})["runs"]] == pytest.approx([1.0, fewer(50)], abs=1e-6)


def test_other_objectives_cannot_be_compared(tmp_path):
    a, b = written(tmp_path / "a", []), written(tmp_path / "b", [], objectives={"parameters": "min", "accuracy": "max"})
    with closing(a), closing(b), pytest.raises(UserError, match="b has other objectives than a"):
        compare({"a": a, "b": b})


def test_a_run_without_a_seed_is_refused(tmp_path):
    with closing(Journal(tmp_path / "a")) as journal, pytest.raises(UserError, match="nothing to compare"):
        compare({"a": journal})

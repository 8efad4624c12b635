"""The format of a journal file: kinds and JSON keys never change, whatever the names of the types."""

import json
import shutil
from pathlib import Path

import pytest

from agent.budget import Budget, RunLimits
from agent.core.noise import Noise
from agent.core.objectives import Fitness, Objective
from agent.core.verdicts import Comparison, Verdict, Verdicts
from agent.core.worth import WorthScale
from agent.genome import Genome
from agent.journal import events as journal_events
from agent.journal.codec import read_candidate, read_completion, read_seed, write_candidate, write_event
from agent.journal.events import (
    Answered,
    Asked,
    Bred,
    Committed,
    DirectiveWritten,
    EliteRetrained,
    Generalised,
    GenerationEnded,
    Learned,
    ModelsChecked,
    NoiseMeasured,
    PlateauLevelChanged,
    Proposed,
    Rejected,
    Repaired,
    Retrained,
    RunEnded,
    RunStarted,
    SealOpened,
    SearchEnded,
    SearchSized,
    SeedFailed,
    SeedRepeated,
    Settled,
    ShortlistFrozen,
    SteeringChanged,
    VerdictsReached,
)
from agent.journal.header import config_of, objectives_of, seed_fitness_of
from agent.journal.replay import read_replay
from agent.journal.store import Journal
from agent.journal.tracker import Tracker
from agent.llm import Completion, CoolDownEnded, CoolDownStarted, Message, Usage
from agent.memory import Lesson
from agent.population.candidate import SEED_ID, Candidate, Duplicate, Evidence, Failure, Individual, Recipe, Variant
from agent.review.status import status

DATA = Path(__file__).parent / "data"

RECIPE = Recipe(
    "mutate", ("seed",), ("Net",), "gpt-x", 7, role="expert", directive="complex", elite="0003", example="Head",
    temperature=0.3, max_tokens=16000,
)  # fmt: skip
CANDIDATE = Candidate("0001", 2, (RECIPE,), ("0000", "0003"))
GENOME = Genome({"model.py": "class Net:\n    x = 1\n"})
VARIANT = Variant(CANDIDATE, GENOME, "wider", changed=("Net",))
EVIDENCE = Evidence(
    {"fit": 1.25, "predict": 0.5}, 10_000, ((2.3, 0.1), (1.1, 0.6)), {"Net": 12}, {"Net": (("4x8x8", 12), ("10", 0))},
    (("Shirt as Coat", 41), ("all", 120)), "full", ("seccomp",), "cuda:1", 0.75,
)  # fmt: skip
FITNESS = Fitness({"accuracy": 0.9, "parameters": 12.0})
LESSON = Lesson(
    "0001", "mutate", ("Net",), ("Conv2d",), "expert", "complex", "gpt-x", "- x = 0\n+ x = 1", "wider", "more",
    {"accuracy": 0.1}, {"accuracy": 2.0}, "better", "", "Width helps.", ("0000",), cited=("0000",),
)  # fmt: skip
NOISE = Noise({"accuracy": 0.01, "parameters": 0.0}, {"accuracy": 0.5, "parameters": 100.0}, 3, 4)
RETRAINED = Retrained(2, SEED_ID, 7, {"accuracy": 0.5}, {"accuracy": 0.25}, "", 2.0, 0.5)
COMPARISON = Comparison(0.5, 0.25, 0.125, 0.375, 0.01, 0.02, 0.03, None, 0.0625)
VERDICT = Verdict("0001", "member", "better", "confirmed better on accuracy", 5, ("fit: NaN",), {"accuracy": COMPARISON})
VERDICTS = Verdicts((VERDICT,), 1, 2.0, {"accuracy": 0.01}, "passed", True)
EVENTS = (
    RunStarted(
        {"limits": {"usd": 5.0}}, "full", ("seccomp",), ("cpu",), {"seed/model.py": "6ac7"}, ("limits.usd: 4.0 -> 5.0",), True
    ),
    Proposed(CANDIDATE),
    Asked("0001", 0, "gpt-x", (Message("system", "rules"), Message("user", "ask")), 0.3, 16000),
    Answered("0001", 0, Completion("text", "stop", Usage(10, 20, True), 0.25, 1.5, "gpt-y")),
    ModelsChecked({"gpt-x": "", "gpt-y": "gpt-y does not answer."}),
    Rejected("0001", 0, "contract", ("undefined name",)),
    Bred(VARIANT),
    Repaired(VARIANT, "it crashed"),
    Settled(Individual(Candidate(SEED_ID, 0), GENOME, FITNESS, EVIDENCE), 3.0, 0.5),
    Settled(Individual(CANDIDATE, GENOME, FITNESS, EVIDENCE, "wider", ("Net",)), 2.5, 0.5),
    Settled(Failure(Candidate("0002", 2, (RECIPE,)), "fit", "out of memory", "log")),
    Settled(Duplicate(Candidate("0003", 2, (RECIPE,)), "0001")),
    SeedRepeated(1, FITNESS, "", 2.0, 0.5),
    SeedRepeated(2, None, "NaN", 2.0),
    NoiseMeasured(NOISE, WorthScale.of([Objective("accuracy", "max"), Objective("parameters", "min")], NOISE)),
    SearchSized(4, "rewrite", {"rewrite": 0.6, "eot": 0.4}),
    Learned(LESSON),
    Generalised("insight-1", ("0000", "0001"), "Width helps."),
    DirectiveWritten("complex-1", "Be bold.", "complex"),
    PlateauLevelChanged(1, 2, "no growth"),
    SteeringChanged("guidance", "Keep it small."),
    GenerationEnded(0, ("0001",), ("0001",), ("seed", "0001"), 1.25),
    Committed("0001", "evolve/night/0001", "ab" * 20),
    CoolDownStarted("gpt-x", 30.0, "down", True),
    CoolDownEnded("gpt-x"),
    RunEnded("stopped", "stopped by the user"),
    SearchEnded("finished", "hours: all used"),
    ShortlistFrozen(
        2,
        {SEED_ID: dict(FITNESS.values), "null-1": None},
        {"null-1": {"model.py": "x = 1\n"}},
        ((SEED_ID, 7), ("null-1", 8)),
        2.0,
        True,
        "its own",
        True,
        4,
    ),
    SealOpened(2),
    RETRAINED,
    Retrained(2, "null-1", 8, None, None, "fit: NaN", 1.0),
    VerdictsReached(2, VERDICTS),
    SeedFailed(3, "fit", "NaN", 2.0, 0.5),
    Answered("0001", 1, Completion("text", "stop", Usage(10, 20, False, 8), 0.25, 1.5, "gpt-y")),
    EliteRetrained("0001", 1, FITNESS, "", 2.0, 0.5),
    EliteRetrained("0001", 2, None, "fit: NaN", 1.0),
)
RECORDED = [json.loads(line) for line in (DATA / "every_kind.jsonl").read_text().splitlines()]
"""[kind, key, data] as an earlier version wrote them; keys that are moments in time are left out."""


def test_there_is_one_of_every_kind():
    assert {type(event) for event in EVENTS} == set(journal_events.Event.__args__)


@pytest.mark.parametrize(("event", "recorded"), list(zip(EVENTS, RECORDED, strict=True)), ids=[kind for kind, *_ in RECORDED])
def test_an_event_is_written_with_the_kind_key_and_names_of_earlier_versions(event, recorded):
    kind, key, data = write_event(event)
    if "fingerprint" in recorded[2]:  # depends on the version of Python
        recorded[2]["fingerprint"] = GENOME.fingerprint
    assert [kind, json.loads(json.dumps(data))] == [recorded[0], recorded[2]]
    assert key == recorded[1] or (recorded[1] == "" and key.isdigit())


def test_tokens_from_a_cache_are_read_again_and_earlier_answers_had_none():
    cached, earlier = (read_completion(data) for kind, _, data in reversed(RECORDED) if kind == "answered")
    assert (cached.usage.tokens_cached, earlier.usage.tokens_cached) == (8, 0)


def test_sizes_of_an_earlier_version_are_calls_of_unknown_parameters():
    (row,) = [data for kind, _, data in RECORDED if kind == "settled" and data["outcome"] == "seed"]
    evidence = {name: value for name, value in row["evidence"].items() if name != "calls_by_block"}
    seed = read_seed({**row, "evidence": {**evidence, "sizes_by_block": {"Net": ["4x8x8", "10"]}}}, GENOME)
    assert seed.evidence.calls_by_block == {"Net": (("4x8x8", 0), ("10", 0))}
    assert read_seed(row, GENOME).evidence.calls_by_block == {"Net": (("4x8x8", 12), ("10", 0))}


def test_mistakes_are_read_as_they_were_counted_and_earlier_versions_counted_none():
    (row,) = [data for kind, _, data in RECORDED if kind == "settled" and data["outcome"] == "seed"]
    assert read_seed(row, GENOME).evidence.mistakes == (("Shirt as Coat", 41), ("all", 120))
    evidence = {name: value for name, value in row["evidence"].items() if name != "mistakes"}
    assert read_seed({**row, "evidence": evidence}, GENOME).evidence.mistakes == ()


class TestARunOfAnEarlierVersion:
    """Three candidates of `seeds/tiny_cnn` by the offline model, as a version with other names in its code journaled them."""

    @pytest.fixture
    def journal(self, tmp_path):
        shutil.copy(DATA / "earlier_run.db", tmp_path / "journal.db")
        journal = Journal(tmp_path / "journal.db")
        yield journal
        journal.close()

    def test_is_read_by_a_resume(self, journal):
        (seed_row,) = [data for _, _, key, data in journal.events("settled") if key == SEED_ID]
        seed = read_seed(seed_row, Genome({}))
        replay = read_replay(journal, seed.genome)
        assert sorted(replay.candidates) == sorted(replay.variants) == sorted(replay.outcomes) == ["0001", "0002", "0003"]
        assert all(isinstance(outcome, Individual) for outcome in replay.outcomes.values())
        assert sorted(replay.answers) == [("0001", 0), ("0002", 0), ("0003", 0)]
        assert sorted(replay.lessons) == ["0001", "0002", "0003"]
        assert sorted(replay.commits) == ["0001", "0002", "0003", SEED_ID]
        assert sorted(replay.repeats) == [1, 2, 3]
        assert len(replay.history) == 6
        assert journal.unanswered() == 0

    def test_is_counted_by_tracker_and_budget(self, journal):
        tracker = Tracker()
        tracker.recall(journal.events())
        budget = Budget(RunLimits(variants=4), tracker=tracker)
        budget.recall(journal.cost_rows())
        assert (budget.spend.variants, budget.spend.settled, budget.spend.in_flight) == (3, 3, 0)
        assert budget.admits_breeding() is None
        assert budget.admits_breeding(2).limit == "variants"
        assert tracker.get("0001").models == ("offline",)
        assert tracker.get("0001").candidate.id == "0001"

    def test_names_the_event(self, journal):
        assert objectives_of(journal) == (Objective("accuracy", "max"), Objective("parameters", "min"))
        assert config_of(journal)["search"]["first_population"] == 3
        assert seed_fitness_of(journal)["parameters"] == 5178
        facts = status(journal, "old", alive=False)
        assert facts["state"] == "finished"
        assert facts["counts"]["trained"] == 3
        assert facts["spend"]["llm_calls"] == 3


def test_a_recipe_keeps_its_sources_and_an_older_row_has_none():
    together = Candidate("0002", 1, (Recipe("assemble", ("seed", "0001"), ("Net",), "", 7, sources=("0001",)),))
    written = json.loads(json.dumps(write_candidate(together)))
    assert read_candidate(written) == together
    assert "sources" not in write_candidate(CANDIDATE)["recipes"][0] and read_candidate(write_candidate(CANDIDATE)) == CANDIDATE

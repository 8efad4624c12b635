"""A small run, written through the journal as a run writes it, and what is told of it."""

import json
import shutil
import subprocess

import pytest

from agent.core.errors import UserError
from agent.core.objectives import Fitness
from agent.genome import Genome
from agent.journal.events import Answered, Asked, Bred, Committed, GenerationEnded, Proposed, RunEnded, RunStarted, Settled
from agent.journal.replay import read_replay
from agent.journal.store import Journal
from agent.llm import Completion, Message, Usage
from agent.population.candidate import SEED_ID, Candidate, Duplicate, Evidence, Failure, Individual, Recipe, Variant
from agent.review import learning as learned
from agent.review import status as summary

SOURCE = "class Net:\n    width = 8\n\n\ndef rate():\n    return 1\n"
CONFIG = {"objectives": {"accuracy": "max", "parameters": "min"}, "search": {"generations": 2, "schedule": "generational"}}


def genome(width, rate=1):
    return Genome({"model.py": SOURCE.replace("8", str(width)).replace("return 1", f"return {rate}")})


def fitness(accuracy, parameters):
    return Fitness({"accuracy": accuracy, "parameters": parameters})


def candidate(id, generation=0, **recipe):
    return Candidate(id, generation, (Recipe(**{**MUTATION, **recipe}),))


MUTATION = {
    "operator": "mutate", "parents": (SEED_ID,), "blocks": ("Net",), "model": "gpt-x", "seed": 1,
    "role": "expert", "directive": "complex", "temperature": 0.3,
}  # fmt: skip


def asked(id, call, text="Improve it.", model="gpt-x"):
    return Asked(id, call, model, (Message("system", "You are."), Message("user", text)), 0.3, None)


def answered(id, call, usd, tokens=(10, 5), text="code"):
    return Answered(id, call, Completion(text, "stop", Usage(*tokens), usd, 1.0, "gpt-x"))


def bred(born, genes):
    return Bred(Variant(born, genes, f"try {born.id}"))


def trained(born, genes, measured, seconds=1.0):
    evidence = Evidence({"fit": seconds, "predict": seconds / 4}, 1000, ((1.0, 0.5),), {"Net": 3}, {}, "full", ("seccomp",))
    return Settled(Individual(born, genes, measured, evidence))


BETTER, SMALLER, WORSE = candidate("0001"), candidate("0002"), candidate("0003", blocks=("rate",), role=None)
TWIN, BROKEN, BLANK = candidate("0004", 1), candidate("0005", 1), candidate("0006", 1, model="free")
MATED = Candidate(
    "0007", 2,
    (
        Recipe("mate", ("0001", "0002"), ("Net",), "gpt-x", 2, temperature=0.1),
        Recipe("eot", ("0001",), ("rate",), "other", 3, elite="0002", example="Net", temperature=0.9),
    ),
)  # fmt: skip
EVENTS = (
    RunStarted(CONFIG, "full", ("seccomp",)),
    Settled(Individual(Candidate(SEED_ID, 0), genome(8), fitness(0.5, 100.0), Evidence({"fit": 2.0}))),
    Committed(SEED_ID, "evolve/night/seed", "a" * 40),
    Proposed(BETTER), asked("0001", 0), answered("0001", 0, 0.25), bred(BETTER, genome(9)),
    trained(BETTER, genome(9), fitness(0.9, 100.0)), Committed("0001", "evolve/night/0001", "b" * 40),
    Proposed(SMALLER), asked("0002", 0), answered("0002", 0, 0.5), bred(SMALLER, genome(4)),
    trained(SMALLER, genome(4), fitness(0.6, 50.0)),
    Proposed(WORSE), asked("0003", 0), answered("0003", 0, None), bred(WORSE, genome(8, 2)),
    trained(WORSE, genome(8, 2), fitness(0.4, 100.0)),
    GenerationEnded(0, ("0001", "0002", "0003"), ("0001",), ("0001", "0002"), 1.5),
    Proposed(TWIN), asked("0004", 0), answered("0004", 0, 0.0), bred(TWIN, genome(4)), Settled(Duplicate(TWIN, "0002")),
    Proposed(BROKEN), asked("0005", 0), answered("0005", 0, 1.0), bred(BROKEN, genome(7)),
    Settled(Failure(BROKEN, "fit", "out of memory", "Traceback")),
    Proposed(BLANK), asked("0006", 0, model="free"), answered("0006", 0, 0.0, text="no"),
    asked("0006", 1, "Again."), answered("0006", 1, 0.125, text="still no"),
    Settled(Failure(BLANK, "answer", "no code")),
    GenerationEnded(1, ("0001", "0002", "0003"), ("0001",), ("0001", "0002"), 1.5),
    Proposed(MATED), asked("0007", 0),
)  # fmt: skip


@pytest.fixture
def journal(tmp_path):
    journal = Journal(tmp_path / "journal.db")
    yield journal
    journal.close()


@pytest.fixture
def night(journal):
    for event in EVENTS:
        journal.record(event)
    return journal


def told(journal, alive=False):
    return summary.status(journal, "night", alive=alive)


class TestStatus:
    def test_each_child_is_counted_once_by_its_end(self, night):
        counts = told(night)["counts"]
        assert counts == {"proposed": 7, "invalid": 1, "duplicate": 1, "failed": 1, "trained": 3}
        assert sum(counts.values()) - counts["proposed"] == 6  # one is in flight

    def test_reasons_of_failures_are_counted_most_frequent_first(self, night):
        for id in ("0008", "0009"):
            night.record(Proposed(candidate(id)))
            night.record(Settled(Failure(candidate(id), "answer", "no code")))
        failures = told(night)["failures"]
        assert list(failures.items()) == [("answer: no code", 3), ("fit: out of memory", 1)]

    def test_the_front_holds_what_nothing_dominates_with_branches(self, night):
        assert told(night)["front"] == [
            {"id": "0001", "branch": "evolve/night/0001", "fitness": {"accuracy": 0.9, "parameters": 100.0},
             "intention": "try 0001"},
            {"id": "0002", "branch": None, "fitness": {"accuracy": 0.6, "parameters": 50.0}, "intention": "try 0002"},
        ]

    def test_the_seed_is_on_the_front_until_it_is_beaten(self, journal):
        for event in EVENTS[:3]:
            journal.record(event)
        facts = told(journal)
        assert [entry["id"] for entry in facts["front"]] == [SEED_ID]
        assert facts["seed"] == {"fitness": {"accuracy": 0.5, "parameters": 100.0}}
        before = facts["hypervolume"]
        for event in EVENTS[3:8]:
            journal.record(event)
        assert told(journal)["hypervolume"] > before > 0

    def test_money_tokens_and_calls_are_summed_and_unknown_prices_counted(self, night):
        spend = told(night)["spend"]
        assert spend["usd"] == 0.25 + 0.5 + 0.0 + 1.0 + 0.125
        assert spend["calls_without_a_known_price"] == 1
        assert (spend["llm_calls"], spend["tokens_in"], spend["tokens_out"]) == (7, 70, 35)

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
        assert told(journal)["spend"]["seconds"] == 30.0 + 7.0 + 1.5

    def test_generations_and_isolation_are_those_of_the_run(self, night):
        facts = told(night)
        assert (facts["run"], facts["generation"], facts["generations"]) == ("night", 2, 2)
        assert (facts["isolation"], facts["objectives"]) == ("full", CONFIG["objectives"])

    def test_a_run_is_running_while_its_lock_is_held_and_stopped_if_it_ended_without_a_word(self, night):
        assert told(night, alive=True)["state"] == "running"
        assert told(night)["state"] == "stopped"

    @pytest.mark.parametrize("state", ["finished", "stopped", "failed"])
    def test_a_run_that_ended_is_in_the_state_it_named_with_its_reason(self, night, state):
        night.record(RunEnded(state, "because"))
        assert (told(night)["state"], told(night)["reason"]) == (state, "because")

    def test_a_run_that_was_taken_up_again_and_killed_is_stopped_and_not_what_it_was_before(self, night):
        night.record(RunEnded("failed", "the provider was down"))
        night.record(RunStarted(CONFIG, "contained", ()))
        assert (told(night)["state"], told(night)["reason"]) == ("stopped", "")
        assert told(night)["isolation"] == "contained"

    def test_a_journal_in_which_nothing_happened_has_a_status(self, journal):
        facts = told(journal)
        assert (facts["state"], facts["seed"], facts["front"], facts["hypervolume"]) == (
            "stopped",
            {"fitness": None},
            [],
            0.0,
        )
        assert set(facts["counts"].values()) == {0}
        assert set(facts["spend"].values()) == {0}

    def test_it_is_plain_json(self, night):
        facts = told(night)
        assert json.loads(json.dumps(facts, allow_nan=False)) == facts


class TestVariants:
    def test_every_child_is_listed_in_order_of_birth_with_its_end(self, night):
        listed = summary.variants(night)
        assert [(v["id"], v["outcome"], v["reason"]) for v in listed] == [
            ("0001", "trained", ""),
            ("0002", "trained", ""),
            ("0003", "trained", ""),
            ("0004", "duplicate", "same genome as 0002"),
            ("0005", "fit", "out of memory"),
            ("0006", "answer", "no code"),
            ("0007", "in flight", ""),
        ]
        assert not any({"diff", "prompt", "answer"} & set(v) for v in listed)

    def test_a_child_is_told_with_what_was_drawn_measured_and_paid(self, night):
        facts = summary.variants(night)[0]
        assert {k: v for k, v in facts.items() if k not in ("evidence", "reason", "outcome")} == {
            "id": "0001", "branch": "evolve/night/0001", "parents": [SEED_ID], "generation": 0, "operator": "mutate",
            "block": "Net", "role": "expert", "directive": "complex", "elite": None, "model": "gpt-x",
            "temperature": 0.3, "intention": "try 0001",
            "fitness": {"accuracy": 0.9, "parameters": 100.0}, "log": "", "seconds": 1.25, "usd": 0.25,
        }  # fmt: skip

    def test_a_child_of_two_operators_tells_both(self, night):
        facts = summary.variants(night)[-1]
        assert (facts["operator"], facts["block"], facts["parents"]) == ("mate+eot", "Net, rate", ["0001", "0002"])
        assert (facts["elite"], facts["model"], facts["temperature"]) == ("0002", "other", 0.9)
        assert facts["fitness"] is None

    def test_of_a_rewrite_the_blocks_that_it_changed_are_told(self, journal):
        free = candidate("0001", operator="rewrite", blocks=())
        for event in (*EVENTS[:3], Proposed(free)):
            journal.record(event)
        assert summary.variants(journal)[0]["block"] == ""
        changed = ("Net", "rate", "a", "b", "c", "d")
        journal.record(Bred(Variant(free, genome(9, 2), changed=changed)))
        assert summary.variants(journal)[0]["block"] == "Net, rate, a, b and 2 more"
        assert read_replay(journal, genome(0, 0)).variants["0001"].changed == changed

    def test_a_model_that_stood_in_for_the_drawn_one_is_told(self, night):
        assert summary.variant(night, "0006")["model"] == "gpt-x"
        assert "free" not in [arm["name"] for arm in learned.arms(night, ())["models"]]

    def test_the_money_of_all_its_calls_is_a_childs(self, night):
        assert {v["id"]: v["usd"] for v in summary.variants(night)}["0006"] == 0.125


class TestOneVariant:
    def test_its_calls_are_told_in_order_and_the_last_is_its_prompt_and_answer(self, night):
        facts = summary.variant(night, "0006")
        assert facts["calls"] == [
            {"prompt": "# system\n\nYou are.\n\n# user\n\nImprove it.", "answer": "no", "model": "gpt-x"},
            {"prompt": "# system\n\nYou are.\n\n# user\n\nAgain.", "answer": "still no", "model": "gpt-x"},
        ]
        assert (facts["prompt"], facts["answer"]) == (facts["calls"][1]["prompt"], "still no")

    def test_more_than_ten_calls_stay_in_order(self, journal):
        journal.record(Proposed(BETTER))
        for call in range(12):
            journal.record(asked("0001", call, f"call {call}"))
        told = [call["prompt"].rpartition(" ")[2] for call in summary.variant(journal, "0001")["calls"]]
        assert told == [str(call) for call in range(12)]

    def test_a_call_that_was_not_answered_yet_has_no_answer(self, night):
        facts = summary.variant(night, "0007")
        assert facts["prompt"].endswith("Improve it.")
        assert facts["answer"] is None
        assert facts["diff"] == ""

    def test_a_child_that_was_only_drawn_has_neither_prompt_nor_diff(self, journal):
        journal.record(Proposed(BETTER))
        facts = summary.variant(journal, "0001")
        assert (facts["prompt"], facts["answer"], facts["calls"], facts["diff"]) == (None, None, [], "")

    def test_its_diff_turns_the_seed_into_it_as_git_applies_it(self, night, tmp_path):
        diff = summary.variant(night, "0001")["diff"]
        assert "-    width = 8\n+    width = 9\n" in diff
        (tmp_path / "model.py").write_text(SOURCE)
        subprocess.run([shutil.which("git"), "apply", "-"], cwd=tmp_path, input=diff.encode(), check=True)
        assert (tmp_path / "model.py").read_text() == genome(9).files["model.py"]

    def test_a_failure_that_parsed_has_a_diff_and_a_log(self, night):
        facts = summary.variant(night, "0005")
        assert "+    width = 7" in facts["diff"]
        assert (facts["outcome"], facts["log"]) == ("fit", "Traceback")

    def test_leading_zeros_may_be_left_out(self, night):
        assert summary.variant(night, "3")["id"] == "0003"

    @pytest.mark.parametrize("id", ["0099", "x", "", "0001/0", "seed", "' OR 1=1"])
    def test_an_unknown_id_is_the_users_mistake_and_the_last_one_is_named(self, night, id):
        with pytest.raises(UserError, match=r"no variant .* the last one is 0007"):
            summary.variant(night, id)

    def test_the_last_one_is_the_last_one_born_and_not_the_last_in_the_alphabet(self, journal):
        for id in ("9999", "10000"):
            journal.record(Proposed(candidate(id)))
        with pytest.raises(UserError, match="the last one is 10000"):
            summary.variant(journal, "5")

    def test_in_a_run_without_variants_none_is_the_last_one(self, journal):
        with pytest.raises(UserError, match="the last one is none"):
            summary.variant(journal, "0001")

    def test_it_is_plain_json(self, night):
        for id in ("0001", "0004", "0005", "0006", "0007"):
            facts = summary.variant(night, id)
            assert json.loads(json.dumps(facts, allow_nan=False)) == facts


def test_a_summary_reads_a_journal_that_another_process_writes(night, tmp_path):
    reader = Journal(tmp_path / "journal.db", read_only=True)
    before = told(reader)["counts"]["proposed"]
    night.record(Proposed(candidate("0008")))
    assert told(reader)["counts"]["proposed"] == before + 1
    reader.close()

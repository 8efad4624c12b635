"""The candidates of a small run, written through the journal as a run writes it, as `show` and `diff` print them."""

import json
import shutil
import subprocess

import pytest

from agent.core.errors import UserError
from agent.journal.events import Bred, Proposed
from agent.journal.replay import read_replay
from agent.population.candidate import SEED_ID, Variant
from agent.review.candidates import candidate, candidates
from agent.review.learning import arms
from tests.review import small_run as events
from tests.review.small_run import BETTER, EVENTS, SOURCE, asked, genome


class TestCandidates:
    def test_every_candidate_is_listed_in_order_of_proposal_with_its_outcome(self, small_run):
        listed = candidates(small_run)
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

    def test_a_candidate_has_its_recipe_measurements_and_cost(self, small_run):
        facts = candidates(small_run)[0]
        assert {k: v for k, v in facts.items() if k not in ("evidence", "reason", "outcome")} == {
            "id": "0001", "branch": "evolve/night/0001", "parents": [SEED_ID], "generation": 0, "operator": "mutate",
            "block": "Net", "role": "expert", "directive": "complex", "elite": None, "sources": [], "model": "gpt-x",
            "temperature": 0.3, "intention": "try 0001",
            "fitness": {"accuracy": 0.9, "parameters": 100.0}, "trainings": 1, "error": None, "fault": "",
            "readings": [{"accuracy": 0.9, "parameters": 100.0}], "log": "", "seconds": 1.25, "usd": 0.25,
            "unpriced": False,
        }  # fmt: skip

    def test_a_candidate_of_two_operators_names_both(self, small_run):
        facts = candidates(small_run)[-1]
        assert (facts["operator"], facts["block"], facts["parents"]) == ("mate+eot", "Net, rate", ["0001", "0002"])
        assert (facts["elite"], facts["model"], facts["temperature"]) == ("0002", "other", 0.9)
        assert facts["fitness"] is None

    def test_of_a_rewrite_the_changed_blocks_are_listed(self, journal):
        free = events.candidate("0001", operator="rewrite", blocks=())
        for event in (*EVENTS[:3], Proposed(free)):
            journal.record(event)
        assert candidates(journal)[0]["block"] == ""
        changed = ("Net", "rate", "a", "b", "c", "d")
        journal.record(Bred(Variant(free, genome(9, 2), changed=changed)))
        assert candidates(journal)[0]["block"] == "Net, rate, a, b and 2 more"
        assert read_replay(journal, genome(0, 0)).variants["0001"].changed == changed

    def test_a_model_that_answered_in_place_of_the_chosen_one_is_named(self, small_run):
        assert candidate(small_run, "0006")["model"] == "gpt-x"
        assert "free" not in [arm["name"] for arm in arms(small_run, ())["models"]]

    def test_the_cost_of_a_candidate_is_that_of_all_its_calls(self, small_run):
        assert {v["id"]: v["usd"] for v in candidates(small_run)}["0006"] == 0.125


class TestOneCandidate:
    def test_its_calls_are_listed_in_order_and_the_last_is_its_prompt_and_answer(self, small_run):
        facts = candidate(small_run, "0006")
        assert facts["calls"] == [
            {"prompt": "# system\n\nYou are.\n\n# user\n\nImprove it.", "answer": "no", "model": "gpt-x"},
            {"prompt": "# system\n\nYou are.\n\n# user\n\nAgain.", "answer": "still no", "model": "gpt-x"},
        ]
        assert (facts["prompt"], facts["answer"]) == (facts["calls"][1]["prompt"], "still no")

    def test_more_than_ten_calls_stay_in_order(self, journal):
        journal.record(Proposed(BETTER))
        for call in range(12):
            journal.record(asked("0001", call, f"call {call}"))
        shown = [call["prompt"].rpartition(" ")[2] for call in candidate(journal, "0001")["calls"]]
        assert shown == [str(call) for call in range(12)]

    def test_a_call_that_was_not_answered_yet_has_no_answer(self, small_run):
        facts = candidate(small_run, "0007")
        assert facts["prompt"].endswith("Improve it.")
        assert facts["answer"] is None
        assert facts["diff"] == ""

    def test_a_candidate_that_was_only_proposed_has_neither_prompt_nor_diff(self, journal):
        journal.record(Proposed(BETTER))
        facts = candidate(journal, "0001")
        assert (facts["prompt"], facts["answer"], facts["calls"], facts["diff"]) == (None, None, [], "")

    def test_its_diff_turns_the_seed_into_it_as_git_applies_it(self, small_run, tmp_path):
        diff = candidate(small_run, "0001")["diff"]
        assert "-    width = 8\n+    width = 9\n" in diff
        (tmp_path / "model.py").write_text(SOURCE)
        subprocess.run([shutil.which("git"), "apply", "-"], cwd=tmp_path, input=diff.encode(), check=True)
        assert (tmp_path / "model.py").read_text() == genome(9).files["model.py"]

    def test_a_failure_that_parsed_has_a_diff_and_a_log(self, small_run):
        facts = candidate(small_run, "0005")
        assert "+    width = 7" in facts["diff"]
        assert (facts["outcome"], facts["log"]) == ("fit", "Traceback")

    def test_leading_zeros_may_be_left_out(self, small_run):
        assert candidate(small_run, "3")["id"] == "0003"

    @pytest.mark.parametrize("id", ["0099", "x", "", "0001/0", "seed", "' OR 1=1"])
    def test_an_unknown_id_is_the_users_mistake_and_the_last_one_is_named(self, small_run, id):
        with pytest.raises(UserError, match=r"no candidate .* the last one is 0007"):
            candidate(small_run, id)

    def test_the_last_one_is_the_last_one_proposed_and_not_the_last_in_the_alphabet(self, journal):
        for id in ("9999", "10000"):
            journal.record(Proposed(events.candidate(id)))
        with pytest.raises(UserError, match="the last one is 10000"):
            candidate(journal, "5")

    def test_in_a_run_without_variants_none_is_the_last_one(self, journal):
        with pytest.raises(UserError, match="the last one is none"):
            candidate(journal, "0001")

    def test_it_is_plain_json(self, small_run):
        for id in ("0001", "0004", "0005", "0006", "0007"):
            facts = candidate(small_run, id)
            assert json.loads(json.dumps(facts, allow_nan=False)) == facts

"""What a small run has learned, written through the journal as a run writes it."""

from dataclasses import replace

from agent.core.objectives import Fitness
from agent.journal.events import DirectiveWritten, Learned, Rejected, SeedRepeated
from agent.memory import Lesson
from agent.review.learning import arms, lessons, measured_noise


def test_an_arm_counts_its_candidates_with_their_ends_and_costs(small_run):
    small_run.record(Rejected("0006", 0, "answer", ("no code",)))
    small_run.record(DirectiveWritten("complex-1", "Make it deeper.", "complex"))
    found = arms(small_run, ["0001", "0002"])
    by_name = {kind: {arm["name"]: arm for arm in found[kind]} for kind in ("models", "operators", "prompts")}
    assert set(by_name["operators"]) == {"mutate", "mate", "eot"}
    mutated = by_name["operators"]["mutate"]
    assert {key: mutated[key] for key in ("children", "valid", "trained", "better", "front", "usd")} == {
        "children": 6, "valid": 5, "trained": 3, "better": 0, "front": 2, "usd": 1.875,
    }  # fmt: skip
    assert by_name["prompts"]["complex as expert"]["children"] == 5
    assert by_name["prompts"]["complex as nobody"]["children"] == 1
    assert found["written"] == {"complex-1": "Make it deeper."}


def test_the_noise_is_known_once_the_seed_was_repeated(small_run):
    assert measured_noise(small_run) is None
    small_run.record(SeedRepeated(2, None, "it failed", 1.0))
    small_run.record(SeedRepeated(3, Fitness({"accuracy": 0.6, "parameters": 100}), "", 1.0))
    noise = measured_noise(small_run)
    assert noise.reference == {"accuracy": 0.55, "parameters": 100.0}
    assert noise.sigma["parameters"] == 0


def test_lessons_tell_who_was_told_and_who_named_them_in_the_words_of_today(small_run):
    effects = {"accuracy": 0.1, "parameters": 0.0}
    first = Lesson("0001", "mutate", ("a",), (), None, "complex", "m", "+x\n", "", "", effects, {"accuracy": 5.0}, "better")
    small_run.record(Learned(replace(first, verdict="helped")))  # as an earlier version called it
    small_run.record(Learned(replace(first, id="0002", shown=("0001",), cited=("0001",))))
    small_run.record(Learned(replace(first, id="0003", shown=("0001",))))
    found = {lesson["id"]: lesson for lesson in lessons(small_run)}
    assert {key: found["0001"][key] for key in ("verdict", "label", "told", "cited_by")} == {
        "verdict": "better", "label": "better, likely real", "told": 2, "cited_by": 1,
    }  # fmt: skip
    assert found["0002"]["cited"] == ["0001"]
    assert {arm["name"]: arm["better"] for arm in arms(small_run, [])["operators"]}["mutate"] == 3


def test_a_run_without_a_trained_seed_has_no_lessons(journal):
    assert lessons(journal) == []

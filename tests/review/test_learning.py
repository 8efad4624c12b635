"""What a small run has learned, written through the journal as a run writes it."""

from agent.core.objectives import Fitness
from agent.journal.events import DirectiveWritten, Rejected, SeedRepeated
from agent.review.learning import arms, lessons, measured_noise


def test_an_arm_counts_its_candidates_with_their_ends_and_costs(small_run):
    small_run.record(Rejected("0006", 0, "answer", ("no code",)))
    small_run.record(DirectiveWritten("complex-1", "Make it deeper.", "complex"))
    found = arms(small_run, ["0001", "0002"])
    by_name = {kind: {arm["name"]: arm for arm in found[kind]} for kind in ("models", "operators", "prompts")}
    assert set(by_name["operators"]) == {"mutate", "mate", "eot"}
    mutated = by_name["operators"]["mutate"]
    assert {key: mutated[key] for key in ("children", "valid", "trained", "helped", "front", "usd")} == {
        "children": 6, "valid": 5, "trained": 3, "helped": 0, "front": 2, "usd": 1.875,
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


def test_a_run_without_a_trained_seed_has_no_lessons(journal):
    assert lessons(journal) == []

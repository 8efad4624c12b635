"""Lessons: what one change was and did, in units of the noise."""

import time
from dataclasses import replace

import pytest

from agent.core.noise import Noise
from agent.genome import Genome, changed_blocks
from agent.memory import lesson_of, render, verdict_named
from agent.memory.lesson import CHANGE_LIMIT, CUT_MARK
from agent.population.candidate import Failure, Individual
from tests.memory.scenes import ANSWER, NOISE, OBJECTIVES, SEED, SOURCE, candidate, fit, individual, taught

REWRITTEN = SOURCE.replace("momentum=0.9", "momentum=0.8").replace("nn.BatchNorm2d", "nn.GroupNorm")


def test_a_change_of_several_blocks_is_one_lesson_about_all_of_them():
    genome = Genome({"model.py": REWRITTEN + "\n\ndef loss(a, b):\n    return nn.functional.cross_entropy(a, b)\n"})
    changed = changed_blocks(SEED.genome, genome)
    lesson = taught(Individual(candidate(operator="rewrite", blocks=()), genome, fit(0.85), changed=changed))
    assert lesson.blocks == ("build_optimizer", "Stage", "loss")
    assert set(lesson.kinds) == {"SGD", "GroupNorm", "BatchNorm2d", "cross_entropy"}
    assert "-        self.norm = nn.BatchNorm2d(width)" in lesson.change and "+def loss(a, b):" in lesson.change


def test_a_rewrite_that_never_parsed_teaches_by_the_blocks_of_its_answer():
    code = REWRITTEN[REWRITTEN.index("class Stage") :].replace("forward", "backward")
    failure = Failure(candidate(operator="rewrite", blocks=()), "contract", "`Stage` must keep its method `forward`.")
    lesson = taught(failure, f"Intention: turn it round.\n\n```python\n{code}```\n")
    assert lesson.blocks == () and set(lesson.kinds) == {"GroupNorm", "BatchNorm2d"}
    assert "+    def backward(self, x):" in lesson.change and "build_optimizer" not in lesson.change


@pytest.mark.parametrize(
    ("accuracy", "parameters", "verdict"),
    [
        (0.85, 1000, "better"),
        (0.81, 900, "better"),
        (0.75, 1000, "worse"),
        (0.79, 1020, "worse"),
        (0.75, 500, "mixed"),
        (0.85, 1020, "mixed"),
        (0.81, 1000, "undecided"),
        (0.79, 1000, "undecided"),
        (0.83, 1000, "undecided"),  # three sigmas of one training are not enough with a sigma from four
        (0.83, 1019, "undecided"),
        (0.805, 1019, "within noise"),  # less than two percent of an exact quantity is no change
        (0.806, 996, "within noise"),
        (0.8, 1000, "within noise"),
    ],
)
def test_a_verdict_counts_what_is_beyond_the_noise(accuracy, parameters, verdict):
    assert taught(individual(accuracy=accuracy, parameters=parameters)).verdict == verdict


def test_a_lesson_has_the_change_its_author_and_its_effect():
    smaller = individual(accuracy=0.83, parameters=900, role="expert", directive="reduce_size")
    lesson = taught(smaller, shown=["0002", "0002", "0003"])
    assert (lesson.id, lesson.operator, lesson.blocks, lesson.model) == ("0001", "mutate", ("Stage",), "m")
    assert (lesson.role, lesson.directive) == ("expert", "reduce_size")
    assert lesson.kinds == ("GroupNorm", "BatchNorm2d")
    assert lesson.effects == pytest.approx({"accuracy": 0.03, "parameters": -100})
    assert lesson.gains == pytest.approx({"accuracy": 3, "parameters": 1.105}, abs=0.001)
    assert (lesson.intention, lesson.expected) == ("smooth the signal.", "accuracy +0.01.")
    assert "-        self.norm = nn.BatchNorm2d(width)\n+        self.norm = nn.GroupNorm(2, width)\n" in lesson.change
    assert lesson.shown == ("0002", "0003")
    assert (lesson.reason, lesson.insight) == ("", "")


def test_only_evolution_of_thought_gives_an_insight():
    assert taught(individual(operator="eot", elite="e", example="x")).insight == "smooth the signal."
    mated = replace(candidate(), recipes=(*candidate(operator="mate").recipes, *candidate(operator="eot").recipes))
    both = taught(replace(individual(), candidate=mated))
    assert (both.operator, both.insight) == ("mate+eot", "smooth the signal.")


def test_a_failure_in_the_sandbox_teaches_its_change_and_its_reason():
    genome = Genome({"model.py": SOURCE.replace("width, 3", "width, 4")})
    lesson = taught(Failure(candidate(), "smoke", "sizes\x1b[31m do\x00 not\nmatch " + "x" * 900, genome=genome))
    assert lesson.verdict == "failed" and lesson.kinds == ("Conv2d",)
    assert lesson.reason.startswith("smoke: sizes do not match xxx") and len(lesson.reason) < 220
    assert "+        self.conv = nn.Conv2d(width, width, 4, padding=1)" in lesson.change
    assert not lesson.effects and not lesson.gains


def test_a_lesson_of_a_candidate_that_never_parsed_holds_its_answer():
    answer = "Intention: go.\n\n```python\nclass Stage(nn.Module):\n    def __init__(self):\n        self.a = nn.LSTM(1, 1)\n```"
    lesson = taught(Failure(candidate(), "contract", "`Stage` must keep its method `forward`."), answer)
    assert "+        self.a = nn.LSTM(1, 1)" in lesson.change and "LSTM" in lesson.kinds
    assert lesson.reason == "contract: `Stage` must keep its method `forward`."


@pytest.mark.parametrize("answer", ["", "I cannot.", "```python\nclass Stage(\n```", "```python\n" + "(" * 500 + "\n```"])
def test_an_answer_without_usable_code_teaches_its_reason_alone(answer):
    lesson = taught(Failure(candidate(), "answer", "No code."), answer)
    assert lesson.verdict == "failed" and lesson.reason == "answer: No code."


def test_a_long_change_is_cut_at_a_line_with_a_mark():
    lesson = taught(individual("self.norm = nn.BatchNorm2d(width)", "\n        ".join(f"self.n{i} = {i}" for i in range(900))))
    assert len(lesson.change) <= CHANGE_LIMIT
    assert lesson.change.splitlines()[-1].startswith(CUT_MARK) and lesson.change.splitlines()[-2].startswith("+ ")
    assert "` and at least 49 more lines" in render(lesson, OBJECTIVES, NOISE)


def test_a_lesson_cannot_be_changed_and_has_a_hash():
    lesson = taught(individual())
    with pytest.raises(TypeError):
        lesson.effects["accuracy"] = 1
    assert hash(lesson) == hash(taught(individual())) and lesson == taught(individual())


def test_hostile_source_is_compared_in_bounded_time():
    lines = [f"    x = {n % 97}" for n in range(20_000)]
    outcome = individual("        self.norm = nn.BatchNorm2d(width)", "\n".join(f"    {line}" for line in lines))
    began = time.monotonic()
    assert taught(outcome).verdict == "better"
    assert time.monotonic() - began < 5


def test_the_seed_as_parent_counts_with_its_mean_over_training_seeds():
    lucky = Noise(NOISE.sigma, {"accuracy": 0.81, "parameters": 1000})
    text = lesson_of(individual(accuracy=0.825), SEED, ANSWER, (), OBJECTIVES, lucky)
    assert text.effects["accuracy"] == pytest.approx(0.015) and text.verdict == "undecided"


def test_a_parent_of_several_trainings_is_a_surer_comparison():
    twice = replace(SEED, candidate=candidate("0001"), readings=(fit(0.8),) * 8)
    child = replace(individual(accuracy=0.838), candidate=candidate("0002"))
    alone, sure = (lesson_of(child, parent, ANSWER, (), OBJECTIVES, NOISE) for parent in (replace(twice, readings=()), twice))
    assert (alone.verdict, sure.verdict) == ("undecided", "better") and sure.against == 8


def test_a_label_says_the_direction_and_how_sure_it_is():
    texts = {accuracy: taught(individual(accuracy=accuracy)).label for accuracy in (0.85, 0.75, 0.82, 0.78, 0.801)}
    assert list(texts.values()) == [
        "better, likely real", "worse, likely real", "better so far, undecided", "worse so far, undecided", "within noise",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("former", "gain", "verdict"),
    [("helped", 5, "better"), ("hurt", -5, "worse"), ("mixed", 5, "mixed"), ("failed", 0, "failed"),
     ("undecided", 1, "undecided"), ("neutral", -1.1, "undecided"), ("neutral", 0.3, "within noise")],
)  # fmt: skip
def test_verdicts_of_earlier_versions_are_read_in_the_words_of_today(former, gain, verdict):
    assert verdict_named(former, {"accuracy": gain}) == verdict
    with pytest.raises(ValueError):
        verdict_named("good", {})


def test_what_no_model_answered_has_read_nothing():
    spliced = taught(individual(operator="splice"), "", shown=["0002"])
    assert spliced.shown == () and spliced.told == ()
    read = taught(individual(id="0009"), f"As 0003 shows, gates help.\n{ANSWER}", shown=["0002"])
    assert read.cited == ("0003",) and read.told == ("0002", "0003")

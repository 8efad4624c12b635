"""What a run learns from its children: lessons in units of the noise, their recall, and the credit of those that were told."""

import random
import time
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from agent.core.objectives import EXACT_CAP, Fitness, Noise, Objective
from agent.core.text import clean
from agent.genome import Genome, changed_blocks
from agent.memory import Lesson, Memory, kinds_in, lesson_of, read_intention, render
from agent.memory.credit import DEAD, STRONG
from agent.memory.intention import INTENTION_LIMIT
from agent.memory.kinds import kinds_changed
from agent.memory.lesson import CHANGE_LIMIT, CUT_MARK
from agent.memory.memory import LESSONS_PER_TOPIC
from agent.population.candidate import SEED_ID, Candidate, Failure, Individual, Recipe

ACCURACY, PARAMETERS = OBJECTIVES = (Objective("accuracy", "max"), Objective("parameters", "min"))
NOISE = Noise({"accuracy": 0.01, "parameters": 0}, {"accuracy": 0.8, "parameters": 1000})
SOURCE = """\
import torch
from torch import nn


def build_optimizer(model, steps):
    return torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)


class Stage(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, padding=1)
        self.norm = nn.BatchNorm2d(width)

    def forward(self, x):
        return torch.relu(self.norm(self.conv(x)))
"""
SEED = Individual(Candidate(SEED_ID, 0), Genome({"model.py": SOURCE}), Fitness({"accuracy": 0.8, "parameters": 1000}))
ANSWER = "Intention: smooth the signal.\nExpected effect: accuracy +0.01.\n\n```python\n...\n```\n"


def fit(accuracy, parameters=1000):
    return Fitness({"accuracy": accuracy, "parameters": parameters})


def candidate(id="0001", operator="mutate", blocks=("Stage",), **choices):
    return Candidate(id, 1, (Recipe(operator, (SEED_ID,), blocks, "m", 1, **choices),))


def child(old="nn.BatchNorm2d(width)", new="nn.GroupNorm(2, width)", *, accuracy=0.85, parameters=1000, **choices):
    genome = Genome({"model.py": SOURCE.replace(old, new)})
    return Individual(candidate(**choices), genome, fit(accuracy, parameters))


def taught(outcome, answer=ANSWER, shown=()):
    return lesson_of(outcome, SEED, answer, shown, OBJECTIVES, NOISE)


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


# The noise floor


def test_the_noise_is_the_spread_of_the_seeds_trainings():
    noise = Noise.of([fit(0.7), fit(0.8), fit(0.9)], OBJECTIVES)
    assert noise.sigma["accuracy"] == pytest.approx(0.1) and noise.sigma["parameters"] == 0
    assert noise.reference["accuracy"] == pytest.approx(0.8) and noise.reference["parameters"] == 1000


@pytest.mark.parametrize("trainings", [[], [fit(0.8)]])
def test_one_training_has_no_spread(trainings):
    with pytest.raises(ValueError, match="at least two"):
        Noise.of(trainings, OBJECTIVES)


@pytest.mark.parametrize(
    ("objective", "change", "gain"),
    [
        (ACCURACY, 0.02, 2),
        (ACCURACY, -0.03, -3),
        (PARAMETERS, -100, 1),  # a tenth fewer
        (PARAMETERS, 200, -2),
        (PARAMETERS, -999, EXACT_CAP),
        (PARAMETERS, 1e9, -EXACT_CAP),
        (PARAMETERS, 0, 0),
    ],
)
def test_a_gain_is_in_units_of_the_noise_and_positive_for_the_better(objective, change, gain):
    assert NOISE.gain(objective, change) == pytest.approx(gain)


def test_a_noisy_quantity_to_be_made_small_gains_by_falling():
    latency = Objective("latency", "min")
    assert Noise({"latency": 2.0}, {"latency": 30.0}).gain(latency, -3.0) == 1.5


def test_where_the_seed_has_none_any_exact_change_is_one_unit():
    none = Noise({"parameters": 0}, {"parameters": 0})
    assert [none.gain(PARAMETERS, change) for change in (-7, 0, 7)] == [1, 0, -1]


@pytest.mark.parametrize(
    ("objective", "change", "within"),
    [
        (ACCURACY, 0.02, True),
        (ACCURACY, -0.0201, False),
        (PARAMETERS, 0, True),
        (PARAMETERS, 1, False),
    ],
)
def test_two_sigmas_are_within_the_noise_and_without_noise_only_nothing_is(objective, change, within):
    assert NOISE.within(objective, change) is within


# Lessons


@pytest.mark.parametrize(
    ("accuracy", "parameters", "verdict"),
    [
        (0.85, 1000, "helped"),
        (0.81, 900, "helped"),
        (0.75, 1000, "hurt"),
        (0.79, 1001, "hurt"),
        (0.75, 500, "mixed"),
        (0.85, 1001, "mixed"),
        (0.81, 1000, "neutral"),
        (0.79, 1000, "neutral"),
    ],
)
def test_a_verdict_counts_what_is_beyond_the_noise(accuracy, parameters, verdict):
    assert taught(child(accuracy=accuracy, parameters=parameters)).verdict == verdict


def test_a_lesson_says_what_was_changed_by_whom_and_what_it_did():
    lesson = taught(child(accuracy=0.83, parameters=900, role="expert", directive="reduce_size"), shown=["0002", "0002", "0003"])
    assert (lesson.id, lesson.operator, lesson.blocks, lesson.model) == ("0001", "mutate", ("Stage",), "m")
    assert (lesson.role, lesson.directive) == ("expert", "reduce_size")
    assert lesson.kinds == ("GroupNorm", "BatchNorm2d")
    assert lesson.effects == pytest.approx({"accuracy": 0.03, "parameters": -100})
    assert lesson.gains == pytest.approx({"accuracy": 3, "parameters": 1})
    assert (lesson.intention, lesson.expected) == ("smooth the signal.", "accuracy +0.01.")
    assert "-        self.norm = nn.BatchNorm2d(width)\n+        self.norm = nn.GroupNorm(2, width)\n" in lesson.change
    assert lesson.shown == ("0002", "0003")
    assert (lesson.reason, lesson.insight) == ("", "")


def test_only_evolution_of_thought_gives_an_insight():
    assert taught(child(operator="eot", elite="e", example="x")).insight == "smooth the signal."
    mated = replace(candidate(), recipes=(*candidate(operator="mate").recipes, *candidate(operator="eot").recipes))
    both = taught(replace(child(), candidate=mated))
    assert (both.operator, both.insight) == ("mate+eot", "smooth the signal.")


def test_a_failure_in_the_sandbox_teaches_its_change_and_its_reason():
    genome = Genome({"model.py": SOURCE.replace("width, 3", "width, 4")})
    lesson = taught(Failure(candidate(), "smoke", "sizes\x1b[31m do\x00 not\nmatch " + "x" * 900, genome=genome))
    assert lesson.verdict == "failed" and lesson.kinds == ("Conv2d",)
    assert lesson.reason.startswith("smoke: sizes do not match xxx") and len(lesson.reason) < 220
    assert "+        self.conv = nn.Conv2d(width, width, 4, padding=1)" in lesson.change
    assert not lesson.effects and not lesson.gains


def test_a_child_that_never_parsed_teaches_what_its_answer_held():
    answer = "Intention: go.\n\n```python\nclass Stage(nn.Module):\n    def __init__(self):\n        self.a = nn.LSTM(1, 1)\n```"
    lesson = taught(Failure(candidate(), "contract", "`Stage` must keep its method `forward`."), answer)
    assert "+        self.a = nn.LSTM(1, 1)" in lesson.change and "LSTM" in lesson.kinds
    assert lesson.reason == "contract: `Stage` must keep its method `forward`."


@pytest.mark.parametrize("answer", ["", "I cannot.", "```python\nclass Stage(\n```", "```python\n" + "(" * 500 + "\n```"])
def test_an_answer_without_usable_code_teaches_its_reason_alone(answer):
    lesson = taught(Failure(candidate(), "answer", "No code."), answer)
    assert lesson.verdict == "failed" and lesson.reason == "answer: No code."


def test_a_long_change_is_cut_at_a_line_and_says_so():
    lesson = taught(child("self.norm = nn.BatchNorm2d(width)", "\n        ".join(f"self.n{i} = {i}" for i in range(900))))
    assert len(lesson.change) <= CHANGE_LIMIT
    assert lesson.change.splitlines()[-1].startswith(CUT_MARK) and lesson.change.splitlines()[-2].startswith("+ ")
    assert "` and at least 49 more lines" in render(lesson, OBJECTIVES, NOISE)


def test_a_lesson_cannot_be_changed_and_has_a_hash():
    lesson = taught(child())
    with pytest.raises(TypeError):
        lesson.effects["accuracy"] = 1
    assert hash(lesson) == hash(taught(child())) and lesson == taught(child())


def test_hostile_source_is_compared_in_bounded_time():
    lines = [f"    x = {n % 97}" for n in range(20_000)]
    outcome = child("        self.norm = nn.BatchNorm2d(width)", "\n".join(f"    {line}" for line in lines))
    began = time.monotonic()
    assert taught(outcome).verdict == "helped"
    assert time.monotonic() - began < 5


# Kinds of layers


@pytest.mark.parametrize(
    ("source", "kinds"),
    [
        ("nn.Conv2d(1, 2, 3)", ("Conv2d",)),
        ("torch.optim.SGD(p, lr=1)", ("SGD",)),
        ("F.silu(x) + torch.nn.functional.gelu(x)", ("silu", "gelu")),
        ("def f(act=nn.ReLU): ...", ("ReLU",)),
        ("nn.Sequential(nn.Linear(1, 2), SE(3))", ("Linear", "SE")),
        ("class A(nn.Module):\n    def f(self, X): raise ValueError(X.shape)", ()),
        ("x = self.conv(y)", ()),
        ("def (", ()),
        ("a\x00b", ()),
    ],
)
def test_kinds_are_what_source_builds(source, kinds):
    assert kinds_in(source) == kinds


def test_a_changed_line_in_the_middle_of_a_call_is_about_that_call():
    old = "a = nn.Linear(1, 2)\nb = nn.Conv2d(\n    1,\n    kernel_size=3,\n)\nc = nn.GELU()\n"
    assert kinds_changed(old, old.replace("kernel_size=3", "kernel_size=5")) == ("Conv2d",)
    assert kinds_changed(old, old.replace("nn.GELU()", "nn.SiLU()")) == ("SiLU", "GELU")


# What an answer says of itself

CODE = "\n```python\nclass Stage:\n    # Intention: not this\n    pass\n```\n"


@pytest.mark.parametrize(
    "answer",
    [
        "Intention: A b.\nExpected effect: C d.",
        "First I think.\n\nIntention: A b.\nExpected effect: C d.\n",
        "**Intention:** A b.\n**Expected effect:** C d.",
        "**Intention**: A b.\n\n**Expected effect**: C d.",
        "**Intention: A b.**\n**Expected effect: C d.**",
        "- Intention: A b.\n- Expected effect: C d.",
        "* **Intention:** A b.\n* **Expected Effects:** C d.",
        "1. Intention: A b.\n2. Expected effect: C d.",
        "INTENTION: A b.\nEXPECTED EFFECT: C d.",
        "intention : A\n  b.\nexpected effect : C\n\nd.",
        "## Intention\nA b.\n## Expected effect\nC d.",
        "## Intention\n\nA b.\n\n## Expected effect:\n\nC d.\n\n## Code\nhere it is",
        "> Intention: A b.\n> Expected effect: C d.",
        "_Intention_: A b.\n_Expected effect_: C d.",
        "`Intention`: A b.\n`Expected effect`: C d.",
        "Intention \u2014 A b.\nExpected effect \u2014 C d.",
        "Intention - A b.\nExpected effect - C d.",
        "Intention\uff1aA b.\nExpected effect\uff1aC d.",
        "Intention (what and why): A b.\nExpected effect (numbers): C d.",
        "| Intention | A b. |\n| Expected effect | C d. |",
        "Intention: A b. Expected effect: C d.",
        "Intention: A b. **Expected effect:** C d.",
        "Expected effect: C d.\nIntention: A b.",
        "Intention: a first idea\n\nNo, better:\n\nIntention: A b.\nExpected effect: C d.",
        "```python\nx = 1\n```\nIntention: A b.\nExpected effect: C d.",
        "Intention: A b.\r\nExpected effect: C d.\r\n",
        "Intention: \x1b[1mA\x1b[0m\x00 b.\nExpected effect: C\u200b\u2028d.",
    ],
)
def test_the_two_lines_are_found_in_every_usual_form(answer):
    assert read_intention(answer + CODE) == ("A b.", "C d.")


def test_lines_below_the_code_are_taken_if_there_are_none_above():
    assert read_intention(CODE + "\nIntention: A b.\nExpected effect: C d.") == ("A b.", "C d.")
    assert read_intention("Intention: A b.\n" + CODE + "\nIntention: you are welcome.") == ("A b.", "")


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ("", ("", "")),
        (CODE, ("", "")),
        ("My intention is to help.", ("", "")),
        ("Intention to help: none", ("", "")),
        ("Intention-based design\nExpected effect of this", ("", "")),
        ("Intention:\n" + CODE, ("", "")),
        ("Expected effect: C d." + CODE, ("", "C d.")),
        ("~~~python\nIntention: no\n```\nIntention: no\n~~~\nIntention: yes", ("yes", "")),
        ("````\n```\nIntention: no\n```\n````", ("", "")),
        ("```python\nIntention: in a fence that never ends", ("", "")),
    ],
)
def test_what_is_missing_is_empty(answer, said):
    assert read_intention(answer) == said


def test_a_long_intention_is_cut():
    what, effect = read_intention("Intention: " + "word " * 10_000 + "\nExpected effect: " + "x" * 100_000)
    assert len(what) == INTENTION_LIMIT and what.endswith("...") and len(effect) == INTENTION_LIMIT


PIECES = [
    "Intention:",
    "Expected effect:",
    "**",
    "```",
    "~~~",
    "\n",
    " ",
    "#",
    "- ",
    "\x00",
    "\x1b[2J",
    "\u202e",
    "\ud800",
    "x",
    "(",
    "|",
]


@given(st.lists(st.one_of(st.sampled_from(PIECES), st.text(max_size=5)), max_size=40).map("".join))
def test_any_answer_gives_two_clean_bounded_lines(answer):
    for text in read_intention(answer):
        assert len(text) <= INTENTION_LIMIT and text == clean(text) and "\n" not in text and text.splitlines() in ([], [text])


@pytest.mark.parametrize("piece", [*PIECES, "Intention: (", "Intention ", "Expected ", " * _ ", "-|#>"])
def test_no_repetition_makes_the_parser_slow(piece):
    began = time.monotonic()
    read_intention(piece * (200_000 // len(piece)))
    assert time.monotonic() - began < 2


# Words for a prompt


def test_a_rendering_begins_with_the_verdict_and_counts_in_noise():
    lesson = taught(child(accuracy=0.821, parameters=876, directive="reduce_size"))
    deed = '`0001`, mutation "reduce size" of `Stage`, about `GroupNorm`, `BatchNorm2d`'
    assert render(lesson, OBJECTIVES, NOISE).split("\n") == [
        f"- helped: accuracy +0.021 (+2.1 sigma), parameters -12.4% ({deed})",
        "  Intention: `smooth the signal.`",
        "  Expected: `accuracy +0.01.`",
        "  Change: `- self.norm = nn.BatchNorm2d(width)` `+ self.norm = nn.GroupNorm(2, width)`",
    ]


def test_an_insight_stands_in_the_place_of_the_intention():
    text = render(taught(child(operator="eot")), OBJECTIVES, NOISE)
    assert "\n  Insight: `smooth the signal.`" in text and "Intention" not in text and "Evolution of Thought of `Stage`" in text


@pytest.mark.parametrize(
    ("accuracy", "parameters", "said"),
    [
        (0.8, 1000, "accuracy same, parameters same"),
        (0.8197, 1000, "neutral: accuracy +0.02 (+1.9 sigma)"),
        (0.795, 1250, "accuracy -0.005 (-0.5 sigma), parameters +25.0%"),
        (0.85, 20_000, "accuracy +0.05 (+5.0 sigma), parameters +2e+01 times"),
    ],
)
def test_amounts_are_told_as_they_are(accuracy, parameters, said):
    assert said in render(taught(child(accuracy=accuracy, parameters=parameters)), OBJECTIVES, NOISE)


def test_a_count_is_told_where_a_percentage_would_say_nothing():
    large = Noise(NOISE.sigma, {"accuracy": 0.8, "parameters": 1_000_000})
    assert "parameters +1 " in render(taught(child(parameters=1001)), OBJECTIVES, large)


def test_what_replaces_something_is_told_before_what_is_new():
    change = "@@ -1,4 +1,7 @@\n+class New:\n+    x = 1\n context\n-old\n+better\n"
    told = render(lesson(change=change), OBJECTIVES, NOISE)
    assert told.endswith("Change: `-old` `+better` `+class New:` `+ x = 1`")
    assert render(lesson(change=change), OBJECTIVES, NOISE, code_shown=True).endswith("Change: in the code below")


def test_the_seed_as_parent_counts_with_its_mean_over_training_seeds():
    lucky = Noise(NOISE.sigma, {"accuracy": 0.81, "parameters": 1000})
    told = lesson_of(child(accuracy=0.825), SEED, ANSWER, (), OBJECTIVES, lucky)
    assert told.effects["accuracy"] == pytest.approx(0.015) and told.verdict == "neutral"


def test_a_failure_without_anything_else_is_told_in_two_lines():
    assert render(taught(Failure(candidate(), "answer", "No code."), ""), OBJECTIVES, NOISE).split("\n") == [
        "- failed: `answer: No code.` (`0001`, mutation of `Stage`)",
        "  Change: not known",
    ]


HOSTILE = st.text(alphabet=st.sampled_from("`~#-*>|[]()<>\n\r\t\x00\x1b\u2028\u202e a1$"), max_size=80)


def lesson(id="0001", **changed):
    return replace(taught(child()), id=id, **changed)


@given(HOSTILE, HOSTILE, HOSTILE)
def test_hostile_text_cannot_break_out_of_a_rendering(one, two, three):
    hostile = lesson(
        blocks=(one or "b",), kinds=(two or "k",), intention=three, expected=one, change=f"+{two}\n-{three}\n", insight=two
    )
    text = render(hostile, OBJECTIVES, NOISE)
    assert 2 <= len(text.split("\n")) <= 5 and text.splitlines() == text.split("\n")
    kinds = [token.type for token in MarkdownIt().parse(text)]
    assert kinds == [
        "bullet_list_open",
        "list_item_open",
        "paragraph_open",
        "inline",
        "paragraph_close",
        "list_item_close",
        "bullet_list_close",
    ]
    (inline,) = [token for token in MarkdownIt().parse(text) if token.type == "inline"]
    assert {token.type for token in inline.children} <= {"text", "softbreak", "code_inline"}


def test_a_rendering_is_short_whatever_the_change():
    change = "".join(f"+    {'y' * 500}{n}\n" for n in range(400))
    text = render(lesson(change=change, intention="i" * 400, expected="e" * 400), OBJECTIVES, NOISE)
    assert len(text) < 1300 and "and 396 more lines" in text


# MemorySettings


def made(number, verdict="helped", *, blocks=("Stage",), kinds=(), directive=None, gain=3.0, change=None, **rest):
    """A lesson with a change of its own."""
    gain = {"helped": gain, "hurt": -gain, "mixed": gain, "neutral": 0.5, "failed": 0}[verdict]
    measured = verdict != "failed"
    effects = {"accuracy": gain / 100, "parameters": 10.0 if verdict == "mixed" else 0.0} if measured else {}
    return Lesson(
        id=f"{number:04d}",
        operator="mutate",
        blocks=blocks,
        kinds=kinds,
        role=None,
        directive=directive,
        model="m",
        change=f"-old{number}\n+new{number}\n" if change is None else change,
        intention=f"try{number}",
        expected="",
        effects=effects,
        gains={o.name: NOISE.gain(o, effects[o.name]) for o in OBJECTIVES if effects},
        verdict=verdict,
        reason="" if measured else f"fit: error{number}",
        **rest,
    )


def memory_of(*lessons):
    memory = Memory(OBJECTIVES, NOISE)
    for one in lessons:
        memory.learn(one)
    return memory


def ids(lessons):
    return [int(one.id) for one in lessons]


def test_nearer_kinship_comes_first():
    memory = memory_of(
        made(1),
        made(2, blocks=("Other",), directive="complex"),
        made(3, blocks=("Other",), kinds=("Conv2d",)),
        made(4, blocks=("Other",)),
    )
    assert ids(memory.recall(["Stage"], ["Conv2d"], "complex", 5000)) == [1, 3, 2, 4]
    assert ids(memory.recall(["Net"], ["Linear"], "complex", 5000))[0] == 2


def test_a_lesson_of_the_block_outweighs_all_farther_kinship():
    memory = memory_of(made(1), made(2, blocks=("Other",), kinds=("Conv2d",), directive="complex"))
    assert ids(memory.recall(["Stage"], ["Conv2d"], "complex", 5000)) == [1, 2]


def test_the_larger_effect_comes_first():
    memory = memory_of(made(1, gain=2.5), made(2, gain=4.5), made(3, "neutral"))
    assert ids(memory.recall(["Stage"], [], None, 5000)) == [2, 1, 3]


def test_of_equal_lessons_the_one_that_was_told_less_comes_first():
    memory = memory_of(made(1), made(2), made(3, blocks=("Other",), shown=("0002",), gain=0))
    assert memory.credit("0002") == 0
    assert ids(memory.recall(["Stage"], [], None, 5000))[:2] == [1, 2]


SILU = "-x = F.relu(x)\n+x = F.silu(x)\n"


def test_children_that_agree_speak_louder_than_one_and_contradiction_silences():
    agreeing = [made(n, change=SILU, blocks=("Stage", f"B{n}")) for n in (1, 2, 3)]
    assert ids(memory_of(made(9), *agreeing).recall(["Stage"], [], None, 5000)) == [3, 9]
    torn = [made(1, change=SILU), made(2, "hurt", change=SILU), made(3, "hurt", change=SILU)]
    good = [i for i in ids(memory_of(*torn, made(9, gain=2.5)).recall(["Stage"], [], None, 5000)) if i in (1, 9)]
    assert good[0] == 9


def test_no_two_recalled_lessons_make_nearly_the_same_change():
    near = made(2, change=SILU.replace("x", "x  "))
    rounded = [made(n, change=f"-f(lr=0.1, m=2)\n+f(lr={lr}, m=2)\n") for n, lr in ((3, "0.0301"), (4, "0.03"), (5, "0.3"))]
    memory = memory_of(made(1, change=SILU), near, *rounded)
    recalled = set(ids(memory.recall(["Stage"], [], None, 9000)))
    assert len(recalled & {1, 2}) == 1 and len(recalled & {3, 4}) == 1 and 5 in recalled


def test_the_same_number_of_another_setting_is_another_change():
    memory = memory_of(made(1, change="-f(lr=0.1)\n+f(lr=0.2)\n"), made(2, change="-Dropout(0.1)\n+Dropout(0.2)\n"))
    assert sorted(ids(memory.recall(["Stage"], [], None, 9000))) == [1, 2]


def test_a_share_is_kept_for_what_hurt_or_failed():
    lessons = [made(n, gain=5) for n in range(1, 21)] + [made(30, "hurt", gain=2.1), made(31, "failed"), made(32, "failed")]
    verdicts = [one.verdict for one in memory_of(*lessons).recall(["Stage"], [], None, 1200)]
    assert len(verdicts) >= 6
    assert [v in ("hurt", "failed") for v in verdicts[:6]] == [False, True, False] * 2
    assert {"hurt", "failed"} <= set(verdicts)


def test_where_all_went_wrong_all_that_is_told():
    assert sorted(ids(memory_of(made(1, "hurt"), made(2, "failed")).recall(["Stage"], [], None, 5000))) == [1, 2]


def test_an_empty_memory_and_no_budget_recall_nothing():
    assert memory_of().recall(["Stage"], ["Conv2d"], "complex", 5000) == ()
    assert memory_of(made(1)).recall(["Stage"], [], None, 0) == ()
    assert memory_of(made(1)).recall(["Stage"], [], None, -5) == ()


VERDICTS = ("helped", "hurt", "mixed", "neutral", "failed")
NAMES = ("A", "B", "C")


@st.composite
def histories(draw):
    lessons = []
    for number in range(draw(st.integers(1, 30))):
        shown = draw(st.lists(st.sampled_from([one.id for one in lessons]), max_size=3)) if lessons else []
        lessons.append(
            made(
                number,
                draw(st.sampled_from(VERDICTS)),
                blocks=(draw(st.sampled_from(NAMES)),),
                kinds=tuple(draw(st.lists(st.sampled_from(("Conv2d", "GELU")), max_size=2, unique=True))),
                directive=draw(st.sampled_from((None, "complex", "uncommon"))),
                gain=draw(st.floats(2.1, 9)),
                change=draw(st.one_of(st.none(), st.sampled_from(("", SILU, "+a b c\n", "-a b\n+a\n")))),
                insight=draw(st.sampled_from(("", "`Smooth` it\nwell."))),
                shown=tuple(shown),
            )
        )
    return lessons


QUESTIONS = st.tuples(st.sampled_from(NAMES), st.sampled_from(((), ("GELU",))), st.sampled_from((None, "complex")))


@settings(deadline=None)
@given(histories(), QUESTIONS, st.integers(0, 4000))
def test_the_budget_is_kept_and_nothing_is_told_twice(lessons, question, budget):
    block, kinds, directive = question
    memory = memory_of(*lessons)
    recalled = memory.recall([block], kinds, directive, budget)
    assert len(memory.render_all(recalled)) <= budget
    assert len({one.id for one in recalled}) == len(recalled)
    with_code = [one.change for one in recalled if one.change]
    assert len(set(with_code)) == len(with_code)
    shortest = min(len(memory.render(one)) for one in lessons if memory.credit(one.id) > DEAD)
    assert recalled or shortest > budget


@settings(deadline=None)
@given(histories(), QUESTIONS)
def test_the_same_lessons_in_the_same_order_give_the_same_memory(lessons, question):
    block, kinds, directive = question
    one, other = memory_of(*lessons), memory_of(*lessons)
    one.recall(NAMES, ("Conv2d",), None, 9000)  # reading leaves no trace
    assert one.recall([block], kinds, directive, 900) == other.recall([block], kinds, directive, 900)
    assert [one.credit(each.id) for each in lessons] == [other.credit(each.id) for each in lessons]


def test_a_lesson_learnt_twice_counts_once():
    memory = memory_of(made(1), made(2, shown=("0001",)))
    before = memory.credit("0001")
    memory.learn(made(2, shown=("0001",)))
    assert (len(memory), memory.credit("0001")) == (2, before)


def test_a_crowded_block_keeps_its_best_and_its_newest_lessons():
    best = made(0, gain=5)
    memory = memory_of(best, *(made(n, gain=4 - n / 1000) for n in range(1, 2 * LESSONS_PER_TOPIC)))
    recalled = ids(memory.recall(["Stage"], [], None, 100_000))
    assert recalled[0] == 0 and len(recalled) < 2 * LESSONS_PER_TOPIC
    assert set(range(2 * LESSONS_PER_TOPIC - 8, 2 * LESSONS_PER_TOPIC)) <= set(recalled)


# CreditSettings


def story(memory, number, shown, verdict, gain=3.0):
    memory.learn(made(number, verdict, gain=gain, shown=tuple(shown), blocks=("Elsewhere",)))


def test_credit_grows_with_gains_and_fades_with_losses():
    memory = memory_of(made(1, insight="a"))
    credits = [memory.credit("0001")]
    for number, verdict in enumerate(("helped", "helped", "hurt", "failed"), 2):
        story(memory, number, ["0001"], verdict)
        credits.append(memory.credit("0001"))
    assert credits[0] == 0 < credits[1] < credits[2]
    assert credits[4] < credits[3] < credits[2]


def test_credit_fades_by_itself():
    memory = memory_of(made(1))
    story(memory, 2, ["0001"], "helped")
    at_first = memory.credit("0001")
    for number in range(3, 503):
        story(memory, number, [], "neutral")
    assert memory.credit("0001") == pytest.approx(at_first / 2)


def test_an_unknown_id_has_no_credit_and_is_no_harm_where_shown():
    memory = memory_of(made(1))
    story(memory, 2, ["9999"], "helped")
    with pytest.raises(KeyError):
        memory.credit("9999")


def scripted(seed):
    """A run in which most children lose, those told 0001 lose less, those told 0003 more, and 0002 changes nothing."""
    rng = random.Random(seed)
    memory = memory_of(*(made(n, insight=f"insight {n}") for n in (1, 2, 3)))
    for number in range(10, 250):
        told = rng.choice((1, 2, 3, None))
        gain = rng.gauss({1: 1.0, 2: -0.5, 3: -1.6, None: -0.5}[told], 1.0)
        verdict = "failed" if rng.random() < 0.2 else "helped" if gain > 0 else "hurt"
        story(memory, number, [f"{told:04d}"] if told else [], verdict, gain=abs(gain))
    return memory


@pytest.mark.parametrize("seed", range(8))
def test_a_helpful_insight_rises_above_a_useless_one_and_a_harmful_one_dies(seed):
    memory = scripted(seed)
    assert memory.credit("0001") > STRONG / 2 and memory.credit("0001") > memory.credit("0002") + 3
    assert memory.credit("0002") > memory.credit("0003")
    recalled = ids(memory.recall(["Stage"], [], None, 20_000))
    assert recalled[0] == 1 and 3 not in recalled


def test_a_useless_insight_does_not_die_of_the_losses_that_are_usual():
    memory = memory_of(made(1, insight="a"))
    for number in range(10, 210):
        story(memory, number, ["0001"] if number % 4 == 0 else [], "hurt" if number % 2 else "failed", gain=1.0)
    assert memory.credit("0001") > DEAD / 2 and 1 in ids(memory.recall(["Stage"], [], None, 20_000))


def test_the_dead_stay_dead_when_their_credit_has_faded():
    memory = memory_of(made(1, insight="a"))
    for number in range(3000, 3020):  # what is usual
        story(memory, number, [], "neutral")
    for number in range(2, 8):
        story(memory, number, ["0001"], "hurt", gain=9)
    for number in (8, 9):  # their prompts were written before
        story(memory, number, ["0001"], "helped", gain=9)
    for number in range(10, 1600):
        story(memory, number, [], "neutral")
    assert memory.credit("0001") > DEAD / 2
    assert 1 not in ids(memory.recall(["Stage"], [], None, 50_000))


def test_no_single_child_decides():
    memory = memory_of(made(1, insight="a"), made(2, insight="b"))
    story(memory, 3, ["0001"], "hurt", gain=1000)
    story(memory, 4, ["0002"], "helped", gain=1000)
    assert 1 in ids(memory.recall(["Stage"], [], None, 5000)) and memory.strong_insights() == ()


def with_strong_insights():
    memory = memory_of(made(1, insight="norms first"), made(2, insight="norms help", kinds=("GELU",)), made(3))
    for number in range(10, 15):
        story(memory, number, ["0001", "0003"], "helped", gain=5)
    for number in range(15, 21):
        story(memory, number, ["0002"], "helped", gain=5)
    return memory


def test_strong_insights_are_listed_strongest_first_and_changes_without_insight_are_not():
    memory = with_strong_insights()
    assert ids(memory.strong_insights()) == [2, 1]
    assert memory.credit("0003") >= STRONG


def test_a_general_insight_takes_the_place_and_the_credit_of_its_sources():
    memory = with_strong_insights()
    credit = memory.credit("0001") + memory.credit("0002")
    general = memory.generalise(["0002", "0001"], "Normalise\x1b[0m before\n\n```you\x00 act.```" + "." * 900)
    assert general.insight.startswith("Normalise before ```you act.```...") and len(general.insight) <= 300
    assert (general.blocks, general.kinds, general.verdict) == (("Stage",), ("GELU",), "helped")
    assert memory.credit(general.id) == pytest.approx(credit)
    recalled = [one.id for one in memory.recall(["Stage"], [], None, 20_000)]
    assert general.id in recalled and not {"0001", "0002"} & set(recalled)
    assert memory.strong_insights() == ()
    assert f"Insight: `{general.insight[:10]}" in memory.render_all([general])


def test_children_that_were_told_a_source_credit_its_heir():
    memory = with_strong_insights()
    general = memory.generalise(["0001", "0002"], "Normalise.")
    before = memory.credit(general.id)
    story(memory, 40, ["0001", "0002"], "hurt", gain=5)
    assert (
        memory.credit("0001") == memory.credit("0002") == memory.credit(general.id) == pytest.approx(before * 0.95 - 2, abs=0.3)
    )


def test_a_general_insight_can_be_rewritten_again():
    memory = with_strong_insights()
    first = memory.generalise(["0001"], "Normalise.")
    second = memory.generalise([first.id, "0001", "0002"], "Norms.")
    assert first.id != second.id and memory.credit("0001") == memory.credit(second.id)
    recalled = [one.id for one in memory.recall(["Stage"], [], None, 20_000)]
    assert second.id in recalled and first.id not in recalled


@pytest.mark.parametrize(
    ("sources", "text", "error"), [([], "x", ValueError), (["0001"], "\x00 \n", ValueError), (["7"], "x", KeyError)]
)
def test_a_rewrite_needs_sources_and_a_text(sources, text, error):
    memory = with_strong_insights()
    with pytest.raises(error):
        memory.generalise(sources, text)
    assert len(memory) == 14 and memory.strong_insights()

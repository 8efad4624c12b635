"""Lessons in the words of a prompt."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from agent.core.noise import Noise
from agent.memory import render
from agent.population.candidate import Failure
from tests.memory.scenes import NOISE, OBJECTIVES, candidate, individual, lesson, taught


def test_a_rendering_begins_with_the_verdict_and_counts_in_noise():
    lesson = taught(individual(accuracy=0.821, parameters=876, directive="reduce_size"))
    deed = '`0001`, mutation "reduce size" of `Stage`, about `GroupNorm`, `BatchNorm2d`'
    assert render(lesson, OBJECTIVES, NOISE).split("\n") == [
        f"- better on parameters, likely real: accuracy +0.021 (+2.1 sigma, undecided), parameters -12.4% ({deed})",
        "  Intention: `smooth the signal.`",
        "  Expected: `accuracy +0.01.`",
        "  Change: `- self.norm = nn.BatchNorm2d(width)` `+ self.norm = nn.GroupNorm(2, width)`",
    ]


def test_an_insight_takes_the_place_of_the_intention():
    text = render(taught(individual(operator="eot")), OBJECTIVES, NOISE)
    assert "\n  Insight: `smooth the signal.`" in text and "Intention" not in text and "Evolution of Thought of `Stage`" in text


@pytest.mark.parametrize(
    ("accuracy", "parameters", "output"),
    [
        (0.8, 1000, "accuracy same, parameters same"),
        (0.8197, 1000, "better so far, undecided: accuracy +0.02 (+2.0 sigma, undecided), parameters same"),
        (0.795, 1250, "worse on parameters, likely real: accuracy -0.005 (-0.5 sigma, within noise), parameters +25.0%"),
        (0.85, 20_000, "better on accuracy, worse on parameters, likely real: accuracy +0.05 (+5.0 sigma, likely real), par"),
        (0.85, 20_000, "(+5.0 sigma, likely real), parameters 20.0 times"),
    ],
)
def test_amounts_are_rendered_exactly(accuracy, parameters, output):
    assert output in render(taught(individual(accuracy=accuracy, parameters=parameters)), OBJECTIVES, NOISE)


def test_a_count_is_rendered_if_a_percentage_would_be_uninformative():
    large = Noise(NOISE.sigma, {"accuracy": 0.8, "parameters": 1_000_000})
    parent = individual(parameters=1_000_000)
    assert "parameters +1 " in render(taught(individual(parameters=1_000_001), parent=parent, noise=large), OBJECTIVES, large)


def test_a_percentage_is_of_the_parent_however_large_the_seed_is():
    large = Noise(NOISE.sigma, {"accuracy": 0.8, "parameters": 134_894})
    lesson = taught(individual(parameters=6_664), parent=individual(parameters=9_000), noise=large)
    assert "parameters -26.0%" in render(lesson, OBJECTIVES, large)


def test_replacements_are_rendered_before_additions():
    change = "@@ -1,4 +1,7 @@\n+class New:\n+    x = 1\n context\n-old\n+better\n"
    message = render(lesson(change=change), OBJECTIVES, NOISE)
    assert message.endswith("Change: `-old` `+better` `+class New:` `+ x = 1`")
    assert render(lesson(change=change), OBJECTIVES, NOISE, code_shown=True).endswith("Change: in the code shown")


def test_a_bare_failure_is_rendered_in_two_lines():
    assert render(taught(Failure(candidate(), "answer", "No code."), ""), OBJECTIVES, NOISE).split("\n") == [
        "- failed: `answer: No code.` (`0001`, mutation of `Stage`)",
        "  Change: not known",
    ]


HOSTILE = st.text(alphabet=st.sampled_from("`~#-*>|[]()<>\n\r\t\x00\x1b\u2028\u202e a1$"), max_size=80)


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

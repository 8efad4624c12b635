"""What an answer states about itself."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.core.text import clean
from agent.memory import read_intention
from agent.memory.intention import INTENTION_LIMIT

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
    ("answer", "message"),
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
def test_what_is_missing_is_empty(answer, message):
    assert read_intention(answer) == message


def test_a_long_intention_is_cut():
    what, effect = read_intention("Intention: " + "word " * 10_000 + "\nExpected effect: " + "x" * 100_000)
    assert INTENTION_LIMIT - 5 < len(what) <= INTENTION_LIMIT and what.endswith("word...") and len(effect) == INTENTION_LIMIT


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

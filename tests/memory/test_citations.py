"""Which candidates an answer names."""

import pytest

from agent.memory.citations import cited_ids


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("Intention: the gate of `0004`, with 0007's width (see 0004).", ("0004", "0007")),
        ("Insight-2 and `insight-11` agree", ("insight-2", "insight-11")),
        ("0001, 0002 and 0003-0005 agree", ("0001", "0002", "0003", "0005")),
        ("lr 0.0007, 1e-0003x, 00045, 0004.5 or 0003% are numbers", ()),
        ("1024 channels, from 1100 on; but candidate 1023, `1022` and #1021", ("1023", "1022", "1021")),
        ("candidates 1301 and 1300 come later than this one", ()),
        ("before 0001\n```python\nx = '0002'  # 0003\n```\nafter 0004\n~~~\n0005", ("0001", "0004")),
        ("", ()),
    ],
)  # fmt: skip
def test_ids_are_found_in_the_text_and_numbers_are_none(text, ids):
    assert cited_ids(text, "1200") == ids


def test_a_candidate_cannot_mean_itself_or_a_later_one():
    assert cited_ids("0007 is better than 0008 and 0009", "0008") == ("0007",)


def test_a_long_hostile_answer_is_read_quickly():
    assert cited_ids("candidate " * 40_000 + "`" * 100_000 + "insight-" * 20_000, "0009") == ()

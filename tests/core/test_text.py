import pytest

from agent.core.text import format_number, is_hidden, one_line, visible


@pytest.mark.parametrize(
    ("text", "limit", "line"),
    [
        ("two\n  lines\x00 \x1b[31mand\tmore", None, "two lines and more"),
        ("", 10, ""),
        ("just ten c", 10, "just ten c"),
        ("eleven chars", 10, "eleven..."),
        ("a " * 10**6, 8, "a a a..."),
    ],
)
def test_hostile_text_becomes_one_clean_line(text, limit, line):
    assert one_line(text, limit) == line


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.93521, "0.9352"), (5.0, "5"), (999.96, "1000"), (518126.0, "518,126"), (-1234.5, "-1,234"), (2e-05, "2e-05")],
)
def test_a_number_has_four_digits_and_separators_from_a_thousand_on(value, text):
    assert format_number(value) == text


def test_what_would_act_on_a_terminal_is_shown_as_an_escape_and_text_stays():
    assert visible("a\x1b]0;t\x07\r\x9b") == r"a\x1b]0;t\x07\r\x9b"
    assert visible("\u202e\u2028\ud800\U000e0001\u00ad") == r"\u202e\u2028\ud800\U000e0001\xad"
    assert visible("caf\u00e9 \u4e2d\u6587\n\tx\U0001f600") == "caf\u00e9 \u4e2d\u6587\n\tx\U0001f600"
    assert visible("\x0c\x1b", known="\x0c") == "\x0c\\x1b"
    assert not [c for c in map(visible, map(chr, range(0x110000))) if any(map(is_hidden, c))]

import pytest

from agent.core.text import format_number, one_line


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

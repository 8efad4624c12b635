import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.launch.output import HeadAndTail, Lines, clean


def kept(limit, *chunks):
    output = HeadAndTail(limit)
    for chunk in chunks:
        output.add(chunk)
    return output.text()


def test_what_fits_is_kept_whole():
    assert kept(10, b"hello", b"", b"world") == "helloworld"


def test_of_more_the_head_and_the_tail_stay_and_the_gap_is_marked():
    assert kept(10, b"a" * 5 + b"b" * 2000 + b"c" * 5) == "aaaaa\n[... 2,000 bytes left out ...]\nccccc"


def test_one_byte_too_many_is_marked_too():
    assert kept(4, b"abcde") == "ab\n[... 1 bytes left out ...]\nde"


@pytest.mark.parametrize("limit", [0, 1])
def test_a_limit_of_nothing_keeps_nothing_however_much_comes(limit):
    output = HeadAndTail(limit)
    for _ in range(100):
        output.add(b"x" * 1000)
    assert output.text() == "\n[... 100,000 bytes left out ...]\n"
    assert len(output._head) == len(output._tail) == 0


def test_a_stream_of_any_length_takes_no_more_memory_than_the_limit():
    output = HeadAndTail(1000)
    for _ in range(2000):
        output.add(b"x" * 777)
        assert len(output._head) + len(output._tail) <= 1500


@given(st.lists(st.binary(max_size=30)), st.integers(0, 60))
def test_chunks_make_no_difference(chunks, limit):
    assert kept(limit, *chunks) == kept(limit, b"".join(chunks))


@given(st.binary(max_size=200), st.integers(0, 40))
def test_head_and_tail_are_those_of_the_stream(data, half):
    text = kept(2 * half, data)
    if len(data) <= 2 * half:
        expected = data[:half].decode("utf-8", "replace") + data[half:].decode("utf-8", "replace")
    else:
        gap = f"\n[... {len(data) - 2 * half:,} bytes left out ...]\n"
        head, tail = data[:half], data[len(data) - half :]
        expected = head.decode("utf-8", "replace") + gap + tail.decode("utf-8", "replace")
    assert text == clean(expected)


def handed(*chunks, wanted=lambda line: True):
    observed = []
    lines = Lines(lambda line: observed.append(line) or wanted(line))
    return observed, [lines.add(chunk) for chunk in chunks]


@given(st.lists(st.sampled_from([b"a", b"\n", b"bc\nd", "é".encode()[:1], b"layers\n"]), max_size=40))
def test_lines_are_those_of_the_stream_but_for_the_first_and_what_has_no_end(chunks):
    observed, _ = handed(*chunks)
    assert observed == [clean(line.decode("utf-8", "replace")) for line in b"".join(chunks).split(b"\n")[1:-1]]


def test_nothing_is_handed_on_after_the_function_has_had_enough():
    observed, wants = handed(b"layers\n", b"1\n2\n", b"3\n", wanted=lambda line: line != "1")
    assert (observed, wants) == (["1"], [True, False, False])


def test_of_a_flood_of_lines_the_last_ones_are_handed_on_and_none_is_long():
    flood = b"layers\n" + b"".join(b"line %d\n" % i for i in range(10**6))
    chunks = [flood[i : i + (1 << 16)] for i in range(0, len(flood), 1 << 16)]
    observed, _ = handed(*chunks)
    assert 100 <= len(observed) < 20_000
    endless, _ = handed(b"layers\n", *[b"x" * (1 << 16)] * 100, b"\n")
    assert endless == ["x" * 500]


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("plain text,\n\tindented", "plain text,\n\tindented"),
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07", ""),
        ("progress 1%\rprogress 2%\r\nend", "progress 1%\nprogress 2%\nend"),
        ("a\x00b\x08c\x7fd\x9be", "abcde"),
        ("\u202eevil\u2066 \u200b\ufeff", "evil "),
        ("\ud800 half a character", " half a character"),
        ("größer, 数字, ok 🙂", "größer, 数字, ok 🙂"),
        ("\U000e0041\U000e0042 tags", " tags"),
    ],
)
def test_text_is_cleaned_of_what_is_not_printed(text, left):
    assert clean(text) == left


@given(st.text())
def test_clean_text_stays_as_it_is_and_holds_no_control_character(text):
    once = clean(text)
    assert clean(once) == once
    assert {c for c in once if unicodedata.category(c)[0] == "C"} <= {"\n", "\t"}

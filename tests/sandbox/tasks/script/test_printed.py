"""Some lines of what a script printed."""

from itertools import pairwise

from sandbox.tasks.script.printed import LONGEST, MOST, told_lines


def test_few_lines_are_all_told_without_those_that_have_no_number():
    assert told_lines("starting\nepoch 1: loss 0.5\n\ndone\nepoch 2: loss 0.4\n") == ("epoch 1: loss 0.5", "epoch 2: loss 0.4")
    assert told_lines("") == () == told_lines("nothing\nat all")


def test_many_lines_are_thinned_evenly_and_end_with_the_last():
    lines = told_lines("\n".join(f"step {n}: {1 / (n + 1):.3f}" for n in range(1000)))
    assert len(lines) == MOST and lines[0].startswith("step 0:") and lines[-1].startswith("step 999:")
    steps = [int(line.split()[1][:-1]) for line in lines]
    distances = {b - a for a, b in pairwise(steps)}
    assert max(distances) - min(distances) <= 1


def test_a_long_line_is_cut():
    assert told_lines("9" * 10_000) == ("9" * LONGEST,)

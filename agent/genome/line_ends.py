"""Line ends of files that mix them: a line that stays keeps its own, a new one gets that of its surroundings."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from agent.genome.analysis import source_lines
from agent.genome.difference import line_opcodes


def prevailing_end(lines: Sequence[str]) -> str:
    """The line end that most of the lines have; a line feed where none has one."""
    counts = Counter("\r\n" if line.endswith("\r\n") else "\n" for line in lines if line.endswith("\n"))
    return counts.most_common(1)[0][0] if counts else "\n"


def with_ends_of(lines: Sequence[str], start: int, stop: int, text: str) -> list[str]:
    """The lines of `text`, which takes the place of `lines[start:stop]`, counted from 0, with their line ends."""
    old = lines[start:stop]
    around = old if any(line.endswith("\n") for line in old) else lines[max(0, start - 1) : stop + 1]
    end = prevailing_end(around or lines)
    new = source_lines(text.replace("\r\n", "\n"))
    made = [line[:-1] + end if line.endswith("\n") else line for line in new]
    plain = [line.replace("\r\n", "\n") for line in old]
    for tag, first, last, place, _ in line_opcodes(plain, new):
        if tag == "equal":
            made[place : place + last - first] = old[first:last]
    return made

"""What a run has learnt: a lesson for each measured or failed change, and which of them helped the candidates that read them.

No I/O, no randomness, no language model. The same calls of `learn` and `generalise` in the same order give the same memory.
"""

from agent.memory.intention import read_intention
from agent.memory.kinds import kinds_in
from agent.memory.lesson import GAINS, SAME_PROGRAM, WARNINGS, Lesson, Verdict, lesson_of, verdict_named
from agent.memory.memory import LessonStanding, Memory
from agent.memory.render import render

__all__ = [
    "GAINS",
    "SAME_PROGRAM",
    "WARNINGS",
    "Lesson",
    "LessonStanding",
    "Memory",
    "Verdict",
    "kinds_in",
    "lesson_of",
    "read_intention",
    "render",
    "verdict_named",
]

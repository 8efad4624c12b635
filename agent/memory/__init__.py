"""What a run has learnt: a lesson for each measured or failed change, and which of them helped those that read them.

Pure: no I/O, no chance, no language model. `learn` and `rewrite` in the same order give the same memory.
"""

from agent.memory.answer import intention
from agent.memory.kinds import kinds_in
from agent.memory.lesson import Lesson, Verdict, lesson_of
from agent.memory.memory import Memory, Standing
from agent.memory.render import render

__all__ = ["Lesson", "Memory", "Standing", "Verdict", "intention", "kinds_in", "lesson_of", "render"]

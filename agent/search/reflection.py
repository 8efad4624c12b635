"""Ask a model about the search itself from time to time: to generalise proven insights, and to rewrite directives."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Literal

from agent.core.text import clean, quote
from agent.journal.events import DirectiveWritten, Generalised
from agent.llm import Message
from agent.memory import Lesson, Memory
from agent.operators.prompt_parts import conversation
from agent.operators.templates import Prompts

INSIGHT_LIMIT, DIRECTIVE_LIMIT = 300, 700
"""Longest text that is taken from an answer, in characters."""
MOST_INSIGHTS = 5
"""The most insights that are generalised into one."""
RECORD = 6
"""How many lessons a prompt shows about a directive, and how many it needs before it is rewritten."""


@dataclass(frozen=True)
class ReflectionSettings:
    """How often a model is asked to improve insights and directives. Each question costs an answer that makes no candidate."""

    insights_every: int = 32
    """After this many settled candidates a model rewrites proven insights as one, if there are any. 0: never."""
    directives_every: int = 0
    """After this many settled candidates a model rewrites a directive by its record. 0: never, the default: it was not shown to
    pay, and a few hundred candidates cannot tell yet another directive from those that there are."""
    least_left: int = 40
    """No question is asked with fewer candidates to come: what it brings could not repay its answer any more."""
    most_directives: int = 6
    """Most directives that are written in a run."""

    __pydantic_config__ = {"extra": "forbid"}

    def __post_init__(self) -> None:
        if min(self.insights_every, self.directives_every, self.least_left, self.most_directives) < 0:
            raise ValueError("none of them can be negative")


@dataclass(frozen=True)
class Question:
    """One model call that makes no candidate."""

    id: str
    kind: Literal["insight", "directive"]
    about: tuple[str, ...]
    """Ids of the insights, or the name of the directive."""
    model: str
    messages: tuple[Message, ...]


def ask_for_insight(prompts: Prompts, number: int, insights: Sequence[Lesson], model: str) -> Question:
    """`insights`: the proven ones, strongest first."""
    chosen = insights[:MOST_INSIGHTS]
    listed = "\n".join(f"- {quote(lesson.insight, INSIGHT_LIMIT)}" for lesson in chosen)
    messages = conversation(prompts, None, prompts.parts["generalise"].fill(insights=listed))
    return Question(f"insight-{number}", "insight", tuple(lesson.id for lesson in chosen), model, messages)


def ask_for_directive(prompts: Prompts, number: int, name: str, text: str, lessons: Iterable[str], model: str) -> Question:
    """`lessons`: the results of changes that followed this directive, as text."""
    record = "\n\n".join(lessons)
    filled = prompts.parts["rewrite_directive"].fill(name=name.replace("_", " "), text=text, record=record)
    return Question(f"directive-{number}", "directive", (name,), model, conversation(prompts, None, filled))


def read_answer(kind: Literal["insight", "directive"], answer: str) -> str:
    """The one line that was asked for; empty if the answer has none."""
    label, limit = ("Insight", INSIGHT_LIMIT) if kind == "insight" else ("Directive", DIRECTIVE_LIMIT)
    found = re.findall(rf"^[ \t>*_#-]{{0,8}}{label}[ \t*_]{{0,4}}:[ \t*_]*(\S.*)$", clean(answer), re.MULTILINE | re.IGNORECASE)
    text = " ".join(found[-1].replace("`" * 3, "").split()).strip("*_ ") if found else ""
    return text if len(text) <= limit else ""


class Reflector:
    """Decides when to ask which question. Not thread-safe."""

    def __init__(self, prompts: Prompts, model: str, settings: ReflectionSettings, planned: int) -> None:
        """`model`: name of the model that is asked. `planned`: candidates of the whole run, at most."""
        self._prompts, self._model, self._settings, self._planned = prompts, model, settings, planned
        self._lessons: defaultdict[str, list[Lesson]] = defaultdict(list)
        self._settled = 0
        self._asked_at = {"insight": 0, "directive": 0}
        self._under_way: set[str] = set()
        self.asked = 0
        """Number of questions so far, in earlier processes too: it makes their ids."""

    def see(self, lesson: Lesson) -> None:
        """Take in the lesson of a settled candidate."""
        self._settled += 1
        if lesson.directive:
            self._lessons[lesson.directive].append(lesson)

    def restore(self, event: Generalised | DirectiveWritten) -> None:
        """Take in the result of a question that an earlier process asked."""
        self.asked += 1
        self._asked_at["insight" if isinstance(event, Generalised) else "directive"] = self._settled

    def due(self, memory: Memory, written: Mapping[str, str]) -> Iterator[Question]:
        """Yield the questions that are due: at most one of each kind is under way at a time, and none near the end of the run."""
        if self._planned - self._settled < self._settings.least_left:
            return
        if self._is_due("insight", self._settings.insights_every) and (strong := memory.strong_insights()):
            yield self._start(ask_for_insight(self._prompts, self.asked + 1, strong, self._model))
        if len(written) < self._settings.most_directives and self._is_due("directive", self._settings.directives_every):
            name = self._to_rewrite(written)
            if name is not None:
                text = written.get(name) or self._prompts.directives[name]
                record = [memory.render(lesson) for lesson in _representative(self._lessons[name])]
                yield self._start(ask_for_directive(self._prompts, self.asked + 1, name, text, record, self._model))

    def read(self, question: Question, answer: str) -> Generalised | DirectiveWritten:
        """The result of a question; its text is empty if the answer could not be used."""
        self._under_way.discard(question.kind)
        text = read_answer(question.kind, answer)
        if question.kind == "insight":
            return Generalised(question.id, question.about, text)
        (origin,) = question.about
        return DirectiveWritten(f"{origin}_v{question.id.rpartition('-')[2]}", text, origin)

    def _is_due(self, kind: str, every: int) -> bool:
        return bool(every) and kind not in self._under_way and self._settled - self._asked_at[kind] >= every

    def _start(self, question: Question) -> Question:
        self.asked += 1
        self._asked_at[question.kind] = self._settled
        self._under_way.add(question.kind)
        return question

    def _to_rewrite(self, written: Mapping[str, str]) -> str | None:
        """The directive with the most lessons among those without a new version yet; None if none has enough lessons."""
        origins = {re.sub(r"_v\d+$", "", name) for name in written}
        known = [(len(each), name) for name, each in sorted(self._lessons.items()) if len(each) >= RECORD and name not in origins]
        return max(known)[1] if known else None


def _representative(lessons: Sequence[Lesson]) -> list[Lesson]:
    """The latest of each verdict in turn, at most `RECORD`, in the order in which they were learned."""
    by_verdict: defaultdict[str, list[Lesson]] = defaultdict(list)
    for lesson in reversed(lessons):
        by_verdict[lesson.verdict].append(lesson)
    turns = [lesson for turn in zip_longest(*by_verdict.values()) for lesson in turn if lesson is not None]
    chosen = {lesson.id for lesson in turns[:RECORD]}
    return [lesson for lesson in lessons if lesson.id in chosen]

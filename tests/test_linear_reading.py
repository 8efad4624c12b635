"""Whatever reads text of candidates, models or servers takes time in proportion to its length: a pattern that tries each
character against all that follow it would stop the run, and Ctrl-C too, for hours.

Each reader gets texts of one unit over and over, short and four times as long. CPU time of this thread counts.
"""

import itertools
import time

import pytest

from agent.cli.console import _WithoutTrailingBlanks
from agent.core import text as core_text
from agent.genome import extraction
from agent.genome.rewrites.catalogue import rewrites_like
from agent.llm import Message
from agent.llm.backends import adaptation, answers, endpoint, offline
from agent.llm.text import redact, transcript, without_thoughts
from agent.memory import citations, intention, similarity
from agent.search import reflection
from sandbox import CallLimits, Report
from sandbox.launch import output
from sandbox.pool import gpus
from sandbox.tasks.common import progress, refusals, stages
from sandbox.tasks.common.job import StageFailed
from sandbox.tasks.script import columns, metrics, numbers

LIMITS, FILES = CallLimits(1, 1, 1), ("model.py",)
SHORT, TIMES = 10_000, 4
ALLOWED = 9.0
"""How many times as long a text of `TIMES` the length may take: 4 is linear, 16 quadratic."""
WORDY = {"metrics": 5, "rewrites": 5}
"""Readers that do much for each line: they get texts that are so many times shorter."""
EVERY = 17
"""One in so many of the units between others, other ones for each reader."""
LEAST = 0.04
"""Seconds that need no comparison: a quadratic pattern takes longer for 40,000 characters."""


class Nowhere:
    def write(self, text):
        return len(text)


def failing(*kinds):
    """A reader that may refuse what it reads."""

    def around(read):
        def call(text):
            try:
                read(text)
            except kinds:
                return

        return call

    return around


def kept(text):
    log = output.HeadAndTail(1 << 20)
    data = text.encode()
    for start in range(0, len(data), 1 << 16):
        log.add(data[start : start + (1 << 16)])
    log.text()


def watched(text):
    lines = output.Lines(lambda line: True)
    lines.add(b"layers\n")
    for start in range(0, len(text), 1000):
        lines.add(text[start : start + 1000].encode())


SENT = {"max_tokens": 4000, "messages": [{"role": "user", "content": "x"}]}
READERS = {
    "log kept": kept,
    "log watched": watched,
    "log cleaned": output.clean,
    "explanation": lambda text: stages.explain(Report("exit", 1, 0, 0, 0, b"", text), LIMITS, FILES),
    "refusal": lambda text: refusals.refusal(text, FILES),
    "frame": lambda text: refusals.last_own_frame(text, FILES),
    "smoke": failing(StageFailed)(lambda text: stages.Smoke.read(Report("exit", 0, 0, 0, 0, text.encode()), {}, None)),
    "progress": progress.parse,
    "device": gpus.failed,
    "metrics": failing(StageFailed)(lambda text: metrics.read(text, ("loss", "val_loss"))),
    "column": failing(numbers.Unclear)(lambda text: columns.column_reading(text.splitlines(), "loss")),
    "number": failing(numbers.Unclear)(numbers.read_number),
    "clean": core_text.clean,
    "visible": core_text.visible,
    "one line": core_text.one_line,
    "quote": core_text.quote,
    "fence": core_text.fence,
    "pipe": _WithoutTrailingBlanks(Nowhere()).write,
    "intention": intention.read_intention,
    "citations": lambda text: citations.cited_ids(text, "9999"),
    "words": similarity._words,
    "insight": lambda text: reflection.read_answer("insight", text),
    "code": extraction.extract_code,
    "code of a block": lambda text: extraction.extract_code(text, ("Net",)),
    "rewrites": lambda text: rewrites_like(text, text[::-1]),
    "thoughts": without_thoughts,
    "transcript": lambda text: transcript((Message("user", text), Message("assistant", text))),
    "redacted": lambda text: redact(text, ["sk-abcdefghijklmnop"]),
    "complaint": lambda text: adaptation.Adaptation().learn(text, SENT),
    "refused": lambda text: endpoint.SendError(text, 400).final_status,
    "upstream": lambda text: answers.upstream_error({"error": {"message": text}}),
    "retry": lambda text: endpoint.retry_after_seconds({"retry-after": text}),
    "prompt": offline._program_files,
    "directive": offline._directive,
}

UNITS = [
    *"a_A1.,-=*>#(['\"`~|:;%\\ \t\n", "1,", "1,234", "9_123", "1.", ".1", "1e", " \n", "\n ", "\r\n", "\x1b", "\x1b[",
    "\x1b[1", "\x1b]", "\x1b]0;x", "-> 1 ", "1->", "==", "```", "```\n", "~~~", "~~~a", "~~~\n", "Error", "a.Error",
    "a.b", "Error: x\n", "Exception_", "Traceback (most recent call last):\n", '  File "model.py", line 1, in f\n',
    '  File "', '  File "a", line 9, in x\n    y(\n', '  File "model.py", line 1, in f\n    a.b(c.d\n      ^^^^\n',
    "PermissionError: [Errno 1] ", "FileNotFoundError: [Errno 2] '", "CUDNN_STATUS_", "CUBLAS_STATUS_ALLO",
    "CUDA error: ", "SystemExit: the program ended itself with ", "error ", "\u2500", "a\n[... 1 bytes left out ...]\n",
    "class 1 a\n", "calls a 1:1 ", "tensor F32 1 a\n", "loss", "loss ", "loss: ", "loss:\n", "LOSS,1 ", "val_loss ",
    "loss of a ", "loss (1 -> ", "loss\t1\n", "| loss | 1 |\n", "epoch loss\n1 2\n", "Intention: ", "Expected effect ",
    "expected ", "* ", "_(", "insight-1 ", "`0001 ", "candidate 1", "<think>", "</think>", "def ", "x: y", "x = ",
    "async def ", "a=", "a(1", "Insight: ", "context ", "context length ", "sequence size ", "limit: 1 ",
    "1 tokens in ", "maximum token ", "api key ", "model ", "## Program\n", "`a`:\n\n", "## Directive: ", "$", "\u00e9",
    "\u202e", "\ufeff", "=====\n", "sk-abcdefghijklmno",
]  # fmt: skip
BEFORE = [
    "", "loss,", "loss: ", 'Traceback (most recent call last):\n  File "model.py", line 1, in f\n', "```python\n", "Intention: ",
    "<think>", "token context ", "## Program\n", "Insight: ", "epoch,loss\n1,", "val_loss\n",
]  # fmt: skip
AFTER = ["", "x", "!\n", "`"]


def seconds(read, text):
    started = time.thread_time()
    read(text)
    return time.thread_time() - started


@pytest.mark.parametrize(("number", "reader"), list(enumerate(READERS)), ids=str)
def test_four_times_the_text_takes_about_four_times_as_long(number, reader):
    read = READERS[reader]
    slow = {}
    framed = itertools.islice(itertools.product(UNITS, BEFORE, AFTER), number % EVERY, None, EVERY)
    for unit, before, after in [*((unit, "", "x") for unit in UNITS), *framed]:
        length = SHORT // WORDY.get(reader, 1)
        long = before + unit * (TIMES * length // len(unit)) + after
        if (taken := seconds(read, long)) < LEAST:
            continue
        short = before + unit * (length // len(unit)) + after
        taken = min(taken, seconds(read, long))
        base = min(seconds(read, short) for _ in range(3))
        if taken > ALLOWED * base:
            slow[before, unit, after] = (base, taken)
    assert not slow


def test_numbers_of_any_length_are_read_without_an_error():
    digits = "9" * 10_000
    assert refusals.refusal(f'Traceback (most recent call last):\n  File "model.py", line {digits}, in f\nE: x\n', FILES) == ""
    adaptation.Adaptation().learn(f"context length is {digits} tokens", SENT)
    assert endpoint.retry_after_seconds({"retry-after": digits}) is not None

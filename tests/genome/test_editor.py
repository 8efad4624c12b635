"""The editor's processes: hostile text, several threads, and processes that are killed."""

import contextlib
import os
import signal
import sys
import textwrap
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from agent.core.errors import MachineError
from agent.genome import Editor, Genome, Violations
from tests.genome.programs import GATE_MODEL, answer, apply_block, fenced, text

HOSTILE = {
    "parentheses": "x = " + "(" * 990 + "1" + ")" * 990,
    "minus": "\n".join(["x = " + "-" * 1900 + "1"] * 20),
    "elif": "if a:\n    pass\n" + "elif a:\n    pass\n" * 9000,
    "and": "x = (True\n" + "and True\n" * 18_000 + ")",
    "attributes": "x = (a\n" + ".b\n" * 5000 + ")",
    "calls": "x = (f\n" + "()\n" * 5000 + ")",
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_text_is_a_violation_and_the_editor_continues(kind):
    editor = Editor(seconds=3.0)
    try:
        body = textwrap.indent(HOSTILE[kind], "    ")
        reply = fenced(f"def scale(x, factor=2.0):\n{body}\n    return x")
        result = editor.apply(Genome({"model.py": GATE_MODEL}), ("scale",), reply)
        assert isinstance(result, Violations)
        assert "x + 1" in text(apply_block(editor, "def scale(x, factor=2.0):\n    return x + 1", "scale"))
    finally:
        editor.close()


STRANGE = [
    "\x1b]52;c;eA==\x07", "\x1b[2J", "\x9d0;t\x9c", "\x08",
    "\x7f", "\u202e", "\u2066", "\u200b", "\ufeff", "\u2028", "\U000e0041",
]  # fmt: skip


@pytest.mark.parametrize("strange", STRANGE, ids=ascii)
@pytest.mark.parametrize("place", ["    # {}\n    return x", "    return x if '{}' else 0", '    """{}"""\n    return x'])
def test_characters_that_are_no_text_are_refused_with_the_reason(editor, strange, place):
    code = f"def scale(x, factor=2.0):\n{place.format(strange)}"
    for blocks in (("scale",), ()):
        result = editor.apply(Genome({"model.py": GATE_MODEL}), blocks, fenced(code))
        assert isinstance(result, Violations), result
        assert "has the character U+" in result.reasons[0] or "cannot compile" in result.reasons[0]
        assert all(character.isprintable() for reason in result.reasons for character in reason)


def test_half_a_character_stands_as_the_sign_for_it_and_the_answer_is_taken(editor):
    code = "def scale(x, factor=2.0):\n    # an emoji cut in two: \ud83d\n    return x + 1"
    assert "cut in two: \ufffd\n" in text(editor.apply(Genome({"model.py": GATE_MODEL}), ("scale",), fenced(code)))


def test_escapes_of_them_and_characters_that_the_program_has_anyway_are_not(editor):
    known = Genome({"model.py": GATE_MODEL.replace("def scale", "# a\u200db \x0c\ndef scale")})
    code = "def scale(x, factor=2.0):\n    # a\u200dc, \u00e9\u4e2d\U0001f600\n    return x if '\\x1b\\u202e' else 0"
    assert "a\u200dc" in text(editor.apply(known, ("scale",), fenced(code)))


def test_properties_that_the_process_computed_are_those_of_the_text(editor):
    genome = Genome({"model.py": GATE_MODEL})
    new = editor.apply(genome, ("scale",), answer("import math\ndef scale(x, factor=2.0):\n    return x + math.pi"))
    plain = Genome(new.files)
    assert vars(new).keys() >= {"fingerprint", "all_blocks", "live_names"}
    assert new.fingerprint == plain.fingerprint
    assert (new.all_blocks, new.live_blocks) == (plain.all_blocks, plain.live_blocks)
    assert new.block("Net") is genome.block("Net")


def test_edits_at_once_do_not_mix():
    editor = Editor(processes=3)
    try:
        with ThreadPoolExecutor(8) as pool:
            codes = [f"def scale(x, factor=2.0):\n    return x + {number}" for number in range(40)]
            edited = list(pool.map(lambda code: text(apply_block(editor, code, "scale")), codes))
        assert [f"return x + {number}\n" in new for number, new in enumerate(edited)] == [True] * 40
    finally:
        editor.close()


def test_a_killed_process_is_replaced():
    editor = Editor()
    try:
        assert "x + 1" in text(apply_block(editor, "def scale(x, factor=2.0):\n    return x + 1", "scale"))
        running = next(running.process for running in editor._processes if running.process)
        running.kill()
        running.wait()
        assert "x + 2" in text(apply_block(editor, "def scale(x, factor=2.0):\n    return x + 2", "scale"))
    finally:
        editor.close()


def test_a_process_that_is_killed_during_an_edit_does_not_count_against_the_answer():
    editor = Editor(processes=1)
    try:
        apply_block(editor, "def scale(x, factor=2.0):\n    return x + 1", "scale")
        (running,) = editor._processes
        os.kill(running.process.pid, signal.SIGSTOP)
        with ThreadPoolExecutor(1) as threads:
            edit = threads.submit(apply_block, editor, "def scale(x, factor=2.0):\n    return x + 3", "scale")
            while not editor._idle.empty():
                time.sleep(0.001)
            running.process.kill()
            assert "x + 3" in text(edit.result())
    finally:
        editor.close()


def test_a_process_that_is_killed_while_it_starts_is_started_again():
    editor = Editor(processes=1)
    tasks = Path("/proc/self/task")

    def started():
        """The process that the edit has just started, before it is ready."""
        while True:
            for all_processes in tasks.glob("*/children"):
                for pid in all_processes.read_text().split():
                    with contextlib.suppress(OSError):
                        if b"agent.genome.editor_process" in Path(f"/proc/{pid}/cmdline").read_bytes():
                            return int(pid)

    try:
        with ThreadPoolExecutor(1) as threads:
            edit = threads.submit(apply_block, editor, "def scale(x, factor=2.0):\n    return x + 4", "scale")
            first = started()
            os.kill(first, signal.SIGKILL)
            assert "x + 4" in text(edit.result())
        (running,) = editor._processes
        assert running.process.pid != first
    finally:
        editor.close()


def test_a_process_that_never_starts_is_the_machines_fault(monkeypatch):
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(MachineError, match="died 3 times before it was ready"):
        apply_block(Editor(processes=1), "def scale(x, factor=2.0):\n    return x + 5", "scale")

"""What candidates and models wrote reaches a terminal as text only: it sets no title, copies nothing, links nowhere."""

import json
import os
import re
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from agent.cli.live import Live
from agent.cli.output import print_json, print_line, print_to_stderr
from agent.core.noise import Noise
from agent.core.objectives import Fitness, Objective
from agent.core.text import is_hidden
from agent.genome import Genome
from agent.journal.events import (
    Advised,
    Answered,
    Asked,
    Bred,
    Committed,
    DirectiveWritten,
    EliteRetrained,
    Learned,
    Proposed,
    RunEnded,
    RunStarted,
    SeedRepeated,
    Settled,
    Told,
)
from agent.journal.store import Journal
from agent.llm import Completion, CoolDownStarted, Message, Usage
from agent.memory import lesson_of
from agent.population.candidate import SEED_ID, Candidate, Evidence, Failure, Individual, Recipe, Variant
from tests import terminal

ROOT = Path(__file__).resolve().parents[2]
OBJECTIVES = (Objective("accuracy", "max"), Objective("parameters", "min"))
NOISE = Noise({"accuracy": 0.01, "parameters": 0.0}, {"accuracy": 0.5, "parameters": 1000})
EVIL = (
    "SEEN \x1b]0;title\x07 \x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\ \x1b]52;c;Y2F0\x07 \x1b[2J\x1b[31m"
    " \x9b31m \x90q\x9c \x00\x08\x7f"
    " \u202eabc\u202c \u2066d\u2069 \u200e\u200b\ufeff\u00ad \u2028\u2029 \ud800 \U000e0041 \rover [bold]b[/bold]"
)
FORBIDDEN = {c for c in EVIL if is_hidden(c)}


def a_run(folder):
    """A finished run in whose journal every text that a candidate or a model can choose is hostile."""
    folder.mkdir(parents=True)
    recipes = (Recipe("mutate", (SEED_ID,), ("a",), f"m{EVIL}", 1, f"r{EVIL}", f"d{EVIL}"),)
    seed = Individual(Candidate(SEED_ID, 0), Genome({"model.py": "def a():\n    return 1\n"}), Fitness(values(0.5, 1000)))
    in_code = "".join(c for c in EVIL if c not in "\0\r\ud800")
    code = Genome({"model.py": f"def a():\n    return 1  # {in_code}\n"})
    better = Individual(
        Candidate("0001", 0, recipes), code, Fitness(values(0.56, 900)), Evidence({"fit": 1.0}, 9), intention=EVIL
    )
    worse = Candidate("0002", 0, recipes)
    completion = Completion(f"Intention: {EVIL}", "stop", Usage(10, 5), 0.25, 1.0, f"m{EVIL}")
    with closing(Journal(folder / "journal.db")) as journal:
        config = {"objectives": {"accuracy": "max", "parameters": "min"}, "search": {}, "llm": {"models": ["m"]}}
        for event in (
            RunStarted(config, "full", ()),
            Settled(seed),
            SeedRepeated(1, Fitness(values(0.49, 1000)), "", 1.0),
            SeedRepeated(2, Fitness(values(0.51, 1000)), "", 1.0),
            Proposed(better.candidate),
            Asked("0001", 0, f"m{EVIL}", (Message("user", EVIL),), 1.0, 10),
            Answered("0001", 0, completion),
            Bred(Variant(better.candidate, better.genome, EVIL)),
            Settled(better),
            Committed("0001", f"evolve/r/0001{EVIL}", "0" * 40),
            EliteRetrained("0001", 5, Fitness(values(0.56, 900)), f"score: {EVIL}", 1.0),
            Learned(lesson_of(better, seed, f"Intention: {EVIL}\n", (), OBJECTIVES, NOISE)),
            DirectiveWritten("d_v1", EVIL, "d"),
            Proposed(worse),
            Settled(Failure(worse, "fit", f"ValueError: {EVIL}", EVIL, code)),
            RunEnded("failed", f"1 times: {EVIL}"),
        ):
            journal.record(event)
    return folder


def values(accuracy, parameters):
    return {"accuracy": accuracy, "parameters": parameters}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return a_run(tmp_path_factory.mktemp("hostile") / "r")


COMMANDS = [
    ("status",), ("show",), ("show", "1"), ("show", "2"), ("show", "--lessons"), ("show", "--arms"), ("diff", "1"), ("compare",),
    ("diff", f"\x1b]0;t\x07{chr(0x202E)}"), ("show", "1", "--json"), ("show", "--json"), ("show", "--lessons", "--json"),
    ("status", "--json"),
]  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: ascii(" ".join(command)))
@pytest.mark.parametrize("where", ["terminal", "pipe"])
def test_no_command_writes_a_character_that_acts(run, where, command):
    name, *rest = command
    shown = shown_on[where](name, str(run), *rest)
    assert not {ascii(c) for c in shown if is_hidden(c)}
    assert "SEEN" in shown or command in (("compare",), COMMANDS[8])
    if "--json" in command:
        assert "SEEN" in json.dumps(json.loads(shown if where == "pipe" else shown.replace("\n", "")))


def on_terminal(*arguments):
    shown, _ = terminal.on_terminal(*arguments, columns=150)
    return re.sub(r"\x1b\[[0-9;]*m", "", shown.replace("\r\n", "\n"))


def in_a_pipe(*arguments):
    done = subprocess.run(command(arguments), env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True)
    return (done.stdout + done.stderr).decode()


def command(arguments):
    return [sys.executable, "-m", "agent.cli", *arguments]


shown_on = {"terminal": on_terminal, "pipe": in_a_pipe}


@pytest.mark.parametrize("terminal", [True, False])
def test_the_live_view_writes_none(monkeypatch, capsys, terminal):
    if terminal:
        monkeypatch.setenv("FORCE_COLOR", "1")
        monkeypatch.setenv("TERM", "xterm")
    recipe = Recipe("mutate", (SEED_ID,), (f"a{EVIL}",), "m", 1, None, f"d{EVIL}")
    candidate = Candidate("0001", 0, (recipe,))
    with Live(f"night{EVIL}") as live:
        for event in (
            Told(EVIL),
            Advised(EVIL),
            CoolDownStarted(f"m{EVIL}", 9.0, EVIL, True),
            Proposed(candidate),
            EliteRetrained("0001", 5, Fitness(values(0.5, 9)), EVIL, 1.0),
            Settled(Failure(candidate, "fit", EVIL)),
        ):
            live.see(event)
        live.print_line(EVIL)
        with live._console.capture() as panel:
            live._console.print(live._render())
    shown = capsys.readouterr().err + panel.get()
    left = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]|\r", "", shown)  # what rich draws with
    assert "SEEN" in left and not {ascii(c) for c in left if is_hidden(c)}


def test_lines_and_errors_write_none_and_json_keeps_the_texts(capsys):
    print_line(EVIL)
    print_to_stderr(f"Error: {EVIL}")
    print_json({EVIL: [EVIL]})
    out, err = capsys.readouterr()
    assert not FORBIDDEN & set(out + err)
    assert json.loads(out.partition("\n")[2]) == {EVIL: [EVIL]}


def test_a_diff_for_git_keeps_the_characters_of_the_seed(capsys):
    from agent.cli.candidate import print_diff

    print_diff("+\x0c\u200d\r\n+\x1b]0;t\x07\n", "\x0c\u200d\r")
    assert capsys.readouterr().out == "+\x0c\u200d\r\n+\\x1b]0;t\\x07\n"


@pytest.mark.parametrize("arguments", [("show", "x\udcff"), ("run", "a\udcff.py", "--llm", "offline"), ("status", "\udc80")])
def test_a_name_that_is_not_utf8_is_refused_in_a_sentence(arguments):
    done = subprocess.run(command(arguments), env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True)
    assert done.returncode == 2
    assert re.fullmatch(rb"Error: The argument \S+ is not UTF-8: rename what it names\.\n", done.stderr)


def test_a_folder_whose_name_is_not_utf8_is_refused_in_a_sentence(tmp_path):
    odd = os.fsencode(tmp_path) + b"/\xff"
    os.mkdir(odd)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command(["status", "x"]), cwd=odd, env=environment, capture_output=True)
    assert done.returncode == 2 and b"is not UTF-8" in done.stderr and done.stderr.count(b"\n") == 1

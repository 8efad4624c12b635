import os
import resource
import signal
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from agent.core.errors import MachineError
from agent.core.objectives import Fitness
from agent.genome import Genome
from agent.journal.events import Answered, Asked, Bred, Committed, GenerationEnded, Proposed, RunEnded, RunStarted, Settled
from agent.journal.replay import read_replay
from agent.journal.store import Journal
from agent.llm import Completion, Message, Usage
from agent.population.candidate import SEED_ID, Candidate, Duplicate, Evidence, Failure, Individual, Recipe, Variant

RECIPE = Recipe("mutate", ("seed",), ("Net",), "offline", 7, role="expert", directive="complex", temperature=0.3)
CANDIDATE = Candidate("0001", 0, (RECIPE,))
GENOME = Genome({"model.py": "class Net:\n    x = '{braces} and \"quotes\" and \\u2603 ☃'\n"})
COMPLETION = Completion("```python\n```", "stop", Usage(10, 20), 0.25, 1.5, "offline")
CALLS = {"Net": (("4x8x8", 12), ("10", 0))}
MISTAKES = (("0 as 1", 2), ("all", 3))
EVIDENCE = Evidence({"fit": 1.25}, 10_000, ((2.3, 0.1), (1.1, 0.6)), {"Net": 12}, CALLS, MISTAKES, "full", ("seccomp",))
TRAINED = Individual(CANDIDATE, GENOME, Fitness({"accuracy": 0.9, "parameters": 12.0}), EVIDENCE)


@pytest.fixture
def journal(tmp_path):
    journal = Journal(tmp_path / "journal.db")
    yield journal
    journal.close()


def test_passing_by_again_leaves_the_first_record(journal):
    journal.record(Settled(TRAINED))
    journal.record(Settled(Failure(CANDIDATE, "fit", "another end")))
    assert [data["outcome"] for *_, data in journal.events("settled")] == ["trained"]


def test_starts_and_ends_are_kept_each_time(journal):
    for _ in range(2):
        journal.record(RunStarted({}, "none", ()))
        journal.record(RunEnded("stopped", ""))
    assert [kind for _, kind, _, _ in journal.events()] == ["started", "ended"] * 2


def test_views_can_be_asked_by_any_sqlite_tool(journal, tmp_path):
    seed = Individual(Candidate(SEED_ID, 0), GENOME, TRAINED.fitness)
    asked = Asked("0001", 0, "offline", (), None, None)
    drawn = (Settled(seed), Proposed(CANDIDATE), asked, Answered("0001", 0, COMPLETION), Bred(Variant(CANDIDATE, GENOME)))
    ended = (GenerationEnded(0, ("0001",), (), ("0001",), 1.0), Committed("0001", "b", "c"))
    for event in (*drawn, Settled(TRAINED), *ended):
        journal.record(event)
    db = sqlite3.connect(tmp_path / "journal.db")
    assert db.execute("SELECT id, operator FROM variants").fetchall() == [("0001", "mutate")]
    assert db.execute("SELECT id, fitness ->> 'accuracy' FROM individuals").fetchall() == [("0001", 0.9)]
    assert db.execute("SELECT count(*) FROM failures").fetchone() == (0,)
    assert db.execute("SELECT call, usd, tokens_out FROM llm_calls").fetchall() == [("0001/0", 0.25, 20)]
    db.close()


def test_a_file_that_is_no_journal_is_the_machines_fault(tmp_path):
    (tmp_path / "journal.db").write_text("not a database, but long enough to look like one" * 50)
    with pytest.raises(MachineError, match="journal"):
        Journal(tmp_path / "journal.db")


def test_views_show_failures_and_leave_out_duplicates(journal, tmp_path):
    other = Candidate("0002", 0, (RECIPE,))
    ends = (Settled(Failure(CANDIDATE, "fit", "why")), Settled(Duplicate(other, "0001")))
    for event in (Proposed(CANDIDATE), Proposed(other), *ends):
        journal.record(event)
    db = sqlite3.connect(tmp_path / "journal.db")
    assert db.execute("SELECT id, stage, reason FROM failures").fetchall() == [("0001", "fit", "why")]
    assert db.execute("SELECT count(*) FROM individuals").fetchone() == (0,)
    db.close()


def test_views_answer_beside_an_answer_with_broken_characters(journal, tmp_path):
    for call, text in enumerate(("a\ud800b", "nul\0nul", "☃")):
        journal.record(Asked("0001", call, "m", (Message("user", text),), None, None))
        journal.record(Answered("0001", call, Completion(text, "stop", Usage(1, 1), None, 0.0, "m")))
    db = sqlite3.connect(tmp_path / "journal.db")
    db.text_factory = lambda raw: raw.decode("utf-8", "replace")
    assert [answer for (answer,) in db.execute("SELECT answer FROM llm_calls")][2] == "☃"
    db.close()


WRITER = """
import sys
from pathlib import Path
from agent.journal.events import Proposed
from agent.population.candidate import Candidate
from agent.journal.store import Journal
journal = Journal(Path(sys.argv[1]))
for number in range(10**9):
    journal.record(Proposed(Candidate(f"{number:06}", 0)))
    print(f"{number:06}", flush=True)
"""


def writer(path, **options):
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    command = [sys.executable, "-c", WRITER, str(path)]
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options
    )


@pytest.mark.parametrize("after", [1, 40, 400])
def test_a_killed_process_loses_no_event_that_was_confirmed(tmp_path, after):
    path = tmp_path / "journal.db"
    process = writer(path)
    announced = [process.stdout.readline().strip() for _ in range(after)]
    process.send_signal(signal.SIGKILL)
    rest = process.stdout.read()  # not by communicate(), which misses what readline() has read ahead
    process.communicate()
    announced += [line for line in rest.split("\n")[:-1] if line]
    journal = Journal(path)
    kept = [key for _, _, key, _ in journal.events("drawn")]
    assert kept[: len(announced)] == announced
    assert len(kept) <= len(announced) + 1  # one may be written and not yet announced
    journal.record(Proposed(CANDIDATE))
    journal.close()


def test_a_full_disk_is_the_machines_fault_and_loses_nothing_before_it(tmp_path):
    def little_room():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))

    process = writer(tmp_path / "journal.db", preexec_fn=little_room)
    out, error = process.communicate(timeout=60)
    assert "agent.core.errors.MachineError: The journal cannot be written" in error.splitlines()[-1]
    journal = Journal(tmp_path / "journal.db")
    assert [key for _, _, key, _ in journal.events("drawn")] == out.split()
    journal.close()


def test_a_journal_opened_for_reading_writes_nothing(journal, tmp_path):
    journal.record(Proposed(CANDIDATE))
    reader = Journal(tmp_path / "journal.db", read_only=True)
    with pytest.raises(MachineError, match="cannot be written"):
        reader.record(Proposed(Candidate("0002", 0)))
    assert read_replay(reader, Genome({})).candidates == {"0001": CANDIDATE}
    reader.close()


def test_reading_a_journal_that_is_not_there_makes_none(tmp_path):
    with pytest.raises(MachineError, match="cannot be opened"):
        Journal(tmp_path / "journal.db", read_only=True)
    assert list(tmp_path.iterdir()) == []


def test_a_place_with_odd_characters_holds_a_journal(tmp_path):
    folder = tmp_path / "a b?mode=ro&x=1#%41"
    folder.mkdir()
    journal = Journal(folder / "journal.db")
    journal.record(Proposed(CANDIDATE))
    journal.close()
    assert (folder / "journal.db").is_file()


def test_a_journal_that_is_damaged_later_is_the_machines_fault(tmp_path):
    path = tmp_path / "journal.db"
    journal = Journal(path)
    for number in range(400):
        journal.record(Proposed(Candidate(f"{number:04}", 0, (RECIPE,))))
    journal.close()
    raw = bytearray(path.read_bytes())
    page = raw.index(b'"id":"0200"') // 4096 * 4096
    raw[page : page + 4096] = b"\xff" * 4096
    path.write_bytes(raw)
    damaged = Journal(path, read_only=True)
    with pytest.raises(MachineError, match="cannot be read"):
        list(damaged.events())
    damaged.close()


def test_threads_write_at_once_and_each_event_is_kept_once(journal):
    events = [Proposed(Candidate(f"{number:04}", 0)) for number in range(100)] * 2
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(journal.record, events))
    kept = [key for _, _, key, _ in journal.events("drawn")]
    assert sorted(kept) == [f"{number:04}" for number in range(100)]


def test_events_that_are_recorded_together_are_kept_all_or_none(journal):
    journal.record(*(Proposed(Candidate(f"{number:04}", 0)) for number in range(3)))
    with pytest.raises(TypeError):
        journal.record(Proposed(Candidate("0003", 0)), RunEnded("failed", object()))
    assert [key for _, _, key, _ in journal.events()] == ["0000", "0001", "0002"]


def test_the_rows_of_one_candidate_are_its_own_and_those_of_its_calls(journal):
    for id in ("0001", "00010", "0002"):
        journal.record(Proposed(Candidate(id, 0)), *(Asked(id, call, "m", (), None, None) for call in range(12)))
    found = [(kind, key) for _, kind, key, _ in journal.events(key="0001")]
    assert found == [("drawn", "0001"), *(("asked", f"0001/{call}") for call in range(12))]
    assert [key for _, _, key, _ in journal.events("drawn", key="0001")] == ["0001"]


def test_rows_read_without_texts_are_otherwise_the_same_and_in_order(journal):
    asked = Asked("0001", 0, "m", (Message("user", "a\ud800b"),), 0.3, None)
    bred = Bred(Variant(CANDIDATE, GENOME, "why"))
    for event in (Proposed(CANDIDATE), asked, Answered("0001", 0, COMPLETION), bred, Settled(TRAINED)):
        journal.record(event)
    whole, short = list(journal.events()), list(journal.events_without_texts())
    assert [row[:3] for row in short] == [row[:3] for row in whole]
    for (*_, kind, _, full), (*_, rest) in zip(whole, short, strict=True):
        left_out = {"asked": set(full), "answered": {"text"}, "bred": {"files"}}.get(kind, set())
        assert rest == {name: value for name, value in full.items() if name not in left_out}

import sqlite3

import pytest

from agent.errors import MachineError
from agent.events import Answered, Asked, Bred, Committed, Drawn, GenerationEnded, RunEnded, RunStarted, Settled
from agent.fitness import Fitness
from agent.genome import Genome
from agent.individual import SEED_ID, Birth, Duplicate, Evidence, Failure, Individual, Recipe, Variant
from agent.journal import Journal
from agent.llm import Completion, Message, Usage

RECIPE = Recipe("mutate", ("seed",), ("Net",), "offline", 7, role="expert", directive="complex", temperature=0.3)
BIRTH = Birth("0001", 0, (RECIPE,))
GENOME = Genome({"model.py": "class Net:\n    x = '{braces} and \"quotes\" and \\u2603 ☃'\n"})
COMPLETION = Completion("```python\n```", "stop", Usage(10, 20), 0.25, 1.5, "offline")
EVIDENCE = Evidence({"fit": 1.25}, 10_000, ((2.3, 0.1), (1.1, 0.6)), {"Net": 12}, "full", ("seccomp",))
TRAINED = Individual(BIRTH, GENOME, Fitness({"accuracy": 0.9, "parameters": 12.0}), EVIDENCE)


@pytest.fixture
def journal(tmp_path):
    journal = Journal(tmp_path / "journal.db")
    yield journal
    journal.close()


def test_a_child_comes_back_as_it_was_recorded(journal):
    asked = Asked("0001", 0, "offline", (Message("user", "{}"),), 0.3, None)
    for event in (Drawn(BIRTH), asked, Answered("0001", 0, COMPLETION), Bred(Variant(BIRTH, GENOME)), Settled(TRAINED)):
        journal.record(event)
    memo = journal.memo(frozenset())
    assert memo.births == {"0001": BIRTH}
    assert memo.answers == {("0001", 0): COMPLETION}
    assert memo.variants == {"0001": Variant(BIRTH, GENOME)}
    assert memo.outcomes == {"0001": TRAINED}


def test_failures_come_back_and_duplicates_are_decided_again(journal):
    other = Birth("0002", 0, (RECIPE,))
    failure = Failure(BIRTH, "contract", "undefined name", "\x1b[31mlog")
    for event in (Drawn(BIRTH), Drawn(other), Settled(failure), Settled(Duplicate(other, "0001"))):
        journal.record(event)
    assert journal.memo(frozenset()).outcomes == {"0001": failure}


def test_passing_by_again_leaves_the_first_record(journal):
    journal.record(Settled(TRAINED))
    journal.record(Settled(Failure(BIRTH, "fit", "another end")))
    assert [data["outcome"] for *_, data in journal.events("settled")] == ["trained"]


def test_starts_and_ends_are_kept_each_time(journal):
    for _ in range(2):
        journal.record(RunStarted({}, "none", ()))
        journal.record(RunEnded("stopped", ""))
    assert [kind for _, kind, _, _ in journal.events()] == ["started", "ended"] * 2


def test_views_can_be_asked_by_any_sqlite_tool(journal, tmp_path):
    seed = Individual(Birth(SEED_ID, 0), GENOME, TRAINED.fitness)
    asked = Asked("0001", 0, "offline", (), None, None)
    drawn = (Settled(seed), Drawn(BIRTH), asked, Answered("0001", 0, COMPLETION), Bred(Variant(BIRTH, GENOME)))
    for event in (*drawn, Settled(TRAINED), GenerationEnded(0, ("0001",), (), ("0001",), 1.0), Committed("0001", "b", "c")):
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

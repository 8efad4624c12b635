"""What is read back of a confirmation, however far it has come."""

import json
from contextlib import closing

import pytest

from agent.core.objectives import Objective
from agent.core.verdicts import judge
from agent.journal.codec import write_verdicts
from agent.journal.confirmations import count_openings, read_confirmations, search_end
from agent.journal.events import (
    Retrained,
    RunEnded,
    RunStarted,
    SealOpened,
    SearchEnded,
    ShortlistFrozen,
    VerdictsReached,
)
from agent.journal.store import Journal
from agent.population.candidate import SEED_ID

OBJECTIVES = (Objective("accuracy", "max"), Objective("parameters", "min"))
MEMBERS = {SEED_ID: {"accuracy": 0.9, "parameters": 9.0}, "null-1": None, "0007": {"accuracy": 0.95, "parameters": 8.0}}
PLAN = tuple((id, 100 + place) for place, id in enumerate(list(MEMBERS) * 2))


def shortlist(number=1, **more):
    frozen = {"margin": 2.0, "has_test_split": True, "test_note": "its own", **more}
    return ShortlistFrozen(number, MEMBERS, {"null-1": {"model.py": "x = 1\n"}}, PLAN, **frozen)


def retrained(place, accuracy, test=None, number=1):
    id, seed = PLAN[place]
    values = None if accuracy is None else {"accuracy": accuracy, "parameters": 9.0}
    tested = None if test is None else {"accuracy": test, "parameters": 9.0}
    return Retrained(number, id, seed, values, tested, "" if values else "fit: NaN", 1.0, 0.5)


@pytest.fixture
def journal(tmp_path):
    with closing(Journal(tmp_path / "journal.db")) as journal:
        yield journal


def test_without_one_there_is_none(journal):
    assert read_confirmations(journal) == []
    assert count_openings([]) == 0


def test_it_comes_back_as_it_was(journal):
    journal.record(shortlist(), SealOpened(1), retrained(0, 0.9, 0.8), retrained(1, None))
    (one,) = read_confirmations(journal)
    assert one.shortlist == shortlist()
    assert one.trainings == {100: retrained(0, 0.9, 0.8), 101: retrained(1, None)}
    assert one.is_opened and not one.is_complete
    verdicts = judge(one.samples(), OBJECTIVES, 2.0)
    journal.record(VerdictsReached(1, verdicts))
    (again,) = read_confirmations(journal)
    assert again.is_complete
    assert json.dumps(write_verdicts(again.judge(()))) == json.dumps(write_verdicts(verdicts))


def test_samples_are_judged_on_test_and_shrink_on_validation(journal):
    journal.record(shortlist(), *(retrained(place, 0.9, 0.8) for place in (0, 2, 3)), retrained(5, None))
    seed, null, member = read_confirmations(journal)[0].samples()
    assert [one.role for one in (seed, null, member)] == ["seed", "null", "member"]
    assert seed.of("accuracy") == [0.8, 0.8] and [v["accuracy"] for v in seed.validation] == [0.9, 0.9]
    assert (null.values, null.planned, null.is_complete) == ([], 2, False)
    assert (len(member.values), member.failures, member.is_complete) == (1, ["fit: NaN"], True)


def test_without_a_test_split_validation_is_judged(journal):
    journal.record(shortlist(has_test_split=False), retrained(0, 0.9))
    assert read_confirmations(journal)[0].samples()[0].of("accuracy") == [0.9]


def test_openings_are_counted_whatever_came_of_them(journal):
    journal.record(shortlist(1), SealOpened(1), shortlist(2), shortlist(3), SealOpened(3))
    assert count_openings(read_confirmations(journal)) == 2


def test_recorded_again_on_a_resume_it_is_one_opening(journal):
    for _ in range(2):
        journal.record(shortlist(), SealOpened(1))
    assert count_openings(read_confirmations(journal)) == 1


def test_the_views_show_trainings_and_verdicts(journal):
    journal.record(shortlist(), retrained(0, 0.9, 0.8), retrained(1, None))
    (one,) = read_confirmations(journal)
    journal.record(VerdictsReached(1, one.judge(OBJECTIVES)))
    rows = journal._query("SELECT id, key FROM retrainings", [])
    assert [tuple(row) for row in rows] == [(SEED_ID, "1/100"), ("null-1", "1/101")]
    rows = journal._query("SELECT confirmation, id, role, word FROM verdicts", [])
    assert [tuple(row) for row in rows] == [
        ("1", SEED_ID, "seed", None), ("1", "null-1", "null", "undecided"), ("1", "0007", "member", "undecided"),
    ]  # fmt: skip


START, CONFIRMS = RunStarted({}, "full", ()), RunStarted({}, "full", (), confirms=True)


@pytest.mark.parametrize(
    ("events", "end"),
    [
        ((), ("stopped", "")),
        ((START, RunEnded("finished", "all used")), ("finished", "all used")),
        ((START, RunEnded("finished", ""), CONFIRMS, RunEnded("stopped", "by the user")), ("finished", "")),
        ((START, SearchEnded("finished", "hours"), RunEnded("stopped", "by the user")), ("finished", "hours")),
        ((START, SearchEnded("finished", "hours"), CONFIRMS, RunEnded("failed", "disk")), ("finished", "hours")),
        ((START, RunEnded("finished", ""), START, RunEnded("stopped", "by the user")), ("stopped", "by the user")),
    ],
)
def test_the_search_ended_as_it_did_whatever_a_confirmation_did_later(journal, events, end):
    for event in events:
        journal.record(event)
    assert search_end(journal) == end

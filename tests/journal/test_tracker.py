import threading

import pytest

from agent.core.objectives import Fitness
from agent.genome import Genome
from agent.journal.events import Answered, Asked, Bred, Proposed, Repaired, SeedRepeated, Settled
from agent.journal.store import Journal
from agent.journal.tracker import CallCosts, Tracker
from agent.llm import Completion, Usage
from agent.population.candidate import Candidate, Duplicate, Individual, Variant

GENOME = Genome({"model.py": "class Net:\n    width = 8\n"})


def candidate(id="0001"):
    return Candidate(id, 0)


def asked(id="0001", call=0):
    return Asked(id, call, "gpt-x", (), None, None)


def answered(id="0001", call=0, usd=0.25, model="gpt-x", text="code"):
    return Answered(id, call, Completion(text, "stop", Usage(10, 20), usd, 1.5, model))


def bred(id="0001"):
    return Bred(Variant(candidate(id), GENOME))


def settled(id="0001", seconds=8.0):
    return Settled(Individual(candidate(id), GENOME, Fitness({})), seconds, 1.0)


def saw(*events):
    tracker = Tracker()
    for event in events:
        tracker.see(event)
    return tracker


class TestACandidate:
    def test_is_open_from_its_proposal_to_its_end(self):
        tracker = saw(Proposed(candidate("0002")), Proposed(candidate("0001")))
        assert [one.id for one in tracker.open()] == ["0002", "0001"]
        tracker.see(settled("0002"))
        assert [one.id for one in tracker.open()] == ["0001"]

    def test_asks_until_it_is_answered(self):
        tracker = saw(Proposed(candidate()), asked())
        assert tracker.get("0001").asking
        tracker.see(answered())
        assert not tracker.get("0001").asking

    def test_costs_what_its_calls_and_its_evaluation_cost(self):
        tracker = saw(Proposed(candidate()), answered(usd=0.25), answered(call=1, usd=None, text="again"), settled(seconds=8.0))
        one = tracker.get("0001")
        assert (one.calls, one.usd, one.unpriced, one.tokens, one.answer) == (2, 0.25, True, 60, "again")
        assert (one.llm_seconds, one.evaluation_seconds, one.seconds) == (3.0, 8.0, 11.0)

    def test_keeps_what_its_program_had_cost_when_it_first_had_one(self):
        tracker = saw(Proposed(candidate()), answered())
        assert not tracker.get("0001").bred
        tracker.see(bred())
        tracker.see(answered(call=1))
        tracker.see(Repaired(Variant(candidate(), GENOME), "it crashed"))
        assert tracker.get("0001").bred
        assert tracker.get("0001").breeding_costs == CallCosts(0.25, False, 30, 1.5)
        assert tracker.get("0001").usd == 0.5

    def test_is_credited_to_the_model_that_answered(self):
        tracker = saw(Proposed(candidate()))
        assert tracker.get("0001").model_for("drawn") == "drawn"
        tracker.see(answered(model="other"))
        tracker.see(answered(call=1, model="third"))
        assert tracker.get("0001").models == ("other", "third")
        assert tracker.get("0001").model_for("drawn") == "third"
        assert tracker.get("0001").model_for("other") == "other"

    def test_that_is_given_up_is_gone(self):
        tracker = saw(Proposed(candidate()), answered())
        tracker.mark_evaluating("0001")
        tracker.give_up("0001")
        assert tracker.open() == ()
        assert tracker.evaluations() == 0
        assert not tracker.get("0001").bred
        tracker.see(settled())
        assert not tracker.get("0001").bred

    def test_that_is_closed_is_forgotten_and_not_opened_again(self):
        tracker = saw(Proposed(candidate()), answered(), settled())
        assert tracker.close("0001").usd == 0.25
        assert tracker.close("0001").usd == 0.0
        tracker.see(Proposed(candidate()))
        assert tracker.open() == ()

    def test_is_shown_to_others_as_program_if_it_has_one(self):
        tracker = saw(Proposed(candidate("0001")), Proposed(candidate("0002")), Proposed(candidate("0003")), bred("0002"))
        assert tracker.under_way(without="0003") == (candidate("0001"), Variant(candidate("0002"), GENOME))


class TestEvaluations:
    def test_are_counted_from_their_admission_to_their_end(self):
        tracker = saw(Proposed(candidate("0001")), Proposed(candidate("0002")))
        tracker.mark_evaluating("0001")
        tracker.mark_evaluating("0001")
        tracker.mark_evaluating("0002")
        assert tracker.evaluations() == 2
        assert tracker.evaluations(without="0001") == 1
        assert tracker.get("0001").evaluating
        tracker.see(settled("0001"))
        assert tracker.evaluations() == 1
        assert not tracker.get("0001").evaluating

    def test_of_the_seed_for_the_noise_count_too(self):
        tracker = Tracker()
        tracker.mark_evaluating(SeedRepeated.id_of(3))
        assert tracker.evaluations() == 1
        tracker.see(SeedRepeated(3, None, "NaN", 1.0))
        assert tracker.evaluations() == 0


EVENTS = (
    Proposed(candidate("0001")), asked("0001"), answered("0001"), bred("0001"), settled("0001"),
    Proposed(candidate("0002")), asked("0002"), answered("0002"), asked("0002", 1), answered("0002", 1, None),
    Proposed(candidate("0003")), asked("0003"), answered("0003"), Settled(Duplicate(candidate("0003"), "0001")),
    Proposed(candidate("0004")), asked("0004"),
)  # fmt: skip


def state(tracker):
    """Of all four, without the programs, which the rows of costs leave out."""
    names = ("asking", "calls", "usd", "unpriced", "tokens", "seconds", "models", "bred", "breeding_costs")
    return [[getattr(tracker.get(f"{n:04d}"), name) for name in names] for n in range(1, 5)], [
        one.id for one in tracker.open()
    ]


@pytest.fixture
def journal(tmp_path):
    journal = Journal(tmp_path / "journal.db")
    journal.record(*EVENTS)
    yield journal
    journal.close()


@pytest.mark.parametrize("whole", [True, False])
def test_the_rows_of_a_journal_give_the_same_as_its_events(journal, whole):
    tracker = Tracker()
    tracker.recall(journal.events() if whole else journal.cost_rows(), candidates=whole)
    assert state(tracker) == state(saw(*EVENTS))
    assert tracker.get("0002").candidate == (candidate("0002") if whole else None)
    assert tracker.get("0002").answer == ("code" if whole else "")


def test_what_is_known_already_changes_nothing(journal):
    tracker = Tracker()
    tracker.recall(journal.events())
    tracker.recall(journal.cost_rows(), candidates=False)
    for event in EVENTS:
        tracker.see(event)
    assert state(tracker)[0] == state(saw(*EVENTS))[0]
    assert tracker.get("0002").candidate == candidate("0002")
    assert tracker.get("0002").answer == "code"


def test_threads_may_open_and_settle_at_once():
    tracker = Tracker()

    def live(first):
        for n in range(first, 400, 8):
            for event in (Proposed(candidate(f"{n:04d}")), answered(f"{n:04d}"), settled(f"{n:04d}")):
                tracker.see(event)
                tracker.open()

    threads = [threading.Thread(target=live, args=(first,)) for first in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert tracker.open() == ()
    assert sum(tracker.get(f"{n:04d}").usd for n in range(400)) == 100.0

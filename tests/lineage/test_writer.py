"""Commits in batches: real git, real threads, real kills."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from agent.core.errors import MachineError
from agent.journal.replay import read_replay
from agent.journal.store import Journal
from agent.lineage import BranchWriter, Lineage, PlannedCommit
from agent.lineage import writer as module
from agent.population.candidate import SEED_ID
from tests.repositories import OTHER, SOURCE, assert_sound, git, make_repository, parents, refs, show, user_state

pytestmark = pytest.mark.usefixtures("plain_git")


@pytest.fixture
def repository(tmp_path):
    return make_repository(tmp_path / "project")


@pytest.fixture
def lineage(repository, tmp_path):
    return Lineage.open(repository, tmp_path / "runs" / "night", "night")


class Book:
    """What a journal would hold."""

    def __init__(self):
        self.batches, self.commits, self.branches = [], {}, {}

    def __call__(self, committed):
        self.batches.append([c.id for c in committed])
        self.commits |= {c.id: c.commit for c in committed}
        self.branches |= {c.id: c.branch for c in committed}


def planned(id, text=None, parents=(SEED_ID,), failed=False):
    text = text or f"class Net:\n    width = {id.lstrip('0')}\n"
    return PlannedCommit(id, {"model.py": text}, parents, f"{id} by name", failed)


SEED = planned(SEED_ID, SOURCE, ())


def written(lineage, *commits, known=()):
    book = Book()
    writer = BranchWriter(lineage, dict(known), book)
    for one in commits:
        writer.add(one)
    writer.flush()
    writer.close()
    return book


class TestBatches:
    def test_a_family_in_one_batch_is_the_same_as_one_by_one(self, repository, lineage):
        mated = planned("0003", parents=("0001", "0002"))
        book = written(lineage, SEED, planned("0001"), planned("0002"), mated, planned("0004", parents=("0003",)))
        assert book.batches == [[SEED_ID, "0001", "0002", "0003", "0004"]]
        assert parents(repository, book.commits[SEED_ID]) == [git(repository, "rev-parse", "HEAD")]
        assert parents(repository, book.commits["0003"]) == [book.commits["0001"], book.commits["0002"]]
        assert parents(repository, book.commits["0004"]) == [book.commits["0003"]]
        assert show(repository, "evolve/night/0003") == b"class Net:\n    width = 3\n"
        assert show(repository, "evolve/night/0003", "README.md") == b"Mine.\n"
        assert git(repository, "log", "-1", "--format=%s", "evolve/night/0003") == "0003 by name"
        assert_sound(repository)

    def test_a_parent_of_an_earlier_batch_or_process_is_found(self, repository, lineage):
        book = written(lineage, SEED, planned("0001"))
        later = written(lineage, planned("0002", parents=("0001",)), known=book.commits)
        assert parents(repository, later.commits["0002"]) == [book.commits["0001"]]

    def test_what_waits_longer_than_its_company_is_committed_without_being_asked(self, repository, lineage, monkeypatch):
        monkeypatch.setattr(module, "LINGER", 0.05)
        book = Book()
        writer = BranchWriter(lineage, {}, book)
        writer.add(SEED)
        deadline = time.monotonic() + 60
        while not book.batches and time.monotonic() < deadline:
            time.sleep(0.02)
        writer.close()
        assert book.batches == [[SEED_ID]]

    def test_flush_on_an_idle_writer_returns_and_later_commits_are_written(self, lineage):
        book = Book()
        writer = BranchWriter(lineage, {}, book)
        writer.flush()
        for commit in (SEED, planned("0001"), planned("0002")):
            writer.add(commit)
            writer.flush()
        writer.close()
        assert book.batches == [[SEED_ID], ["0001"], ["0002"]]

    def test_closing_writes_what_is_waiting(self, repository, lineage):
        book = Book()
        writer = BranchWriter(lineage, {}, book)
        for commit in (SEED, planned("0001")):
            writer.add(commit)
        writer.close()
        assert set(book.commits) == {SEED_ID, "0001"}
        assert len(refs(repository, "refs/heads/evolve")) == 2

    def test_many_threads_may_add(self, repository, lineage):
        book = Book()
        writer = BranchWriter(lineage, {}, book)
        writer.add(SEED)
        threads = [
            threading.Thread(target=lambda first=first: [writer.add(planned(f"{n:04}")) for n in range(first, first + 25)])
            for first in range(1, 400, 25)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        writer.flush()
        writer.close()
        assert len(book.commits) == 401
        assert all(len(batch) <= module.BATCH for batch in book.batches)
        assert show(repository, "evolve/night/0399") == b"class Net:\n    width = 399\n"


class TestFailures:
    def test_of_a_batch_are_raised_by_the_next_add_check_or_flush(self, repository, lineage, monkeypatch):
        monkeypatch.setattr("agent.lineage.commits._PAUSES", ())
        book = Book()
        writer = BranchWriter(lineage, {}, book)
        lock = repository / ".git" / "refs" / "heads" / "evolve" / "night" / "0001.lock"
        lock.parent.mkdir(parents=True)
        lock.touch()
        for commit in (SEED, planned("0001"), planned("0002", parents=("0001",))):
            writer.add(commit)
        for attempt in (writer.flush, writer.check, lambda: writer.add(planned("0003")), writer.flush):
            with pytest.raises(MachineError, match=r"refs/heads/evolve/night/seed and 2 more: .*0001\.lock"):
                attempt()
        writer.close()
        assert book.batches == []
        assert refs(repository, "refs/heads/evolve") == []  # no commit without its parent
        lock.unlink()
        again = written(lineage, SEED, planned("0001"), planned("0002", parents=("0001",)))  # as a resume would
        assert set(again.commits) == {SEED_ID, "0001", "0002"}
        assert_sound(repository)

    def test_of_the_callback_after_a_batch_stop_it_too(self, lineage):
        def full(committed):
            raise MachineError("The journal cannot be written: the disk is full.")

        writer = BranchWriter(lineage, {}, full)
        writer.add(SEED)
        with pytest.raises(MachineError, match="disk is full"):
            writer.flush()
        with pytest.raises(MachineError, match="disk is full"):
            writer.add(planned("0001"))
        writer.close()

    def test_leave_no_report_in_the_repository(self, repository, lineage):
        before = user_state(repository)
        with pytest.raises(MachineError, match="git cannot write"):
            written(lineage, planned("0001"), known={SEED_ID: "1" * 40})
        assert user_state(repository) == before


class TestPacking:
    def test_gathers_objects_and_references_and_loses_none(self, repository, lineage, monkeypatch):
        (repository / "loose.txt").write_text("An object of the user's that no commit holds yet.\n")
        git(repository, "add", "loose.txt")
        (repository / "dropped.txt").write_text("And one that nothing holds any more.\n")
        dropped = git(repository, "hash-object", "-w", "dropped.txt")
        monkeypatch.setattr(module, "PACK_AFTER", 3)
        before = user_state(repository)
        family = [SEED, *(planned(f"{n:04}", failed=n % 3 == 0) for n in range(1, 9))]
        book = written(lineage, *family)
        places = [repository / ".git" / "refs" / name for name in ("heads/evolve", "evolve")]
        assert not [path for place in places for path in place.rglob("*") if path.is_file()]
        assert len(list((repository / ".git" / "objects" / "pack").glob("*.pack"))) == 1
        counted = git(repository, "count-objects", "-v").splitlines()
        assert "in-pack: 23" in counted  # nine commits, and a tree and a file of all that differ from the user's
        assert user_state(repository) == {**before, "top": sorted({*before["top"], "packed-refs"})}
        assert git(repository, "cat-file", "-t", dropped) == "blob"
        assert {name: git(repository, "rev-parse", branch) for name, branch in book.branches.items()} == book.commits
        assert_sound(repository)
        more = written(lineage, planned("0010", parents=("0008",)), known=book.commits)
        assert parents(repository, more.commits["0010"]) == [book.commits["0008"]]

    def test_a_lock_that_is_in_the_way_does_not_matter(self, repository, lineage, monkeypatch):
        monkeypatch.setattr(module, "PACK_AFTER", 2)
        (repository / ".git" / "packed-refs.lock").touch()
        book = written(lineage, SEED, planned("0001"))
        assert len(refs(repository, "refs/heads/evolve")) == len(book.commits) == 2

    def test_writes_no_log_of_references(self, repository, lineage):
        written(lineage, SEED, planned("0001"))
        assert not (repository / ".git" / "logs" / "refs" / "heads" / "evolve").exists()


KILLED = """
import os, signal, sys
from pathlib import Path
from agent.journal.store import Journal
from agent.lineage import BranchWriter, Lineage, PlannedCommit
import agent.lineage.commits as inner

place, moment = Path(sys.argv[1]), sys.argv[2]
journal = Journal(place / "journal.db")
lineage = Lineage.open(place / "project", place / "runs" / "night", "night")
batches = 0


def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)


def note(committed):
    global batches
    batches += 1
    if batches == 2 and moment == "before the journal":
        die()
    journal.record(*committed)
    if batches == 2:
        die()


if moment == "before git":
    real = inner.FastImportScript.add
    inner.FastImportScript.add = lambda self, planned, *rest: die() if planned.id == "0003" else real(self, planned, *rest)
writer = BranchWriter(lineage, {}, note)
for n in range(6):
    id = f"{n:04}" if n else "seed"
    parents = (f"{n - 1:04}" if n > 1 else "seed",) if n else ()
    writer.add(PlannedCommit(id, {"model.py": f"width = {n}\\n"}, parents, id))
    if n in (2, 5):
        writer.flush()
"""


@pytest.mark.parametrize(
    ("moment", "journaled", "branched"), [("before git", 3, 3), ("before the journal", 3, 6), ("after the journal", 6, 6)]
)
def test_a_process_that_is_killed_between_commit_and_journal_is_made_up_for(tmp_path, moment, journaled, branched):
    repository = make_repository(tmp_path / "project")
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path), moment], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    journal = Journal(tmp_path / "journal.db")
    known = read_replay(journal, frozenset()).commits
    assert len(known) == journaled
    assert len(refs(repository, "refs/heads/evolve")) == branched
    before = {name: git(repository, "rev-parse", name) for name in refs(repository, "refs/heads/evolve")}
    lineage = Lineage.open(repository, tmp_path / "runs" / "night", "night")
    writer = BranchWriter(lineage, known, lambda committed: journal.record(*committed))
    for n in range(6):
        id = f"{n:04}" if n else SEED_ID
        if id not in known:
            writer.add(PlannedCommit(id, {"model.py": f"width = {n}\n"}, (f"{n - 1:04}" if n > 1 else SEED_ID,), f"{id} again"))
    writer.flush()
    writer.close()
    after = read_replay(journal, frozenset()).commits
    assert after == {id: git(repository, "rev-parse", f"evolve/night/{id}") for id in after}
    assert len(after) == 6
    assert {name: git(repository, "rev-parse", name) for name in before} == before  # nothing was written twice
    assert parents(repository, after["0005"]) == [after["0004"]]
    assert_sound(repository)
    journal.close()


def test_a_branch_that_holds_something_else_is_refused(repository, lineage):
    written(lineage, SEED, planned("0001", SOURCE))
    with pytest.raises(MachineError, match=r"refs/heads/evolve/night/0001 exists with another content"):
        written(lineage, SEED, planned("0001", OTHER))


def test_what_is_committed_is_an_event(lineage, tmp_path):
    journal = Journal(tmp_path / "journal.db")
    writer = BranchWriter(lineage, {}, lambda committed: journal.record(*committed))
    writer.add(SEED)
    writer.add(planned("0001", failed=True))
    writer.flush()
    writer.close()
    assert [(key, data["branch"]) for _, _, key, data in journal.events("committed")] == [
        (SEED_ID, "evolve/night/seed"),
        ("0001", "refs/evolve/night/0001"),
    ]
    journal.close()

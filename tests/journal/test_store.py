import os
import resource
import signal
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agent.core.errors import MachineError
from agent.core.objectives import Fitness
from agent.genome import Genome
from agent.journal.codec import read_outcome, read_seed
from agent.journal.events import Answered, Asked, Bred, Committed, GenerationEnded, Proposed, RunEnded, RunStarted, Settled
from agent.journal.replay import read_replay
from agent.journal.store import Journal
from agent.llm import Completion, Message, Usage
from agent.population.candidate import SEED_ID, Candidate, Duplicate, Evidence, Failure, Individual, Recipe, Variant

RECIPE = Recipe("mutate", ("seed",), ("Net",), "offline", 7, role="expert", directive="complex", temperature=0.3)
BIRTH = Candidate("0001", 0, (RECIPE,))
GENOME = Genome({"model.py": "class Net:\n    x = '{braces} and \"quotes\" and \\u2603 ☃'\n"})
COMPLETION = Completion("```python\n```", "stop", Usage(10, 20), 0.25, 1.5, "offline")
EVIDENCE = Evidence({"fit": 1.25}, 10_000, ((2.3, 0.1), (1.1, 0.6)), {"Net": 12}, {"Net": ("4x8x8", "10")}, "full", ("seccomp",))
TRAINED = Individual(BIRTH, GENOME, Fitness({"accuracy": 0.9, "parameters": 12.0}), EVIDENCE)


@pytest.fixture
def journal(tmp_path):
    journal = Journal(tmp_path / "journal.db")
    yield journal
    journal.close()


def test_a_child_comes_back_as_it_was_recorded(journal):
    asked = Asked("0001", 0, "offline", (Message("user", "{}"),), 0.3, None)
    variant = Variant(BIRTH, GENOME, "two halves of a net")
    trained = replace(TRAINED, intention=variant.intention)
    for event in (Proposed(BIRTH), asked, Answered("0001", 0, COMPLETION), Bred(variant), Settled(trained)):
        journal.record(event)
    replay = read_replay(journal, Genome({}))
    assert replay.candidates == {"0001": BIRTH}
    assert replay.answers == {("0001", 0): COMPLETION}
    assert replay.variants == {"0001": variant}
    assert replay.outcomes == {"0001": trained}


def test_failures_come_back_and_duplicates_are_decided_again(journal):
    other = Candidate("0002", 0, (RECIPE,))
    failure = Failure(BIRTH, "contract", "undefined name", "\x1b[31mlog")
    for event in (Proposed(BIRTH), Proposed(other), Settled(failure), Settled(Duplicate(other, "0001"))):
        journal.record(event)
    assert read_replay(journal, Genome({})).outcomes == {"0001": failure}


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
    seed = Individual(Candidate(SEED_ID, 0), GENOME, TRAINED.fitness)
    asked = Asked("0001", 0, "offline", (), None, None)
    drawn = (Settled(seed), Proposed(BIRTH), asked, Answered("0001", 0, COMPLETION), Bred(Variant(BIRTH, GENOME)))
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
    for event in (Proposed(BIRTH), Proposed(other), Settled(Failure(BIRTH, "fit", "why")), Settled(Duplicate(other, "0001"))):
        journal.record(event)
    db = sqlite3.connect(tmp_path / "journal.db")
    assert db.execute("SELECT id, stage, reason FROM failures").fetchall() == [("0001", "fit", "why")]
    assert db.execute("SELECT count(*) FROM individuals").fetchone() == (0,)
    db.close()


# Text as a provider may send it: with NUL, escape codes and lone surrogates.
anything = st.text(st.characters(), max_size=20) | st.sampled_from(
    ["\0", "\ud800", "a\udfffb", "\x1b[31m", "\u2028", '"\\']
)
number = st.floats(allow_nan=False, allow_infinity=False)
count = st.integers(0, 2**53)
names = st.lists(anything, max_size=3).map(tuple)
ids = st.integers(0, 99999).map(lambda n: f"{n:04}")
recipes = st.builds(
    Recipe,
    operator=anything,
    parents=names,
    blocks=names,
    model=anything,
    seed=count,
    role=st.none() | anything,
    directive=st.none() | anything,
    elite=st.none() | anything,
    example=st.none() | anything,
    temperature=st.none() | number,
    max_tokens=st.none() | count,
)
candidates = st.builds(Candidate, id=ids, generation=count, recipes=st.lists(recipes, max_size=3).map(tuple))
# A source parses, so it holds no NUL and no lone surrogate.
genomes = st.dictionaries(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=20).map(lambda t: f"TEXT = {t!r}\r\n# é☃\f\n"),
    max_size=3,
).map(Genome)
evidences = st.builds(
    Evidence,
    seconds=st.dictionaries(anything, number, max_size=3),
    peak_memory=count,
    curve=st.lists(st.tuples(number, number), max_size=3).map(tuple),
    parameters_by_block=st.dictionaries(anything, count, max_size=3),
    isolation=anything,
    layers=names,
)
fitnesses = st.dictionaries(anything, number, max_size=3).map(Fitness)
completions = st.builds(
    Completion,
    text=anything,
    finish_reason=anything,
    usage=st.builds(Usage, count, count, st.booleans()),
    usd=st.none() | number,
    seconds=number,
    model=anything,
)
stages = st.sampled_from(["answer", "contract", "smoke", "fit", "predict", "integrity", "score"])


def remembered(tmp_path, *events):
    """What a later process knows of the events."""
    path = tmp_path / "round.db"
    path.unlink(missing_ok=True)
    journal = Journal(path)
    for event in events:
        journal.record(event)
    journal.close()
    again = Journal(path)
    replay, listed = read_replay(again, Genome({})), list(again.events())
    again.close()
    path.unlink()
    return replay, listed


every = settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@every
@given(candidate=candidates, genome=genomes, fitness=fitnesses, evidence=evidences)
def test_any_individual_comes_back(tmp_path, candidate, genome, fitness, evidence):
    individual = Individual(candidate, genome, fitness, evidence)
    replay, _ = remembered(tmp_path, Proposed(candidate), Bred(Variant(candidate, genome)), Settled(individual))
    assert replay.outcomes == {candidate.id: individual}
    assert replay.candidates == {candidate.id: candidate}
    assert replay.variants == {candidate.id: Variant(candidate, genome)}


@every
@given(genome=genomes, fitness=fitnesses, evidence=evidences)
def test_any_seed_comes_back_and_is_no_outcome_of_the_search(tmp_path, genome, fitness, evidence):
    seed = Individual(Candidate(SEED_ID, 0), genome, fitness, evidence)
    replay, listed = remembered(tmp_path, Settled(seed))
    assert read_seed(listed[0][3], Genome({})) == seed
    assert replay.outcomes == {}


@every
@given(candidate=candidates, genome=st.none() | genomes, stage=stages, reason=anything, log=anything)
def test_any_failure_comes_back(tmp_path, candidate, genome, stage, reason, log):
    failure = Failure(candidate, stage, reason, log, genome)
    bred = [Bred(Variant(candidate, genome))] if genome is not None else []
    replay, _ = remembered(tmp_path, Proposed(candidate), *bred, Settled(failure))
    assert replay.outcomes == {candidate.id: failure}


@every
@given(candidate=candidates, twin=ids)
def test_any_duplicate_is_kept_and_decided_again(tmp_path, candidate, twin):
    replay, listed = remembered(tmp_path, Proposed(candidate), Settled(Duplicate(candidate, twin)))
    assert replay.outcomes == {}
    assert read_outcome(listed[1][3], candidate, None) == Duplicate(candidate, twin)


@every
@given(id=ids, call=st.integers(0, 20), completion=completions, said=anything, temperature=st.none() | number)
def test_any_answer_comes_back(tmp_path, id, call, completion, said, temperature):
    asked = Asked(id, call, "m", (Message("user", said),), temperature, None)
    replay, listed = remembered(tmp_path, asked, Answered(id, call, completion))
    assert replay.answers == {(id, call): completion}
    assert listed[0][3]["messages"] == [{"role": "user", "text": said}]


@every
@given(id=ids, branch=anything, commit=anything, sets=st.tuples(names, names, names), volume=number, reason=anything)
def test_any_other_event_comes_back(tmp_path, id, branch, commit, sets, volume, reason):
    replay, listed = remembered(
        tmp_path,
        RunStarted({"llm": {"models": [branch]}, "x": None}, "full", sets[0], sets[1]),
        Committed(id, branch, commit),
        GenerationEnded(3, *sets, volume),
        RunEnded("failed", reason),
    )
    assert replay.commits == {id: commit}
    assert [(kind, data) for _, kind, _, data in listed] == [
        (
            "started",
            {
                "config": {"llm": {"models": [branch]}, "x": None},
                "isolation": "full",
                "layers": list(sets[0]),
                "devices": list(sets[1]),
                "basis": {},
                "accepted": [],
                "until_anew": False,
            },
        ),
        ("committed", {"branch": branch, "commit": commit}),
        (
            "generation",
            {"population": list(sets[0]), "elites": list(sets[1]), "front": list(sets[2]), "hypervolume": volume},
        ),
        ("ended", {"state": "failed", "reason": reason}),
    ]


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
def test_a_process_that_is_killed_loses_no_event_that_it_was_told_is_safe(tmp_path, after):
    path = tmp_path / "journal.db"
    process = writer(path)
    said = [process.stdout.readline().strip() for _ in range(after)]
    process.send_signal(signal.SIGKILL)
    rest, _ = process.communicate()
    said += [line for line in rest.split("\n")[:-1] if line]
    journal = Journal(path)
    kept = [key for _, _, key, _ in journal.events("drawn")]
    assert kept[: len(said)] == said
    assert len(kept) <= len(said) + 1  # one may be written and not yet announced
    journal.record(Proposed(BIRTH))
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
    journal.record(Proposed(BIRTH))
    reader = Journal(tmp_path / "journal.db", read_only=True)
    with pytest.raises(MachineError, match="cannot be written"):
        reader.record(Proposed(Candidate("0002", 0)))
    assert read_replay(reader, Genome({})).candidates == {"0001": BIRTH}
    reader.close()


def test_reading_a_journal_that_is_not_there_makes_none(tmp_path):
    with pytest.raises(MachineError, match="cannot be opened"):
        Journal(tmp_path / "journal.db", read_only=True)
    assert list(tmp_path.iterdir()) == []


def test_a_place_with_odd_characters_holds_a_journal(tmp_path):
    folder = tmp_path / "a b?mode=ro&x=1#%41"
    folder.mkdir()
    journal = Journal(folder / "journal.db")
    journal.record(Proposed(BIRTH))
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


def test_the_rows_of_one_child_are_its_own_and_those_of_its_calls(journal):
    for id in ("0001", "00010", "0002"):
        journal.record(Proposed(Candidate(id, 0)), *(Asked(id, call, "m", (), None, None) for call in range(12)))
    found = [(kind, key) for _, kind, key, _ in journal.events(key="0001")]
    assert found == [("drawn", "0001"), *(("asked", f"0001/{call}") for call in range(12))]
    assert [key for _, _, key, _ in journal.events("drawn", key="0001")] == ["0001"]


def test_what_is_read_without_texts_is_the_rest_of_each_row_in_order(journal):
    asked = Asked("0001", 0, "m", (Message("user", "a\ud800b"),), 0.3, None)
    for event in (Proposed(BIRTH), asked, Answered("0001", 0, COMPLETION), Bred(Variant(BIRTH, GENOME, "why")), Settled(TRAINED)):
        journal.record(event)
    whole, short = list(journal.events()), list(journal.events_without_texts())
    assert [row[:3] for row in short] == [row[:3] for row in whole]
    for (*_, kind, _, full), (*_, rest) in zip(whole, short, strict=True):
        left_out = {"asked": set(full), "answered": {"text"}, "bred": {"files"}}.get(kind, set())
        assert rest == {name: value for name, value in full.items() if name not in left_out}

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agent.core.objectives import Fitness
from agent.genome import Genome
from agent.journal.codec import read_outcome, read_seed
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


def test_a_candidate_is_read_as_it_was_recorded(journal):
    asked = Asked("0001", 0, "offline", (Message("user", "{}"),), 0.3, None)
    variant = Variant(CANDIDATE, GENOME, "two halves of a net")
    trained = replace(TRAINED, intention=variant.intention)
    for event in (Proposed(CANDIDATE), asked, Answered("0001", 0, COMPLETION), Bred(variant), Settled(trained)):
        journal.record(event)
    replay = read_replay(journal, Genome({}))
    assert replay.candidates == {"0001": CANDIDATE}
    assert replay.answers == {("0001", 0): COMPLETION}
    assert replay.variants == {"0001": variant}
    assert replay.outcomes == {"0001": trained}


def test_failures_are_read_back_and_duplicates_are_decided_again(journal):
    other = Candidate("0002", 0, (RECIPE,))
    failure = Failure(CANDIDATE, "contract", "undefined name", "\x1b[31mlog")
    for event in (Proposed(CANDIDATE), Proposed(other), Settled(failure), Settled(Duplicate(other, "0001"))):
        journal.record(event)
    assert read_replay(journal, Genome({})).outcomes == {"0001": failure}


# Text as a provider may send it: with NUL and escape codes. Half characters are replaced (see test_store.py).
anything = st.text(st.characters(exclude_categories=["Cs"]), max_size=20) | st.sampled_from(["\0", "\x1b[31m", "\u2028", '"\\'])
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
    """Return what a later process reads from the events."""
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
def test_any_individual_is_read_as_written(tmp_path, candidate, genome, fitness, evidence):
    individual = Individual(candidate, genome, fitness, evidence)
    replay, _ = remembered(tmp_path, Proposed(candidate), Bred(Variant(candidate, genome)), Settled(individual))
    assert replay.outcomes == {candidate.id: individual}
    assert replay.candidates == {candidate.id: candidate}
    assert replay.variants == {candidate.id: Variant(candidate, genome)}


@every
@given(genome=genomes, fitness=fitnesses, evidence=evidences)
def test_any_seed_is_read_as_written_and_is_no_outcome_of_the_search(tmp_path, genome, fitness, evidence):
    seed = Individual(Candidate(SEED_ID, 0), genome, fitness, evidence)
    replay, listed = remembered(tmp_path, Settled(seed))
    assert read_seed(listed[0][3], Genome({})) == seed
    assert replay.outcomes == {}


@every
@given(candidate=candidates, genome=st.none() | genomes, stage=stages, reason=anything, log=anything)
def test_any_failure_is_read_as_written(tmp_path, candidate, genome, stage, reason, log):
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
@given(id=ids, call=st.integers(0, 20), completion=completions, message=anything, temperature=st.none() | number)
def test_any_answer_is_read_as_written(tmp_path, id, call, completion, message, temperature):
    asked = Asked(id, call, "m", (Message("user", message),), temperature, None)
    replay, listed = remembered(tmp_path, asked, Answered(id, call, completion))
    assert replay.answers == {(id, call): completion}
    assert listed[0][3]["messages"] == [{"role": "user", "text": message}]


@every
@given(id=ids, branch=anything, commit=anything, sets=st.tuples(names, names, names), volume=number, reason=anything)
def test_any_other_event_is_read_as_written(tmp_path, id, branch, commit, sets, volume, reason):
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

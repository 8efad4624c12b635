"""A candidate that joins two others is confirmed as the program that it is: no gain of it is the sum of theirs."""

import json
from contextlib import closing
from dataclasses import replace

import pytest

from agent.core.noise import Noise
from agent.core.objectives import Fitness
from agent.core.worth import WorthScale
from agent.genome import Editor, Genome
from agent.journal.confirmations import ConfirmationRecord, read_confirmations
from agent.journal.events import Bred, Learned, NoiseMeasured, Proposed, Settled
from agent.journal.store import Journal
from agent.memory.lesson import lesson_of
from agent.operators import Brief, Context
from agent.operators.splice import Splice
from agent.population.candidate import SEED_ID, Candidate, Individual, Recipe, Variant
from agent.review.learning import lessons
from agent.review.report import write_report
from agent.review.status import status
from agent.run.components import open_components
from agent.run.confirmation import Confirmation, freeze_shortlist
from tests.run.test_confirmation import Watched, changed, configured

MATING = Recipe("mate", ("0001", "0002"), ("Stage",), "m", 1)


@pytest.fixture(scope="module")
def opened(cache):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EVOLVE_CACHE", str(cache))
        with open_components(configured(), lambda event: None, with_models=False) as components:
            yield components


@pytest.fixture(scope="module")
def people(opened):
    """The seed, one with fewer parameters in `Stage`, one with fewer in `TinyCNN`, and both joined: each really trained."""
    small = changed(opened.genome, "out_channels, 3, padding=1", "out_channels, 1")
    narrow = changed(opened.genome, "width=16", "width=12")
    splice = Recipe("splice", ("0001", "0002"), ("TinyCNN",), "", 1)
    context = Context(Brief("", {}, ()), None, {"0001": Individual(Candidate("0001", 0), small, Fitness({})),
                                                "0002": Individual(Candidate("0002", 0), narrow, Fitness({}))})  # fmt: skip
    with closing(Editor(processes=1)) as editor:
        joined = editor.apply(small, (), Splice().answer(splice, small, context))
    assert isinstance(joined, Genome)
    programs = [
        (Candidate(SEED_ID, 0), opened.genome),
        (Candidate("0001", 0, (Recipe("mutate", (SEED_ID,), ("Stage",), "m", 1, directive="size"),)), small),
        (Candidate("0002", 0, (Recipe("mutate", (SEED_ID,), ("TinyCNN",), "m", 1, directive="size"),)), narrow),
        (Candidate("0003", 1, (splice,)), joined),
        (Candidate("0004", 1, (MATING,)), changed(joined, "width=12", "width=10")),
    ]
    measured = [opened.evaluator.measure(*program) for program in programs]
    # With falling accuracies all of them are on the front; two steps of training would decide it by chance.
    order = sorted(measured, key=lambda one: -one.fitness["parameters"])
    return [
        replace(one, fitness=Fitness({**one.fitness.values, "accuracy": 0.9 - order.index(one) / 100})) for one in measured
    ]


@pytest.fixture(scope="module")
def journal(opened, people, tmp_path_factory):
    """A whole run with these, confirmed."""
    seed, objectives = people[0], opened.config.objective_list()
    noise = Noise({"accuracy": 0.02, "parameters": 0.0}, dict(seed.fitness.values))
    with closing(Journal(tmp_path_factory.mktemp("joined") / "journal.db")) as journal:
        scale = WorthScale.of(objectives, noise)
        journal.record(opened.start_event(), Settled(seed), NoiseMeasured(noise, scale))
        for one in people[1:]:
            parent = seed if one.candidate.parents[0] == SEED_ID else people[1]
            lesson = lesson_of(one, parent, "", (), objectives, noise)
            journal.record(Proposed(one.candidate), Bred(Variant(one.candidate, one.genome)), Settled(one), Learned(lesson))
        frozen = freeze_shortlist(people, opened.config, opened.config.confirm.model_copy(update={"members": 9}), opened.task)
        watched = Watched(journal, opened.config)
        record = ConfirmationRecord(frozen)
        assert Confirmation(watched.run, opened.evaluator, record, people).work(objectives)
        yield journal


def gains(people):
    """Parameters that the two parents have fewer than the seed, and those that the joined program really has fewer."""
    seed, a, b, spliced, _ = (one.fitness["parameters"] for one in people)
    return seed - a, seed - b, seed - spliced


def test_the_scene_could_show_a_sum(people):
    of_a, of_b, of_joined = gains(people)
    assert min(of_a, of_b) > 0 and of_joined != of_a + of_b


@pytest.mark.parametrize("id", ["0003", "0004"], ids=["spliced", "mated"])
def test_it_is_trained_from_its_own_program(opened, people, journal, id):
    (record,) = read_confirmations(journal)
    assert id in record.shortlist.members
    one = next(one for one in people if one.id == id)
    made = [training for training in record.trainings.values() if training.id == id]
    assert len(made) == 2
    for training in made:
        again = opened.evaluator.retrain(id, one.genome, training.training_seed, test_too=False, admit=lambda: None).result
        assert dict(again.values) == training.values, "the same program with the same training seed measures the same"
        assert training.values["parameters"] == one.fitness["parameters"]


def test_its_verdict_and_its_lesson_are_of_its_own_measurements(people, journal, opened):
    seed, a, _, spliced, _ = people
    (record,) = read_confirmations(journal)
    verdict = next(one for one in record.judge(opened.config.objective_list()).verdicts if one.id == "0003")
    found = verdict.objectives["parameters"]
    assert found.difference == spliced.fitness["parameters"] - seed.fitness["parameters"]
    lesson = next(one for one in lessons(journal) if one["id"] == "0003")
    assert lesson["effects"]["parameters"] == spliced.fitness["parameters"] - a.fitness["parameters"]


def test_the_sum_of_two_gains_stands_nowhere(people, journal, tmp_path):
    of_a, of_b, of_joined = gains(people)
    totals = of_a + of_b, people[0].fitness["parameters"] - of_a - of_b
    sums = {f"{total:{form}}" for total in totals for form in (",.0f", ".0f")}
    write_report(journal, "joined", tmp_path / "page.html", tmp_path / "page.md")
    texts = [(tmp_path / name).read_text() for name in ("page.html", "page.md")]
    texts += [json.dumps(status(journal, "joined", alive=False)), json.dumps(lessons(journal))]
    assert any(f"{of_joined:,.0f}" in text for text in texts), "the real one does"
    assert not [(text, total) for text in texts for total in sums if total in text]

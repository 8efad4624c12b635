"""Elites that are trained again: the decisions in a loop that measures by a formula with planted luck, and real trainings."""

import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from concurrent.futures import Future
from contextlib import closing
from pathlib import Path

import pytest

from agent.core.errors import Halted
from agent.core.noise import Noise
from agent.core.objectives import Constraint, Fitness, Objective
from agent.core.paths import prompts_folder
from agent.core.worth import WorthScale
from agent.genome import Genome
from agent.journal.events import Bred, EliteRetrained, GenerationEnded, Learned, Proposed, Settled
from agent.journal.readings import as_measured, measured, noise_now
from agent.journal.replay import read_replay
from agent.journal.store import Journal
from agent.journal.tracker import Tracker
from agent.operators import Brief, Sampling
from agent.operators.templates import Prompts
from agent.population.archive import Archive
from agent.population.candidate import SEED_ID, Candidate, Failure, Individual, Variant
from agent.run.context import RunContext
from agent.run.loop import GenerationalLoop
from agent.run.retraining import judge
from agent.run.search_state import SearchState
from agent.run.steady_loop import SteadyLoop
from agent.search.bandit import Bandits, BanditSettings
from agent.search.feedback import CreditSettings, Feedback, FeedbackSettings
from agent.search.plateau import Plateau, PlateauSettings
from agent.search.recipes import RecipeSampler
from agent.search.retraining import Retraining, RetrainingSettings
from agent.search.settings import SearchSettings
from tests.benchmarks.kill import copy_fast_seed

ROOT = Path(__file__).resolve().parents[2]
OBJECTIVES = (Objective("accuracy", "max"), Objective("parameters", "min"))
SOURCE = "import math\n\n\ndef width():\n    return 100\n\n\ndef rate():\n    return 50\n"
UNIFORM = BanditSettings(prompts="uniform", operators="uniform", models="uniform")
SIGMA = 0.02


def done(result):
    future = Future()
    if isinstance(result, Exception):
        future.set_exception(result)
    else:
        future.set_result(result)
    return future


def true_value(genome):
    space = {}
    exec(genome.files["model.py"], space)
    return {"accuracy": 0.5 + space["rate"]() / 1000, "parameters": float(space["width"]() * 100)}


def reading(id, genome, training_seed, luck=0.0):
    values = true_value(genome)
    chance = random.Random(f"{id} {training_seed} {genome.fingerprint if id == SEED_ID else ''}")
    return Fitness({**values, "accuracy": values["accuracy"] + SIGMA * (chance.gauss(0, 1) + luck)})


class Breeder:
    """Writes a number into the blocks; every seventh candidate fails. What an earlier process made is not made again."""

    def __init__(self, run):
        self.run = run

    def submit(self, candidate, context):
        replay = self.run.replay
        if known := replay.outcomes.get(candidate.id) or replay.variants.get(candidate.id):
            return done(known if isinstance(known, Failure) else replay.variants[candidate.id])
        made = self.made(candidate, context)
        self.run.record(Settled(made) if isinstance(made, Failure) else Bred(made))
        return done(made)

    def made(self, candidate, context):
        if int(candidate.id) % 7 == 0:
            return Failure(candidate, "contract", "it was the seventh")
        source = context.individuals[candidate.recipes[0].parents[0]].genome.files["model.py"]
        for recipe in candidate.recipes:
            chance = random.Random(recipe.seed)
            for block in recipe.blocks:
                head, _, tail = source.partition(f"def {block}():\n    return ")
                source = f"{head}def {block}():\n    return {chance.randint(1, 60)}{tail[tail.index(chr(10)) :]}"
        return Variant(candidate, Genome({"model.py": source}))


class Evaluator:
    """`lucky`: its first training reads so many sigmas too much; `broken`: it fails when it is trained again."""

    def __init__(self, run, lucky="", broken="", admitted=None):
        self.run, self.lucky, self.broken, self.admitted = run, lucky, broken, admitted
        self.made = []

    def submit(self, variant, owner=None):
        if known := self.run.replay.outcomes.get(variant.id):
            return done(known)
        luck = 4.0 if variant.id == self.lucky else 0.0
        outcome = Individual(variant.candidate, variant.genome, reading(variant.id, variant.genome, 0, luck))
        self.run.record(Settled(outcome, 1.0))
        return done(outcome)

    def retrain(self, elite, training_seed):
        if known := self.run.replay.readings.get((elite.id, training_seed)):
            return done(known)
        if self.admitted is not None and len(self.made) >= self.admitted:
            return done(Halted())
        self.made.append((elite.id, training_seed))
        fitness = None if elite.id == self.broken else reading(elite.id, elite.genome, training_seed)
        event = EliteRetrained(elite.id, training_seed, fitness, "" if fitness else "fit: odd", 1.0)
        self.run.record(event)
        return done(event)


def seed_individual():
    genome = Genome({"model.py": SOURCE})
    readings = tuple(reading(SEED_ID, genome, n) for n in range(4))
    return Individual(Candidate(SEED_ID, 0), genome, Fitness.mean(readings), readings=readings)


class Run:
    """A search over a journal, which may hold what an earlier process did."""

    def __init__(self, journal, schedule="steady", share=0.1, noise=True, **planted):
        seed = seed_individual()
        self.noise = Noise.of(seed.readings, OBJECTIVES) if noise else Noise.unmeasured(seed.fitness, OBJECTIVES)
        self.archive = Archive(seed, OBJECTIVES, WorthScale.of(OBJECTIVES, self.noise))
        self.replay = read_replay(journal, seed.genome)
        tracker = Tracker()
        kinds = ("drawn", "bred", "settled")
        tracker.recall(journal.events_without_texts(*kinds), self.replay.answers)
        self.events = []

        def record(event):
            journal.record(event)
            self.events.append(event)
            tracker.see(event)

        run = RunContext(record, replay=self.replay, tracker=tracker)
        self.evaluator = Evaluator(run, **planted)
        self.loop = self._loop(run, schedule, share)

    def _loop(self, run, schedule, share):
        settings = SearchSettings(generations=6, first_population=12, population=8, schedule=schedule, operators={})
        prompts, sampling = Prompts.load(prompts_folder()), Sampling(("offline",))
        bandits = Bandits(UNIFORM, prompts.roles, prompts.directives, {"mutate": 1}, sampling.models)
        rng = random.Random(1)
        sampler = RecipeSampler(rng, self.archive.seed, prompts, sampling, bandits, Plateau(PlateauSettings(0)))
        feedback_settings = FeedbackSettings(credit=CreditSettings(usd_per_hour=0))
        self.feedback = Feedback(self.archive, self.noise, sampler, run.tracker, feedback_settings, known=self.replay.lessons)
        self.retraining = Retraining(self.archive, self.noise, RetrainingSettings(share))
        brief = Brief("A number.", {}, OBJECTIVES, noise=self.noise)
        search = SearchState(self.archive, brief, settings, sampler, self.feedback, self.retraining)
        if schedule == "steady":
            return SteadyLoop(run, search, Breeder(run), self.evaluator, slots=2, concurrency=4)
        return GenerationalLoop(run, search, Breeder(run), self.evaluator)

    def work(self):
        self.loop.work()
        return self

    def of(self, kind):
        return [event for event in self.events if isinstance(event, kind)]


@pytest.fixture
def journal(tmp_path):
    with closing(Journal(tmp_path / "journal.db")) as journal:
        journal.record(Settled(seed_individual()))
        yield journal


def other(tmp_path, name):
    journal = Journal(tmp_path / f"{name}.db")
    journal.record(Settled(seed_individual()))
    return journal


SCHEDULES = pytest.mark.parametrize("schedule", ["steady", "generational"])


@SCHEDULES
def test_a_planted_lucky_elite_falls_off_the_front_and_out_of_the_prompts(journal, tmp_path, schedule):
    with closing(other(tmp_path, "without")) as plain:
        lucky = Run(plain, schedule, share=0.0, lucky="0004").work()
    assert "0004" in [one.id for one in lucky.archive.front()] and not lucky.of(EliteRetrained)
    run = Run(journal, schedule, share=0.5, lucky="0004").work()
    known = run.archive.individuals["0004"]
    assert known.trainings > 2
    assert known.fitness == Fitness.mean(known.readings) != known.readings[0]
    assert known.fitness["accuracy"] < lucky.archive.individuals["0004"].fitness["accuracy"] - SIGMA
    assert "0004" not in [one.id for one in run.archive.front()]


@SCHEDULES
def test_the_share_of_the_trainings_is_kept_and_every_reading_is_journaled(journal, schedule):
    run = Run(journal, schedule).work()
    trained = len(run.archive.individuals) - 1
    made = len(run.evaluator.made)
    assert 0.25 * 0.1 * trained - 1 <= made <= 2 * 0.1 * trained
    assert made >= 2
    keys = [key for _, _, key, _ in journal.events("reading")]
    assert keys == [f"{id}/{seed}" for id, seed in run.evaluator.made]
    for id, seeds in {id: [s for one, s in run.evaluator.made if one == id] for id, _ in run.evaluator.made}.items():
        assert seeds == list(range(1, len(seeds) + 1))  # fresh ones, the same for every elite
        assert run.archive.individuals[id].trainings == 1 + len(seeds)


@SCHEDULES
def test_nothing_is_trained_again_without_noise_or_share(journal, tmp_path, schedule):
    assert not Run(journal, schedule, noise=False).work().evaluator.made
    with closing(other(tmp_path, "none")) as second:
        assert not Run(second, schedule, share=0.0).work().evaluator.made


@SCHEDULES
def test_an_elite_that_fails_with_another_seed_leads_no_more_but_stays_known(journal, schedule):
    run = Run(journal, schedule, share=0.3, lucky="0003", broken="0003").work()
    known = run.archive.individuals["0003"]
    assert (known.fault, known.trainings) == ("fit: odd", 1)
    assert "0003" not in [one.id for one in run.archive.front()]
    assert "0003" not in [one.id for one in run.archive.everyone]
    assert run.evaluator.made.count(("0003", 1)) == 1 and ("0003", 2) not in run.evaluator.made
    failed = run.events.index(next(event for event in run.of(EliteRetrained) if event.id == "0003"))
    later = [event.candidate for event in run.events[failed:] if isinstance(event, Proposed)]
    assert later and all("0003" not in candidate.parents for candidate in later[4:])
    assert "0003" not in run.of(GenerationEnded)[-1].population
    assert {one.id: one.fault for one in measured(journal)}["0003"] == "fit: odd"


@SCHEDULES
def test_a_run_that_is_stopped_between_readings_goes_on_with_the_same_state(tmp_path, schedule):
    with closing(other(tmp_path, "whole")) as whole, closing(other(tmp_path, "parts")) as parts:
        once = Run(whole, schedule, share=0.3).work()
        first = Run(parts, schedule, share=0.3, admitted=1).work()
        assert len(first.evaluator.made) == 1
        second = Run(parts, schedule, share=0.3).work()
        assert first.evaluator.made[0] not in second.evaluator.made
        if schedule == "generational":  # timing has no influence: the resumed run is the same as one without a stop
            assert [*first.evaluator.made, *second.evaluator.made] == once.evaluator.made
            assert second.of(GenerationEnded) == once.of(GenerationEnded)
            assert second.of(Learned) == once.of(Learned)
            assert second.retraining.noise == once.retraining.noise
        else:
            assert len(measured(parts)) == len(second.archive.individuals)


def test_a_resume_rebuilds_archive_noise_and_counts_from_the_journal(journal):
    """Nothing is left to do: what the loop restores must be what the first process had at its end."""
    first = Run(journal, share=0.3, lucky="0003", broken="0003").work()
    again = Run(journal, share=0.3).work()
    assert not again.evaluator.made and not again.of(Proposed)
    assert again.archive.individuals == first.archive.individuals
    assert [one.id for one in again.archive.front()] == [one.id for one in first.archive.front()]
    assert again.archive.worth() == first.archive.worth()
    assert again.retraining.noise == first.retraining.noise
    assert again.loop._population.members == first.loop._population.members
    assert again.retraining.due() == first.retraining.due()
    # And what commands read without a search is the same.
    known = {one.id: one for one in measured(journal)}
    for id, one in first.archive.individuals.items():
        if id != SEED_ID:
            assert (known[id].fitness, known[id].trainings, known[id].fault) == (one.fitness, one.trainings, one.fault)
    everything = read_replay(journal, first.archive.seed.genome).outcomes.values()
    outcomes = [one for one in everything if isinstance(one, Individual) and one.id != SEED_ID]
    assert as_measured(outcomes, journal) == [first.archive.individuals[one.id] for one in outcomes]
    assert noise_now(journal, list(known.values())) is None  # no noise was measured before this search


def test_lessons_after_a_reading_are_judged_against_the_mean_and_its_trainings(journal):
    run = Run(journal, share=0.3).work()
    taken = next(n for n, event in enumerate(run.events) if isinstance(event, EliteRetrained))
    known = run.archive.individuals
    of_retrained = [
        event.lesson for event in run.events[taken:]
        if isinstance(event, Learned) and event.lesson.effects and event.lesson.against not in (1, 4)
    ]  # fmt: skip
    parents = {e.candidate.id: e.candidate.recipes[0].parents[0] for e in run.of(Proposed)}
    assert of_retrained
    for lesson in of_retrained:
        assert 1 < lesson.against <= known[parents[lesson.id]].trainings
    assert run.retraining.noise.df == 3 + len([1 for event in run.of(EliteRetrained) if event.fitness])


class Rules:
    exact = ("parameters", "flops")

    def __init__(self, *constraints):
        self.constraints = constraints


class TestJudge:
    elite = Individual(Candidate("0001", 0), Genome({"model.py": SOURCE}), Fitness({"accuracy": 0.5, "parameters": 10.0}))

    def test_a_reading_counts(self):
        assert judge(self.elite, {"accuracy": 0.4, "parameters": 10.0, "memory": 3.0}, Rules()) == (
            Fitness({"accuracy": 0.4, "parameters": 10.0}), ""
        )  # fmt: skip

    def test_parameters_that_depend_on_the_training_seed_are_the_programs_fault(self):
        fitness, fault = judge(self.elite, {"accuracy": 0.4, "parameters": 11.0}, Rules())
        assert fitness is None
        assert fault == ("score: parameters was 10 and is 11 with another training seed: it must depend on the program alone.")

    def test_the_mean_must_keep_a_constraint_not_each_reading(self):
        rules = Rules(Constraint("accuracy", ">=", 0.44))
        low, lower = {"accuracy": 0.4, "parameters": 10.0}, {"accuracy": 0.3, "parameters": 10.0}
        assert judge(self.elite, low, rules)[1] == ""
        fitness, fault = judge(self.elite, lower, rules)
        assert fitness == Fitness(lower)
        assert fault == "score: the mean of 2 trainings breaks a constraint: accuracy is 0.4, must be >= 0.44."

    def test_a_bound_on_what_is_no_objective_holds_for_each_training(self):
        values = {"accuracy": 0.4, "parameters": 10.0, "memory": 3.0}
        fitness, fault = judge(self.elite, values, Rules(Constraint("memory", "<=", 2.0)))
        assert fitness is None and "memory is 3, must be <= 2" in fault


SETTINGS = {
    "budget.steps": 2, "constraints.accuracy": ">= 0", "noise.trainings": 2, "search.first_population": 6,
    "search.population": 3, "search.generations": 1, "sandbox.slots": 1, "retrain.share": 1.0,
}  # fmt: skip


def rows(run):
    with closing(sqlite3.connect(f"file:{run / 'journal.db'}?mode=ro", uri=True)) as db:
        kinds = "('reading', 'settled', 'drawn')"
        return db.execute(f"SELECT kind, key, data FROM events WHERE kind IN {kinds} ORDER BY seq").fetchall()


@pytest.mark.slow
def test_real_trainings_a_kill_after_a_reading_and_a_resume(cache, tmp_path):
    copy_fast_seed(tmp_path)
    settings = [part for key, value in SETTINGS.items() for part in ("--set", f"{key}={value}")]
    environment = {**os.environ, "EVOLVE_CACHE": str(cache), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "agent.cli", "run", "seed", "--llm", "offline", "--out", "run", *settings]
    with subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        while True:
            try:
                if any(kind == "reading" for kind, *_ in rows(tmp_path / "run")):
                    break
            except sqlite3.OperationalError:  # not there yet
                pass
            assert process.poll() is None, process.stderr.read()
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
    before = rows(tmp_path / "run")
    resume = [sys.executable, "-m", "agent.cli", "resume", "run"]
    ended = subprocess.run(resume, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    after = rows(tmp_path / "run")
    assert after[: len(before)] == before
    readings = [key for kind, key, _ in after if kind == "reading"]
    assert len(set(readings)) == len(readings) >= 1  # how many more are due depends on what the rules came upon
    with closing(Journal(tmp_path / "run" / "journal.db", read_only=True)) as journal:
        known = {one.id: one for one in measured(journal)}
        assert known[SEED_ID].trainings == 3
        for id in {key.partition("/")[0] for key in readings}:
            parameters = {one["parameters"] for one in known[id].readings}
            assert known[id].trainings > 1 and len(parameters) == 1
        noise = noise_now(journal, list(known.values()))
        assert noise.df == 2 + sum(one.trainings - 1 for id, one in known.items() if id != SEED_ID)

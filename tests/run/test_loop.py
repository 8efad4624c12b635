"""The algorithm alone: pools that answer at once and measure by a formula, so that only decisions are under test."""

import random
from collections import Counter
from concurrent.futures import Future

import pytest

from agent.core.noise import Noise
from agent.core.objectives import Fitness, Objective
from agent.core.paths import prompts_folder
from agent.genome import Genome
from agent.journal.events import GenerationEnded, Proposed, Settled
from agent.journal.replay import Replay
from agent.journal.tracker import Tracker
from agent.operators import Brief, Sampling
from agent.operators.templates import Prompts
from agent.population.archive import Archive
from agent.population.candidate import SEED_ID, Candidate, Duplicate, Failure, Individual, Variant
from agent.run.context import RunContext
from agent.run.loop import GenerationalLoop, SearchState, SteadyLoop
from agent.search.bandit import Bandits, BanditSettings
from agent.search.feedback import CreditSettings, Feedback, FeedbackSettings
from agent.search.plateau import Plateau, PlateauSettings
from agent.search.recipes import RecipeSampler
from agent.search.retraining import Retraining, RetrainingSettings
from agent.search.settings import SearchSettings

PAPER = {"operators": {}}
CONTEST = BanditSettings(prompts="uniform", operators="uniform", models="uniform")
OBJECTIVES = (Objective("accuracy", "max"), Objective("parameters", "min"))
SOURCE = "WIDTH = 1\n\n\ndef width():\n    return 100\n\n\ndef rate():\n    return 50\n"


def done(result):
    future = Future()
    future.set_result(result)
    return future


class Breeder:
    """Writes a number into the block it is asked to rewrite; every seventh candidate fails."""

    def submit(self, candidate, context):
        if int(candidate.id) % 7 == 0:
            return done(Failure(candidate, "contract", "it was the seventh"))
        source = context.individuals[candidate.recipes[0].parents[0]].genome.files["model.py"]
        for recipe in candidate.recipes:
            chance = random.Random(recipe.seed)
            for block in recipe.blocks:
                head, _, tail = source.partition(f"def {block}():\n    return ")
                source = f"{head}def {block}():\n    return {chance.randint(1, 60)}{tail[tail.index(chr(10)):]}"
        return done(Variant(candidate, Genome({"model.py": source})))


def measured(genome):
    space = {}
    exec(genome.files["model.py"], space)
    return Fitness({"accuracy": 1 / (1 + space["rate"]()), "parameters": space["width"]() + space["rate"]() / 10})


class Evaluator:
    def submit(self, variant):
        return done(Individual(variant.candidate, variant.genome, measured(variant.genome)))


def run(seed=0, past=None, **search):
    events = []
    genome = Genome({"model.py": SOURCE})
    archive = Archive(Individual(Candidate(SEED_ID, 0), genome, measured(genome)), OBJECTIVES)
    brief = Brief("A number.", {}, OBJECTIVES)
    defaults = {"generations": 6, "first_population": 12, "population": 8, "schedule": "generational", **PAPER}
    settings = SearchSettings(**{**defaults, **search})
    loop_of(archive, brief, settings, events.append, Breeder(), seed, past).work()
    return archive, events


def loop_of(archive, brief, settings, record, breeder, seed=0, past=None):
    prompts, sampling, plateau = Prompts.load(prompts_folder()), Sampling(("offline",)), Plateau(PlateauSettings(0))
    weights = settings.operators or {"mutate": 1}
    bandits = Bandits(CONTEST, prompts.roles, prompts.directives, weights, sampling.models)
    sampler = RecipeSampler(random.Random(seed), archive.seed, prompts, sampling, bandits, plateau)
    noise = Noise({o.name: 0.0 for o in OBJECTIVES}, dict(archive.seed.fitness.values))
    tracker = Tracker()

    def see(event):
        record(event)
        tracker.see(event)

    run = RunContext(see, replay=past or Replay(), tracker=tracker)
    feedback = Feedback(archive, noise, sampler, tracker, FeedbackSettings(credit=CreditSettings(usd_per_hour=0)))
    retraining = Retraining(archive, noise, RetrainingSettings())
    search = SearchState(archive, brief, settings, sampler, feedback, retraining)
    if settings.schedule == "steady":
        return SteadyLoop(run, search, breeder, Evaluator(), slots=2, concurrency=4)
    return GenerationalLoop(run, search, breeder, Evaluator())


def candidates(events):
    return [event.candidate for event in events if isinstance(event, Proposed)]


def test_the_same_seed_gives_the_same_run():
    assert run(3)[1] == run(3)[1]
    assert run(3)[1] != run(4)[1]


def test_the_first_population_is_the_seed_with_one_fixed_prompt_mutation_each():
    first = [b for b in candidates(run()[1]) if b.generation == 0]
    assert len(first) == 12
    assert all(b.parents == (SEED_ID,) and [r.operator for r in b.recipes] == ["mutate"] for b in first)


def test_hypervolume_never_falls_and_the_search_improves():
    volumes = [e.hypervolume for e in run()[1] if isinstance(e, GenerationEnded)]
    assert len(volumes) == 7
    assert volumes == sorted(volumes)
    assert volumes[-1] > volumes[0] > 1.0


def test_rates_are_those_that_were_asked_for():
    drawn = [b for b in candidates(run(generations=150, p_eot=0.25)[1]) if b.generation > 0]
    recipes = [r for b in drawn for r in b.recipes]
    counts = Counter(r.operator for r in recipes)
    slots = 150 * 8
    mutated = counts["mutate"] + counts["eot"]
    assert mutated / slots == pytest.approx(0.8, abs=0.04)
    assert counts["eot"] / mutated == pytest.approx(0.25, abs=0.04)
    assert counts["mate"] / slots == pytest.approx(0.35, abs=0.06)


def test_mating_names_two_parents_whose_block_differs():
    archive, events = run(generations=10)
    matings = [r for b in candidates(events) for r in b.recipes if r.operator == "mate"]
    assert matings
    for recipe in matings:
        one, other = (archive.individuals[id].genome.block(recipe.blocks[0]).source for id in recipe.parents)
        assert one != other


def test_thoughts_come_from_elites_and_go_to_another_block():
    archive, events = run(generations=10)
    thoughts = [r for b in candidates(events) for r in b.recipes if r.operator == "eot"]
    assert thoughts
    for recipe in thoughts:
        assert recipe.example not in recipe.blocks
        elite = archive.individuals[recipe.elite].genome.block(recipe.example).source
        assert elite != archive.seed.genome.block(recipe.example).source


def test_a_population_is_elites_and_trained_offspring_once_each():
    archive, events = run()
    settled = [e.outcome for e in events if isinstance(e, Settled)]
    for event in (e for e in events if isinstance(e, GenerationEnded)):
        assert len(set(event.population)) == len(event.population)
        assert set(event.population) <= set(archive.individuals)
        assert set(event.elites) <= set(event.population)
    assert all(isinstance(outcome, Duplicate) for outcome in settled)


def test_a_known_genome_is_not_trained_again():
    archive, _ = run(generations=20)
    prints = [i.genome.fingerprint for i in archive.individuals.values()]
    assert len(set(prints)) == len(prints)


def test_a_run_in_which_all_fail_continues_from_the_seed():
    class Barren(Breeder):
        def submit(self, candidate, context):
            return done(Failure(candidate, "answer", "no code"))

    genome = Genome({"model.py": SOURCE})
    archive = Archive(Individual(Candidate(SEED_ID, 0), genome, measured(genome)), OBJECTIVES)
    events = []
    settings = SearchSettings(generations=2, first_population=3, population=4, schedule="generational")
    brief = Brief("A number.", {}, OBJECTIVES)
    loop_of(archive, brief, settings, events.append, Barren()).work()
    assert list(archive.individuals) == [SEED_ID]
    assert max(b.generation for b in candidates(events)) == 2


def test_of_the_last_evaluations_as_many_are_shown_as_were_asked_for():
    archive, _ = run()
    assert len(archive.recent(8)) == 8
    assert archive.recent(1) == archive.recent(8)[-1:]
    assert archive.recent(0) == ()


def test_steady_breeds_as_many_candidates_and_improves():
    _, events = run(schedule="steady")
    assert [b.id for b in candidates(events)] == [f"{n:04d}" for n in range(1, 12 + 6 * 8 + 1)]
    volumes = [e.hypervolume for e in events if isinstance(e, GenerationEnded)]
    assert len(volumes) == (12 + 6 * 8) // 8
    assert volumes == sorted(volumes)
    assert volumes[-1] > 1.0
    assert {r.operator for b in candidates(events) for r in b.recipes} == {"mutate", "mate", "eot"}


def test_steady_never_breeds_from_an_unmeasured_candidate():
    archive, events = run(schedule="steady", generations=12)
    for candidate in candidates(events):
        assert set(candidate.parents) <= set(archive.individuals)
        assert all(int(parent) < int(candidate.id) for parent in candidate.parents if parent != SEED_ID)


def test_steady_continues_what_an_earlier_process_left():
    """Two were settled, one bred, one only proposed: none is bred twice, none is lost, numbers continue."""
    _, whole = run(schedule="steady")
    first = candidates(whole)[:4]
    breeder, evaluator = Breeder(), Evaluator()
    seed = Individual(Candidate(SEED_ID, 0), Genome({"model.py": SOURCE}), measured(Genome({"model.py": SOURCE})))
    context = type("Context", (), {"individuals": {SEED_ID: seed}})
    variants = {b.id: breeder.submit(b, context).result() for b in first[:3]}
    outcomes = {id: evaluator.submit(variants[id]).result() for id in list(variants)[:2]}
    history = (*first, *outcomes.values())
    past = Replay(variants=variants, outcomes=outcomes, candidates={b.id: b for b in first}, history=history)
    archive, events = run(schedule="steady", past=past)
    assert [b.id for b in candidates(events)] == [f"{n:04d}" for n in range(5, 61)]
    assert set(outcomes) <= set(archive.individuals)
    assert {first[2].id, first[3].id} <= set(archive.individuals) | {
        e.outcome.id for e in events if isinstance(e, Settled)
    }

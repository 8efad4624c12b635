"""The algorithm alone: pools that answer at once and measure by a formula, so that only decisions are under test."""

import random
import re
from collections import Counter
from concurrent.futures import Future

import pytest

from agent.core.noise import Noise
from agent.core.objectives import Fitness, Objective
from agent.core.paths import prompts_folder
from agent.genome import Genome
from agent.journal.events import GenerationEnded, Learned, Proposed, Settled
from agent.journal.replay import Replay
from agent.journal.tracker import Tracker
from agent.operators import Brief, Sampling
from agent.operators.templates import Prompts
from agent.operators.transplant import put_together
from agent.population.archive import Archive
from agent.population.candidate import SEED_ID, Candidate, Duplicate, Failure, Individual, Recipe, Variant
from agent.run.context import RunContext
from agent.run.loop import GenerationalLoop
from agent.run.search_state import SearchState
from agent.run.steady_loop import SteadyLoop
from agent.search.bandit import Bandits, BanditSettings
from agent.search.feedback import CreditSettings, Feedback, FeedbackSettings
from agent.search.plateau import Plateau, PlateauSettings
from agent.search.recipes import RecipeSampler
from agent.search.retraining import Retraining, RetrainingSettings
from agent.search.settings import SearchSettings

PAPER = {"operators": {}, "parents": "nsga2"}
CONTEST = BanditSettings(prompts="uniform", operators="uniform", models="uniform")
OBJECTIVES = (Objective("accuracy", "max"), Objective("parameters", "min"))
SOURCE = "import math\n\n\ndef width():\n    return 100\n\n\ndef rate():\n    return 50\n"


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
                source = f"{head}def {block}():\n    return {chance.randint(1, 60)}{tail[tail.index(chr(10)) :]}"
        return done(Variant(candidate, Genome({"model.py": source})))


def measured(genome):
    space = {}
    exec(genome.files["model.py"], space)
    return Fitness({"accuracy": 1 / (1 + space["rate"]()), "parameters": space["width"]() + space["rate"]() / 10})


class Evaluator:
    def submit(self, variant, owner=None):
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
    weights = settings.shares or {"mutate": 1}
    bandits = Bandits(CONTEST, prompts.roles, prompts.directives, weights, sampling.models)
    sampler = RecipeSampler(random.Random(seed), archive.seed, prompts, sampling, bandits, plateau)
    sampler.any_block = not settings.shares
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
    settings = SearchSettings(generations=2, first_population=3, population=4, schedule="generational", **PAPER)
    brief = Brief("A number.", {}, OBJECTIVES)
    loop_of(archive, brief, settings, events.append, Barren()).work()
    assert list(archive.individuals) == [SEED_ID]
    assert max(b.generation for b in candidates(events)) == 2


@pytest.mark.parametrize("strategy", ["random-sampling", "replicate"])
def test_a_control_of_independent_candidates_shows_nothing_of_the_others(strategy):
    shown = []

    class Watching(Breeder):
        def submit(self, candidate, context):
            shown.append((candidate, context))
            return super().submit(candidate, context)

    genome = Genome({"model.py": SOURCE})
    archive = Archive(Individual(Candidate(SEED_ID, 0), genome, measured(genome)), OBJECTIVES)
    settings = SearchSettings(generations=2, first_population=3, population=4, strategy=strategy, operators={"mutate": 1.0})
    loop_of(archive, Brief("A number.", {}, OBJECTIVES), settings, lambda event: None, Watching()).work()
    assert len(shown) == 11 and (strategy == "replicate" or len(archive.individuals) > 3)
    for candidate, context in shown:
        assert candidate.parents == (SEED_ID,) and not candidate.lessons and set(context.individuals) == {SEED_ID}
        assert not (context.front or context.recent or context.under_way or context.lessons or context.known_programs)


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
    assert {first[2].id, first[3].id} <= set(archive.individuals) | {e.outcome.id for e in events if isinstance(e, Settled)}


class Joiner(Breeder):
    """Puts changes together as their recipes say."""

    def submit(self, candidate, context):
        recipe = candidate.recipes[0]
        known = context.individuals
        if not recipe.sources:
            return super().submit(candidate, context)
        assert all({id, *known[id].candidate.parents[:1]} <= known.keys() for id in recipe.sources)
        given = [(known[id].genome, name) for id, name in zip(recipe.sources, recipe.blocks, strict=bool(recipe.blocks))]
        return done(Variant(candidate, put_together(known[recipe.parents[0]].genome, given if recipe.blocks else ())))


@pytest.mark.parametrize("schedule", ["steady", "generational"])
def test_gains_are_put_together_and_none_twice(schedule):
    events = []
    genome = Genome({"model.py": SOURCE})
    archive = Archive(Individual(Candidate(SEED_ID, 0), genome, measured(genome)), OBJECTIVES)
    weights = {"mutate": 0.3, "assemble": 0.3, "combine": 0.4}
    settings = SearchSettings(generations=4, first_population=12, schedule=schedule, operators=weights)
    loop_of(archive, Brief("A number.", {}, OBJECTIVES), settings, events.append, Joiner()).work()
    drawn = [one for one in candidates(events) if one.operator == "assemble"]
    settled = {e.outcome.id: e.outcome for e in events if isinstance(e, Settled)}
    assert drawn and {"mutate", "assemble"} <= {one.operator for one in candidates(events)} <= {*weights}
    assert not any(isinstance(settled.get(one.id), Duplicate) for one in drawn)
    told = {e.lesson.id: e.lesson.reason for e in events if isinstance(e, Learned)}
    reasons = [told[one.id] for one in drawn if one.id in archive.individuals]
    assert reasons
    for text in reasons:
        assert re.match(r"expected accuracy \S+, parameters \S+ from .* together, came accuracy", text)


def test_a_resumed_search_does_not_assemble_what_is_under_way():
    """The assembly was proposed by the earlier process and is not measured yet."""
    weights = {"assemble": 1.0}
    genomes = {
        "0001": SOURCE.replace("return 100", "return 10"),
        "0002": SOURCE.replace("return 50", "return 5"),
    }
    outcomes, first = {}, []
    for id, text in genomes.items():
        candidate = Candidate(id, 0, (Recipe("mutate", (SEED_ID,), (), "offline", 1),))
        outcomes[id] = Individual(candidate, Genome({"model.py": text}), measured(Genome({"model.py": text})))
        first.append(candidate)
    blocks = ("width", "rate")
    under_way = Candidate("0003", 0, (Recipe("assemble", (SEED_ID, *outcomes), blocks, "", 1, sources=("0001", "0002")),))
    history = (*first, *outcomes.values(), under_way)
    past = Replay(outcomes=outcomes, candidates={one.id: one for one in (*first, under_way)}, history=history)
    seed = Genome({"model.py": SOURCE})
    archive, events = Archive(Individual(Candidate(SEED_ID, 0), seed, measured(seed)), OBJECTIVES), []
    settings = SearchSettings(generations=1, first_population=1, schedule="steady", operators=weights)
    loop_of(archive, Brief("A number.", {}, OBJECTIVES), settings, events.append, Joiner(), past=past).work()
    assert measured(archive.individuals["0003"].genome) == Fitness({"accuracy": 1 / 6, "parameters": 10.5})
    assert len({one.genome.fingerprint for one in archive.everyone}) == len(archive.everyone)
    assembled = [one for one in candidates(events) if one.operator == "assemble"]
    assert all({*one.recipes[0].sources} != {"0001", "0002"} for one in assembled)

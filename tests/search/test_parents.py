"""Who breeds next: the front, new finds first, luck discounted; and what the controls do instead."""

import random
from collections import Counter
from dataclasses import replace

import pytest

from agent.core.noise import Noise
from agent.core.objectives import Fitness, Objective
from agent.core.paths import prompts_folder
from agent.core.worth import WorthScale
from agent.genome import Genome
from agent.operators import Sampling
from agent.operators.changes import Measured
from agent.operators.splice import Splice
from agent.operators.templates import Prompts
from agent.population.archive import Archive
from agent.population.candidate import SEED_ID, Candidate, Individual, Recipe
from agent.search.bandit import Bandits, BanditSettings
from agent.search.evolve import first_plan, next_plan
from agent.search.first import first_size, first_warning
from agent.search.merit import Advantage, Merit
from agent.search.parents import FEW, Parents
from agent.search.plateau import Plateau, PlateauSettings
from agent.search.recipes import RecipeSampler
from agent.search.settings import SearchSettings

OBJECTIVES = (Objective("accuracy", "max"), Objective("parameters", "min"))
NOISE = Noise({"accuracy": 0.01, "parameters": 0.0}, {"accuracy": 0.5, "parameters": 1000})
PROMPTS = Prompts.load(prompts_folder())
SOURCE = "def a():\n    x = {a}\n    return x\n\n\ndef b():\n    x = {b}\n    return x\n\n\ndef build():\n    return a() + b()\n"


class Field:
    """An archive that is filled by hand, and what draws from it."""

    def __init__(self, **search):
        seed = self.individual(SEED_ID, 0.5, 1000, ())
        self.archive = Archive(seed, OBJECTIVES, WorthScale.of(OBJECTIVES, NOISE))
        self.settings = SearchSettings(**search).for_run(40, reads=True)
        bandits = Bandits(BanditSettings(), PROMPTS.roles, PROMPTS.directives, self.settings.shares, ("m",))
        plateau = Plateau(PlateauSettings(0))
        self.sampler = RecipeSampler(random.Random(0), seed, PROMPTS, Sampling(("m",)), bandits, plateau)
        self.sampler.measured = Measured(self.archive.individuals, OBJECTIVES, NOISE)
        self.parents = Parents(self.archive, self.settings, self.sampler)

    def individual(self, id, accuracy, parameters, parents, readings=0):
        genome = Genome({"model.py": SOURCE.format(a=f"{accuracy}", b=parameters)})
        recipes = (Recipe("rewrite", parents, (), "m", 1),) if parents else ()
        fitness = Fitness({"accuracy": accuracy, "parameters": parameters})
        return Individual(Candidate(id, 0, recipes), genome, fitness, readings=(fitness,) * readings)

    def add(self, accuracy, parameters, parent=SEED_ID, children=0, readings=0):
        id = f"{len(self.archive.everyone):04d}"
        self.archive.add(self.individual(id, accuracy, parameters, (parent,), readings))
        self.sampler.offspring[id] += children
        return id

    def drawn(self, count=400):
        """How often each was drawn as a parent; a draw makes no child here."""
        return Counter(self.parents.draw(number).id for number in range(count))


def test_parents_come_from_the_front_and_seldom_from_elsewhere():
    field = Field()
    front = {field.add(0.6, 900, children=5), field.add(0.55, 400, children=5), field.add(0.52, 200, children=5)}
    unlucky, beaten = field.add(0.595, 905), field.add(0.51, 990)
    drawn = field.drawn()
    assert sum(drawn[one] for one in front) > 0.9 * 400
    assert 0.02 * 400 < drawn[unlucky] < 0.1 * 400  # the best one is better by half a sigma
    assert drawn[beaten] == drawn[SEED_ID] == 0


def test_a_new_find_is_preferred_until_it_has_a_few_children():
    field = Field()
    for accuracy, parameters in ((0.6, 900), (0.55, 400), (0.52, 200)):
        field.add(accuracy, parameters, children=9)
    new = field.add(0.62, 850)
    at_first = field.drawn()[new]
    field.sampler.offspring[new] = FEW + 9
    assert at_first > 2 * field.drawn()[new]


def test_a_parent_that_had_many_children_gives_way_to_its_equals():
    field = Field(breadth=0.0)
    often, seldom = field.add(0.6, 500, children=20), field.add(0.601, 505, children=FEW)
    drawn = field.drawn()
    assert drawn[seldom] > 3 * drawn[often]


def test_luck_is_discounted_by_how_often_a_program_was_trained():
    """Fifty programs that differ by noise alone: the best of them is drawn towards the others; one that was confirmed is not."""
    field, chance = Field(), random.Random(3)
    for _ in range(50):
        field.add(chance.gauss(0.55, 0.01), 1000)
    lucky, confirmed = field.add(0.58, 1000), field.add(0.575, 1000, readings=8)
    merit = Merit(field.archive)
    measured = [field.archive.scale.units(field.archive.individuals[id].fitness)[0] for id in (lucky, confirmed)]
    probable = [merit.units(field.archive.individuals[id])[0] for id in (lucky, confirmed)]
    assert measured[0] > measured[1] and probable[0] < probable[1] < measured[1]
    assert merit.best(field.archive.everyone).id == confirmed
    assert merit.alone(field.archive.seed) == pytest.approx(1.0)


def test_best_of_n_breeds_from_the_program_that_alone_is_worth_most():
    """Not from the smallest, which lies most apart; and of two equal ones from the earlier."""
    field = Field(strategy="best-of-n", operators={"rewrite": 0.4, "mutate": 0.3, "splice": 0.3})
    field.add(0.46, 100)
    best = field.add(0.6, 300)
    field.add(0.6, 300)
    field.add(0.62, 1000)
    plans = [next_plan(field.parents, field.settings, field.sampler, number) for number in range(40)]
    assert {recipe.parents for (recipe,) in plans} == {(best,)}
    assert {recipe.operator for (recipe,) in plans} == {"rewrite", "mutate"}


def test_random_sampling_changes_the_seed_whatever_was_found():
    field = Field(strategy="random-sampling")
    field.add(0.6, 300)
    plans = [next_plan(field.parents, field.settings, field.sampler, number) for number in range(40)]
    assert {recipe.parents for (recipe,) in plans} == {(SEED_ID,)}
    assert field.settings.is_independent


def test_replicates_are_one_recipe_but_for_the_models_seed():
    field = Field(strategy="replicate")
    first = [first_plan(field.archive.seed, field.settings, field.sampler, number) for number in range(4)]
    plans = first + [next_plan(field.parents, field.settings, field.sampler, number) for number in range(20)]
    recipes = [recipe for (recipe,) in plans]
    assert {(r.operator, r.parents, r.blocks, r.role, r.directive) for r in recipes} == {("rewrite", (SEED_ID,), (), None, None)}
    assert len({r.seed for r in recipes}) == len(recipes)


def test_islands_are_families_of_children_of_the_seed():
    field = Field(parents="islands", breadth=0.0)
    roots = [field.add(0.55 + 0.01 * n, 900 - n, children=9) for n in range(4)]
    child = field.add(0.7, 300, parent=roots[2])
    turns = [{field.parents.draw(turn).id for _ in range(30)} for turn in range(4)]
    assert turns[0] == {roots[0]} and turns[1] == {roots[1]} and turns[3] == {roots[3]}
    assert child in turns[2]


def test_examples_are_on_the_front_and_likely_real():
    field = Field()
    real, small = field.add(0.56, 990), field.add(0.45, 300)
    field.add(0.52, 1000)
    field.add(0.44, 300)
    assert {one.id for one in field.parents.exemplars()} == {real, small}
    assert not Field().parents.exemplars()


def test_the_first_population_is_rewrites_of_the_seed_with_different_directives():
    field = Field()
    recipes = [first_plan(field.archive.seed, field.settings, field.sampler, number)[0] for number in range(4)]
    assert {r.operator for r in recipes} == {"rewrite"} and {r.parents for r in recipes} == {(SEED_ID,)}
    assert recipes[0].directive is None and len({r.directive for r in recipes}) == 3  # every other one is free


@pytest.mark.parametrize("shares", [{"rewrite": 1.0}, {"mutate": 1.0}])
def test_an_operator_without_a_share_makes_no_first_child(shares):
    field = Field(operators=shares)
    recipes = [first_plan(field.archive.seed, field.settings, field.sampler, number)[0] for number in range(6)]
    assert {r.operator for r in recipes} == {*shares}


def test_a_child_is_credited_with_what_it_gains_beyond_an_average_child():
    field = Field()
    advantage = Advantage(field.archive)

    def of(*added, **more):
        return advantage.of(field.archive.individuals[field.add(*added, **more)])

    first = of(0.6, 900)
    assert first > 0
    assert of(0.5, 1100) == 0.0
    usual = of(0.6, 900)
    assert 0 < usual < first  # the average child gains something by now
    assert of(0.6, 899, parent="0001") == 0.0  # as good as its parent


@pytest.mark.parametrize(("children", "size"), [(2, 1), (5, 1), (10, 3), (24, 4), (40, 6), (300, 8), (3000, 8)])
def test_the_first_population_follows_the_budget(children, size):
    assert first_size(children, reads=True) == size
    assert SearchSettings().for_run(children, reads=True).first_population == min(size, first_size(240, reads=True))


def test_rules_change_each_block_of_the_seed_first():
    settings = SearchSettings().for_run(None, reads=False)
    assert (settings.first_population, settings.first_operator) == (32, "mutate")
    assert {"combine", "assemble"}.isdisjoint(settings.shares)


def test_a_first_population_that_eats_the_budget_is_told():
    told = first_warning(32, 40, "mutate", reads=True)
    assert told.startswith("32 of 40 children would be mutations of the seed")
    assert not first_warning(4, 40, "rewrite", reads=True) and not first_warning(32, None, "mutate", reads=True)


def test_splices_that_are_known_or_only_restore_are_not_drawn():
    field = Field()

    def individual(a, b, accuracy, parent):
        id = f"{len(field.archive.everyone):04d}"
        genome = Genome({"model.py": SOURCE.format(a=a, b=b)})
        recipe = Recipe("rewrite", (parent,), (), "m", 1)
        one = Individual(Candidate(id, 0, (recipe,)), genome, Fitness({"accuracy": accuracy, "parameters": 1000}))
        field.archive.add(one)
        return one

    one, other = individual(1, 1, 0.55, SEED_ID), individual(2, 2, 0.56, SEED_ID)
    context = field.sampler._context(one, other)

    def draw(a, b):
        found = (Splice().draw(replace(context, parent=a, partner=b, measured=field.sampler.measured)) for _ in range(20))
        return {recipe and recipe.blocks for recipe in found}

    assert draw(one, other) == {("a",), ("b",)}
    individual(2, 1, 0.5, one.id)  # `a` of the other in the one
    assert draw(one, other) == {("b",)}
    individual(1, 2, 0.5, one.id)
    assert draw(one, other) == {None}
    better = individual(3, 3, 0.6, one.id)
    assert draw(better, one) == {None}  # it would only put back what was measured worse

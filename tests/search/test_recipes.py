"""The sampler: which operator draws, and what the bandits put in place of what it drew."""

import random

import pytest

from agent.operators import OPERATORS, Sampling
from agent.search.bandit import Bandits, BanditSettings
from agent.search.evolve import first_plan, plan_by_rates
from agent.search.null import SHARES, NullSampler
from agent.search.plateau import Plateau, PlateauSettings
from agent.search.recipes import RecipeSampler
from agent.search.settings import SearchSettings


@pytest.fixture
def sampler_of(half_way, prompts):
    def build(weights, models=("one", "two")):
        bandits = Bandits(BanditSettings(), prompts.roles, prompts.directives, weights, models)
        return RecipeSampler(random.Random(1), half_way.seed, prompts, Sampling(models), bandits, Plateau(PlateauSettings()))

    return build


def test_every_operator_but_the_null_edit_has_a_share_and_is_drawn(half_way, sampler_of):
    shares = SearchSettings().operators
    assert [*shares] == [name for name in OPERATORS if name != "null"] and min(shares.values()) > 0
    sampler = sampler_of(shares)
    a, b = (half_way.context.individuals[id] for id in ("0004", "0007"))
    recipes = [sampler.by_any_operator(a, b, [a, b]) for _ in range(100)]
    assert {recipe.operator for recipe in recipes} == {*shares}
    assert {recipe.model for recipe in recipes if recipe.operator != "splice"} == {"one", "two"}
    assert {recipe.model for recipe in recipes if recipe.operator == "splice"} == {""}


def test_an_operator_that_has_nothing_to_work_on_is_passed_over(half_way, sampler_of):
    a = half_way.context.individuals["0004"]
    sampler = sampler_of({"mate": 1, "splice": 1, "rewrite": 0.01})
    assert {sampler.by_any_operator(a, a, [a]).operator for _ in range(10)} == {"rewrite"}
    assert {sampler_of({"mate": 1, "splice": 1}).by_any_operator(a, a, [a]).operator for _ in range(10)} == {"mutate"}


def test_the_first_population_gives_every_block_its_turn(half_way, sampler_of):
    sampler = sampler_of({"mutate": 1})
    drawn = [sampler.first_mutation(half_way.seed).blocks[0] for _ in range(16)]
    assert sorted(drawn[:8]) == sorted(drawn[8:]) == sorted({*drawn})


def test_a_null_run_draws_nothing_but_null_edits_and_splices_by_either_schedule(half_way, prompts):
    bandits = Bandits(BanditSettings(), prompts.roles, prompts.directives, SHARES, [])
    sampler = NullSampler(random.Random(1), half_way.seed, prompts, Sampling(()), bandits, Plateau(PlateauSettings()))
    a, b = (half_way.context.individuals[id] for id in ("0004", "0007"))
    settings = SearchSettings()
    plans = [first_plan(half_way.seed, settings, sampler) for _ in range(16)]
    assert len({plan[0].blocks for plan in plans[:8]}) == 8, "every block has its turn"
    plans += [plan_by_rates(a, b, [a, b], settings, sampler) for _ in range(50)]
    plans += [(sampler.by_any_operator(a, b, [a, b]),) for _ in range(50)]
    recipes = [recipe for plan in plans for recipe in plan]
    assert {recipe.operator for recipe in recipes} == {"null", "splice"}
    assert {recipe.model for recipe in recipes} == {""}

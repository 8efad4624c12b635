"""The sampler: which operator draws, and what the bandits put in place of what it drew."""

import random

import pytest

from agent.operators import OPERATORS, Sampling
from agent.search.bandit import Bandits, BanditSettings
from agent.search.evolve import SINGLE, first_plan, plan_by_rates
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


def test_every_operator_but_the_null_edit_has_a_share_and_is_drawn(half_way, sampler_of, gained):
    shares = {name: 1.0 for name in OPERATORS if name != "null"}
    assert {"rewrite", "eot"} <= {*SearchSettings().shares} <= {*shares}
    sampler = sampler_of(shares)
    sampler.measured = gained(half_way)
    a, b = (half_way.context.individuals[id] for id in ("0004", "0007"))
    recipes = [sampler.by_any_operator(a, b, [a, b]) for _ in range(100)]
    assert {recipe.operator for recipe in recipes} == {*shares}
    free = {"splice", "assemble"}
    assert {recipe.model for recipe in recipes if recipe.operator not in free} == {"one", "two"}
    assert {recipe.model for recipe in recipes if recipe.operator in free} == {""}


def test_what_was_assembled_is_not_assembled_again_in_this_process_or_the_next(half_way, sampler_of, gained):
    a, b = (half_way.context.individuals[id] for id in ("0004", "0007"))
    sampler = sampler_of({"assemble": 1})
    sampler.measured = gained(half_way)
    drawn = [sampler.by_any_operator(a, b, [a, b]) for _ in range(6)]
    assembled = [recipe for recipe in drawn if recipe.operator == "assemble"]
    assert 1 <= len(assembled) < 6 and len({(r.blocks, r.sources) for r in assembled}) == len(assembled)
    resumed = sampler_of({"assemble": 1})
    resumed.measured = gained(half_way)
    for recipe in drawn:
        resumed.restore(recipe)
    assert resumed.by_any_operator(a, b, [a, b]).operator == "mutate"


def test_a_control_puts_nothing_together(half_way, sampler_of, gained):
    a, b = (half_way.context.individuals[id] for id in ("0004", "0007"))
    sampler = sampler_of({"assemble": 1, "combine": 1})
    sampler.measured = gained(half_way)
    assert {sampler.by_any_operator(a, b, (), SINGLE).operator for _ in range(10)} == {"mutate"}


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

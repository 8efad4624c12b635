"""The landscape of simulated policies: it reproduces what was recorded, and tells good policies from bad ones."""

import random
import statistics
import sys
from dataclasses import replace
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))

from policy import ARMS, RECORDED, worth_of
from policy_landscape import LARGEST, fit, recorded
from policy_programs import BLOCKS, SCALE, World
from policy_search import Arm, simulate

from agent.population.candidate import SEED_ID, Candidate, Failure, Recipe

LANDSCAPE = fit()
BY_NAME = {arm.name: arm for arm in ARMS}


def mean_worth(arm, landscape=LANDSCAPE, children=12, runs=10, *, true=False):
    found = [simulate(arm, landscape, children, (children,), f"test {n}")[-1] for n in range(runs)]
    return statistics.fmean(one.true_worth if true else one.worth for one in found)


def grown(world, id, operator, parents, blocks=(), **more):
    """The program of a child and its individual."""
    candidate = Candidate(id, 0, (Recipe(operator, parents, blocks, "" if operator == "splice" else "m", 0, **more),))
    bred = world.variant(candidate)
    while isinstance(bred, Failure):
        bred = world.variant(candidate)
    return bred[1], world.train(candidate, bred[1], bred[0].changed)


def test_the_recorded_searches_have_the_worth_that_was_published_with_them():
    published = {
        "defaults": (1.79, 2.91),
        "random-sampling, no lessons": (2.50, 3.24),
        "rewrite-heavy, 2 first children": (4.40, 6.85),
        "best-of-n, rewrite only": (4.28, 8.87),
        "OpenEvolve 0.4.1 defaults": (2.62, 4.17),
    }
    found = {name: (worth_of(children[:5]), worth_of(children[:24])) for name, children in recorded().items()}
    assert found == {name: pytest.approx(pair, abs=0.006) for name, pair in published.items()}


def test_simulated_searches_stand_in_the_order_of_the_recorded_ones():
    real = {name: worth_of(children[:24]) for name, children in recorded().items()}
    found = {name: mean_worth(RECORDED[name], children=24) for name in real}
    ranked = sorted(found, key=found.get)
    assert ranked[-2:] == sorted(real, key=real.get)[-2:]
    assert {*ranked[:2]} == {"defaults", "random-sampling, no lessons"}  # recorded 2.9 and 3.2: alike until child 32
    assert all(abs(found[name] - real[name]) < 1.8 for name in real)


def test_an_operator_that_is_better_by_construction_wins_and_a_useless_one_loses():
    eager = Arm("", {"search": {"operators": {"rewrite": 1.0}}})
    worse, better = (replace(LANDSCAPE, rewrite_level=replace(LANDSCAPE.rewrite_level, mean=m)) for m in (2.0, 14.0))
    careful = Arm("", {"search": {"operators": {"mutate": 1.0}, "first_population": 1}})
    assert mean_worth(eager, better) > mean_worth(careful, better) + 1.5
    assert mean_worth(eager, worse) < mean_worth(careful, worse)


def test_choosing_parents_pays_only_where_children_are_like_their_parents():
    """Planted: with a slope of 1 gains add up over generations, with 0 every rewriting is independent of its parent."""
    greedy = Arm("", {"search": {"operators": {"rewrite": 1.0}, "first_population": 1}})
    blind = BY_NAME["random-sampling, rewrites"]
    level = replace(LANDSCAPE.rewrite_level, mean=2.0)
    inherited = replace(LANDSCAPE, rewrite_level=level, rewrite_slope=1.0, rewrite_size_slope=0.0)
    assert mean_worth(greedy, inherited) > mean_worth(blind, inherited) + 1
    alike = replace(LANDSCAPE, rewrite_slope=0.0, rewrite_size_slope=0.0)
    assert abs(mean_worth(greedy, alike, runs=15) - mean_worth(blind, alike, runs=15)) < 1


def test_a_front_is_told_apart_from_its_luck():
    quiet = mean_worth(BY_NAME["default"], true=True)
    loud = mean_worth(BY_NAME["default"])
    assert 0 < loud - quiet < 1.5


def test_the_same_run_is_found_again():
    arm = BY_NAME["default"]
    assert simulate(arm, LANDSCAPE, 16, (8, 16), "x") == simulate(arm, LANDSCAPE, 16, (8, 16), "x")
    assert simulate(arm, LANDSCAPE, 16, (16,), "x") != simulate(arm, LANDSCAPE, 16, (16,), "y")


def test_parts_of_two_programs_add_up_but_for_their_interaction():
    world = World(replace(LANDSCAPE, interaction=0.0, failures=0.0), random.Random(1))
    a, _ = grown(world, "0001", "mutate", (SEED_ID,), ("FeatureBlock",))
    b, _ = grown(world, "0002", "mutate", (SEED_ID,), ("build_optimizer",))
    both, _ = grown(world, "0003", "splice", ("0001", "0002"), ("build_optimizer",))
    sums = [x + y for x, y in zip(world.measure(a), world.measure(b), strict=True)]
    assert world.measure(both) == pytest.approx(sums)
    again, individual = grown(world, "0004", "splice", ("0002", "0001"), ("FeatureBlock",))
    assert again == both and individual.genome.fingerprint == world.genome(both).fingerprint


def test_no_program_is_better_than_the_ceiling_or_larger_than_allowed():
    world = World(LANDSCAPE, random.Random(2))
    parent = SEED_ID
    for number in range(1, 200):
        program, individual = grown(world, f"{number:04d}", ("rewrite", "eot", "edit")[number % 3], (parent,))
        assert world.quality(program) < LANDSCAPE.ceiling and world.measure(program)[1] >= LARGEST
        parent = individual.id
    assert SCALE.worth([world.seed.fitness]) == pytest.approx(1.0)
    assert len(BLOCKS) == 8 and {*BLOCKS} == {*LANDSCAPE.blocks}

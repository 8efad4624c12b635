"""What each operator draws: uniformly from everything that is worth it, and nothing else."""

import random
from collections import Counter
from dataclasses import replace
from itertools import product

import pytest

from agent.core.objectives import Fitness
from agent.genome import Genome
from agent.operators import OPERATORS, DrawContext, EvolutionOfThought, Sampling
from agent.population.candidate import SEED_ID, Individual

SAMPLING = Sampling(("one", "two"), temperature=(0.05, 0.4), max_tokens=(600, 602))
OFFLINE = Sampling(("offline",))
SOURCE = """\
def gate(x): x += 1; return x


class Net:
    part = gate


def build_optimizer(model, steps): ...


def unused(x): return x


def build_model(num_classes, in_channels): return Net()
"""
LIVE = ["gate", "Net", "build_optimizer"]


def person(helpers, id, *changes):
    """The program with each (old, new) text replaced."""
    text = SOURCE
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    genome = Genome({"model.py": text}, frozenset({"build_model"}))
    return Individual(helpers["candidate"](id, 0), genome, Fitness({"accuracy": 0.9}))


@pytest.fixture(scope="module")
def seed(helpers):
    return person(helpers, SEED_ID)


@pytest.fixture(scope="module")
def gated(helpers):
    return person(helpers, "gated", ("gate(x): x += 1; return x", "gate(x): x += 1; return 2 * x"))


@pytest.fixture(scope="module")
def changed(helpers):
    """Another gate, another net, and another unused function."""
    changes = ("gate(x): x += 1; return x", "gate(x): x += 1; return -x"), ("part = gate", "part = (gate,)")
    return person(helpers, "changed", *changes, ("unused(x): return x", "unused(x): return 3"))


@pytest.fixture(scope="module")
def only_dead(helpers):
    return person(helpers, "only_dead", ("unused(x): return x", "unused(x): return 3"))


def draw_mutation(rng, parent, seed, prompts, sampling, **more):
    return OPERATORS["mutate"].draw(DrawContext(rng, prompts, sampling, seed, parent, **more))


def draw_rewrite(rng, parent, seed, prompts, sampling):
    return OPERATORS["rewrite"].draw(DrawContext(rng, prompts, sampling, seed, parent))


def draw_mating(rng, a, b, seed, sampling):
    return OPERATORS["mate"].draw(DrawContext(rng, None, sampling, seed, a, b))


def draw_splice(rng, a, b, seed):
    return OPERATORS["splice"].draw(DrawContext(rng, None, None, seed, a, b))


def draw_eot(rng, parent, elites, seed, sampling, *, whole=False):
    context = DrawContext(rng, None, sampling, seed, parent, elites=elites)
    return EvolutionOfThought().draw_for_program(context) if whole else EvolutionOfThought().draw_for_block(context)


def assert_uniform(sampler, cells):
    """Chi-square within five standard deviations of its mean, and no cell but those expected."""
    counts, expected = Counter(sampler), len(sampler) / len(cells)
    assert set(counts) <= set(cells)
    freedom = len(cells) - 1
    chi2 = sum((counts[cell] - expected) ** 2 / expected for cell in cells)
    assert chi2 < freedom + 5 * (2 * freedom) ** 0.5


def test_mutations_are_uniform_over_live_blocks_directives_and_roles_together(seed, prompts):
    rng = random.Random(1)
    recipes = [draw_mutation(rng, seed, seed, prompts, SAMPLING) for _ in range(7200)]
    cells = list(product(LIVE, prompts.directives, [None, *prompts.roles]))
    assert len(cells) == 72
    assert_uniform([(r.blocks[0], r.directive, r.role) for r in recipes], cells)
    assert_uniform([r.model for r in recipes], ["one", "two"])
    assert {(r.operator, r.parents) for r in recipes} == {("mutate", (SEED_ID,))}


def test_the_dead_class_of_the_shipped_seed_is_never_drawn(half_way, prompts):
    rng = random.Random(2)
    drawn = {draw_mutation(rng, half_way.seed, half_way.seed, prompts, OFFLINE).blocks[0] for _ in range(500)}
    assert drawn == {"build_optimizer", "SELN", "DFSEB", "FCT", "EVE", "ME", "DW", "ExquisiteNetV2"}


def test_a_function_of_one_statement_is_not_drawn_unless_any_block_may_be(helpers, prompts):
    short = person(helpers, SEED_ID, ("x += 1; return x", "return x"))
    rng = random.Random(14)
    assert {draw_mutation(rng, short, short, prompts, OFFLINE).blocks[0] for _ in range(200)} == {"Net", "build_optimizer"}
    assert {draw_mutation(rng, short, short, prompts, OFFLINE, any_block=True).blocks[0] for _ in range(200)} == {*LIVE}


def test_where_no_entry_point_exists_any_block_is_drawn(helpers, prompts):
    bare = replace(person(helpers, "bare"), genome=Genome({"m.py": "def a(): ...\n\n\ndef b(): ...\n"}))
    rng = random.Random(3)
    assert {draw_mutation(rng, bare, bare, prompts, OFFLINE).blocks[0] for _ in range(50)} == {"a", "b"}


@pytest.fixture(scope="module")
def helped(helpers):
    """A gate with a helper function, a helper class, and an augmentation."""
    helper = "def _twice(x): return 2 * x\n\n\nclass Wide: ...\n\n\ndef augment(images, generator): return _twice(images)\n\n\n"
    return person(helpers, "helped", ("def gate(x): x += 1; return x", helper + "def gate(x): x += 1; return _twice(Wide)"))


def test_a_function_that_came_along_as_a_helper_is_not_drawn_by_itself(helpers, seed, helped, prompts):
    changes = (("def gate(x): x += 1; return x", "def _twice(x): return x + x\n\n\ndef gate(x): x += 1; return _twice(x)"),)
    other = person(helpers, "other", *changes)
    rng = random.Random(10)
    everything = {*LIVE, "Wide", "augment"}
    assert {draw_mutation(rng, helped, seed, prompts, OFFLINE).blocks[0] for _ in range(300)} == everything
    assert {draw_mating(rng, helped, other, seed, OFFLINE).blocks[0] for _ in range(50)} == {"gate"}
    assert {draw_eot(rng, helped, [other], seed, OFFLINE).blocks[0] for _ in range(300)} == everything - {"gate"}


def test_matings_are_uniform_over_the_live_blocks_that_differ(seed, changed):
    rng = random.Random(4)
    recipes = [draw_mating(rng, seed, changed, seed, OFFLINE) for _ in range(1000)]
    assert_uniform([r.blocks[0] for r in recipes], ["gate", "Net"])
    assert {(r.operator, r.parents) for r in recipes} == {("mate", (SEED_ID, "changed"))}


def test_parents_without_a_live_difference_are_not_mated(helpers, seed, only_dead):
    changes = (("def gate(x): x += 1; return x", "def gate(x):\n    'Doc.'\n    x += 1\n    return x  # same"),)
    reworded = person(helpers, "reworded", *changes)
    for other in (seed, only_dead, reworded):
        assert draw_mating(random.Random(0), seed, other, seed, OFFLINE) is None
        assert draw_mating(random.Random(0), other, seed, seed, OFFLINE) is None


def test_a_difference_in_a_block_that_is_dead_in_either_parent_is_no_reason_to_mate(helpers, seed):
    changes = ("part = gate", "part = 0"), ("gate(x): x += 1; return x", "gate(x): x += 1; return 7")
    unplugged = person(helpers, "unplugged", *changes)
    rng = random.Random(5)
    assert {draw_mating(rng, seed, unplugged, seed, OFFLINE).blocks[0] for _ in range(50)} == {"Net"}
    assert {draw_mating(rng, unplugged, seed, seed, OFFLINE).blocks[0] for _ in range(50)} == {"Net"}


def test_thoughts_are_uniform_over_elites_their_changes_and_the_other_blocks(seed, gated, changed):
    rng = random.Random(6)
    recipes = [draw_eot(rng, seed, [gated, seed, changed], seed, OFFLINE) for _ in range(2000)]
    assert_uniform([r.elite for r in recipes], ["gated", "changed"])
    others = {example: [name for name in LIVE if name != example] for example in ("gate", "Net")}
    first = [r.blocks[0] for r in recipes if r.elite == "gated"]
    assert_uniform(first, others["gate"])
    second = [(r.example, r.blocks[0]) for r in recipes if r.elite == "changed"]
    assert_uniform(second, [(example, target) for example, targets in others.items() for target in targets])
    assert {(r.operator, r.parents) for r in recipes} == {("eot", (SEED_ID,))}


@pytest.mark.parametrize("elites", [[], ["seed"], ["only_dead"], ["seed", "only_dead"]])
def test_without_an_elite_that_has_a_live_change_there_is_no_thought(elites, seed, only_dead):
    people = {"seed": seed, "only_dead": only_dead}
    assert draw_eot(random.Random(0), seed, [people[name] for name in elites], seed, OFFLINE) is None


def test_without_another_block_to_rewrite_there_is_no_thought(seed, gated):
    frozen = frozenset({"Net", "build_optimizer", "unused", "build_model"})
    alone = replace(seed, genome=Genome(seed.genome.files, frozen))
    assert draw_eot(random.Random(0), alone, [gated], seed, OFFLINE) is None


def test_thoughts_over_the_whole_name_an_elite_and_no_block(seed, gated, changed, only_dead):
    rng = random.Random(11)
    recipes = [draw_eot(rng, gated, [gated, seed, changed, only_dead], seed, OFFLINE, whole=True) for _ in range(400)]
    assert {r.elite for r in recipes} == {"changed"}  # its own change teaches a parent nothing
    assert draw_eot(rng, gated, [gated, seed], seed, OFFLINE, whole=True) is None
    assert {(r.operator, r.parents, r.blocks, r.example) for r in recipes} == {("eot", ("gated",), (), None)}
    assert draw_eot(rng, gated, [seed, only_dead], seed, OFFLINE, whole=True) is None


def test_half_of_the_thoughts_are_over_the_whole_unless_one_block_is_asked_for(seed, gated):
    context = DrawContext(random.Random(13), None, OFFLINE, seed, seed, elites=[gated])
    assert_uniform([bool(OPERATORS["eot"].draw(context).blocks) for _ in range(1000)], [True, False])
    assert all(OPERATORS["eot"].draw(replace(context, single_block=True)).blocks for _ in range(50))


def test_without_a_partner_nothing_is_mated_or_spliced(seed, changed):
    context = DrawContext(random.Random(0), None, OFFLINE, seed, changed)
    assert OPERATORS["mate"].draw(context) is None and OPERATORS["splice"].draw(context) is None


def test_where_blocks_have_their_turn_one_of_the_least_drawn_is_drawn(seed, prompts):
    counts = dict.fromkeys(LIVE, 2) | {"Net": 1}
    rng = random.Random(14)
    assert {draw_mutation(rng, seed, seed, prompts, OFFLINE, block_counts=counts).blocks for _ in range(50)} == {("Net",)}


def test_three_of_four_rewrites_are_free_and_the_others_play_every_prompt_alike(seed, prompts):
    rng = random.Random(12)
    recipes = [draw_rewrite(rng, seed, seed, prompts, SAMPLING) for _ in range(4000)]
    assert {(r.operator, r.parents, r.blocks) for r in recipes} == {("rewrite", (SEED_ID,), ())}
    assert_uniform([n % 3 if r.directive is None else 3 for n, r in enumerate(recipes)], range(4))  # each in one of four cases
    asked = [(r.directive, r.role) for r in recipes if r.directive]
    assert_uniform(asked, list(product(prompts.directives, [None, *prompts.roles])))
    assert {r.role for r in recipes if r.directive is None} == {None}


def test_the_same_generator_draws_the_same(seed, gated, changed, prompts):
    def drawn(number):
        rng = random.Random(number)
        return [
            (
                draw_mutation(rng, seed, seed, prompts, SAMPLING),
                draw_mating(rng, gated, changed, seed, SAMPLING),
                draw_eot(rng, seed, [gated, changed], seed, SAMPLING),
                draw_eot(rng, seed, [gated, changed], seed, SAMPLING, whole=True),
                draw_rewrite(rng, seed, seed, prompts, SAMPLING),
                draw_splice(rng, seed, changed, seed),
            )
            for _ in range(20)
        ]

    assert drawn(7) == drawn(7)
    assert drawn(7) != drawn(8)


def test_how_llms_are_asked_is_drawn_from_the_ranges_with_both_ends():
    rng = random.Random(9)
    drawn = [SAMPLING.draw(rng) for _ in range(3000)]
    assert_uniform([d["max_tokens"] for d in drawn], [600, 601, 602])
    temperatures = [d["temperature"] for d in drawn]
    assert min(temperatures) >= 0.05
    assert max(temperatures) <= 0.4
    assert_uniform([min(int((t - 0.05) / 0.07), 4) for t in temperatures], range(5))
    assert len({d["seed"] for d in drawn}) > 2990


def test_what_has_no_range_is_left_to_the_provider():
    drawn = OFFLINE.draw(random.Random(0))
    assert (drawn["model"], drawn["temperature"], drawn["max_tokens"]) == ("offline", None, None)


def test_rules_alone_are_given_the_blocks_that_some_rule_fits(helpers, seed):
    fitting = person(helpers, "fitting", ("part = gate", "part = [gate, nn.Dropout(0.1)]"))

    def blocks(parent, models):
        return DrawContext(random.Random(0), None, Sampling(models), seed, parent).evolvable_blocks

    assert blocks(fitting, ("offline",)) == ["Net"]
    assert blocks(fitting, ("offline", "one")) == blocks(fitting, ("one",)) == LIVE
    assert blocks(seed, ("offline",)) == LIVE  # none fits

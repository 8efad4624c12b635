"""Changes of several individuals in one program: which gains count, which fit together, and what comes of them."""

import random
from dataclasses import replace

import pytest
import torch

from agent.core.noise import Noise
from agent.core.objectives import Fitness, Objective
from agent.core.paths import seeds_folder
from agent.genome import Editor, Genome, read_genome
from agent.llm import Request
from agent.llm.backends.offline import OfflineModel
from agent.operators import OPERATORS, Brief, Context, DrawContext, Sampling
from agent.operators.changes import Measured, expected_of, interaction
from agent.population.candidate import SEED_ID, Candidate, Individual, Recipe

OBJECTIVES = (Objective("accuracy", "max"), Objective("parameters", "min"))
NOISE = Noise({"accuracy": 0.01, "parameters": 0.0}, {"accuracy": 0.8, "parameters": 1000.0})
ASSEMBLE, COMBINE = OPERATORS["assemble"], OPERATORS["combine"]
SMOOTH = ("F.relu(", "F.silu(")
"""In `Stage`."""
DROPLESS = ("nn.Dropout(0.1)", "nn.Dropout(0.0)")
"""In `TinyCNN`."""
STEADY = ("weight_decay=0.01", "weight_decay=0.1")
"""In `build_optimizer`."""


@pytest.fixture(scope="module")
def editor():
    editor = Editor(seconds=30.0)
    yield editor
    editor.close()


class Lab:
    """Programs made of others by replacing text, with measurements in sigmas above the seed."""

    def __init__(self, source=None):
        genome = read_genome(seeds_folder() / "tiny_cnn", ["model.py"], ["build_model"])
        self.genome = genome.with_same_rules({"model.py": source}) if source else genome
        self.seed = Individual(Candidate(SEED_ID, 0), self.genome, Fitness({"accuracy": 0.8, "parameters": 1000.0}))
        self.individuals = {SEED_ID: self.seed}
        self.measured = Measured(self.individuals, OBJECTIVES, NOISE)
        self.together = []

    def add(self, id, *changes, of=SEED_ID, sigmas=0.0, parameters=1000.0):
        """`sigmas`: above the seed's mean."""
        text = self.individuals[of].genome.files["model.py"]
        for old, new in changes:
            assert old in text
            text = text.replace(old, new)
        fitness = Fitness({"accuracy": 0.8 + sigmas * 0.01, "parameters": parameters})
        candidate = Candidate(id, 1, (Recipe("mutate", (of,), (), "m", 1),))
        genome = self.genome.with_same_rules({"model.py": text})
        self.individuals[id] = Individual(candidate, genome, fitness, intention="better.")
        return self.individuals[id]

    def draw(self, operator, parent=SEED_ID, number=0, prompts=None):
        parent = self.individuals[parent]
        given = {"measured": self.measured, "together": tuple(self.together)}
        return operator.draw(DrawContext(random.Random(number), prompts, Sampling(("m",)), self.seed, parent, **given))

    def context(self):
        return Context(Brief("A test.", {}, OBJECTIVES, noise=NOISE), self.seed, dict(self.individuals))

    def assembled(self, editor, recipe):
        base = self.individuals[recipe.parents[0]].genome
        result = editor.apply(base, (), ASSEMBLE.answer(recipe, base, self.context()))
        assert isinstance(result, Genome), result.reasons
        return result

    def text(self, *changes):
        text = self.seed.genome.files["model.py"]
        for change in changes:
            text = text.replace(*change)
        return text


@pytest.fixture
def lab():
    return Lab()


def learns(genome):
    """Does the program train one step?"""
    torch.set_num_threads(1)
    space = {"__name__": "model"}
    exec(compile(genome.files["model.py"], "model.py", "exec"), space)
    model = space["build_model"](10, 1)
    optimizer, _ = space["build_optimizer"](model, 10)
    model(torch.rand(2, 1, 8, 8)).sum().backward()
    optimizer.step()
    return model(torch.rand(2, 1, 8, 8)).shape == (2, 10)


class TestAssembly:
    def test_the_largest_gains_come_together_in_the_parent(self, lab, editor):
        lab.add("a", SMOOTH, sigmas=4)
        lab.add("b", STEADY, sigmas=5)
        lab.add("luck", DROPLESS, sigmas=1.5)
        recipe = lab.draw(ASSEMBLE)
        assert (recipe.parents, recipe.blocks, recipe.sources, recipe.model) == (
            (SEED_ID, "b", "a"), ("build_optimizer", "Stage"), ("b", "a"), "",
        )  # fmt: skip
        assert ASSEMBLE.intention(recipe).endswith("build_optimizer of b; Stage of a; in seed")
        result = lab.assembled(editor, recipe)
        assert result.files["model.py"] == lab.text(SMOOTH, STEADY) and learns(result)
        assert expected_of(recipe, lab.measured)["accuracy"] == pytest.approx(9)

    def test_it_needs_two_gains_and_what_was_measured(self, lab):
        assert lab.draw(ASSEMBLE) is None
        lab.add("a", SMOOTH, sigmas=4)
        lab.add("same", ("F.relu(", "F.gelu("), sigmas=6)
        assert lab.draw(ASSEMBLE) is None  # both are of the same block
        unseen = DrawContext(random.Random(0), None, Sampling(("m",)), lab.seed, lab.seed)
        assert ASSEMBLE.draw(unseen) is None and COMBINE.draw(unseen) is None
        assert lab.draw(ASSEMBLE, "a") is None  # nothing fits in beside it
        lab.add("b", STEADY, sigmas=5)
        assert lab.draw(ASSEMBLE, "a").sources == ("b",)  # the parent itself is one of two gains

    def test_of_two_changes_of_a_block_the_better_one_is_taken(self, lab):
        lab.add("a", SMOOTH, sigmas=4)
        lab.add("better", ("F.relu(", "F.gelu("), sigmas=6)
        lab.add("b", STEADY, sigmas=5)
        assert lab.draw(ASSEMBLE).sources == ("better", "b")

    def test_smaller_counts_as_a_gain_but_not_at_the_cost_of_accuracy(self, lab):
        lab.add("small", ("width=16", "width=12"), sigmas=-1, parameters=600)
        lab.add("worse", ("width=16", "width=4"), sigmas=-9, parameters=100)
        lab.add("b", STEADY, sigmas=5)
        recipe = lab.draw(ASSEMBLE)
        assert {*recipe.sources} == {"b", "small"}
        gains = expected_of(recipe, lab.measured)
        assert gains["accuracy"] == pytest.approx(4) and gains["parameters"] == pytest.approx(5.36, abs=0.01)

    def test_several_single_changes_beat_one_rewrite_that_gains_less_than_their_sum(self, lab):
        lab.add("rewrite", ("F.relu(", "F.gelu("), ("weight_decay=0.01", "weight_decay=0.2"), sigmas=6)
        lab.add("a", SMOOTH, sigmas=4)
        lab.add("b", STEADY, sigmas=4)
        lab.add("c", DROPLESS, sigmas=4)
        assert lab.draw(ASSEMBLE).sources == ("a", "b", "c")
        lab.individuals["rewrite"] = replace(lab.individuals["rewrite"], fitness=Fitness({"accuracy": 0.9, "parameters": 1000.0}))
        recipe = lab.draw(ASSEMBLE)
        assert recipe.sources == ("rewrite", "rewrite", "c") and {*recipe.blocks[:2]} == {"Stage", "build_optimizer"}

    def test_a_change_on_a_changed_parent_counts_alone_or_with_that_of_its_parent(self, lab, editor):
        lab.add("a", SMOOTH, sigmas=4)
        lab.add("ab", STEADY, of="a", sigmas=9)  # another block: the gain of the step alone, 5
        lab.add("aa", ("F.silu(", "F.gelu("), of="a", sigmas=10)  # the same block: 10 since the seed
        recipe = lab.draw(ASSEMBLE)
        assert recipe.sources == ("aa", "ab")
        assert expected_of(recipe, lab.measured)["accuracy"] == pytest.approx(15)
        assert lab.assembled(editor, recipe).files["model.py"] == lab.text(("F.relu(", "F.gelu("), STEADY)

    def test_a_change_that_does_not_fit_the_parent_is_left_out(self, lab):
        lab.add("rewrite", ("F.relu(", "F.gelu("), DROPLESS, sigmas=9)
        lab.add("a", SMOOTH, sigmas=4)
        lab.add("b", STEADY, sigmas=5)
        assert lab.draw(ASSEMBLE, "rewrite").sources == ("b",)  # its own Stage was measured as a part of the rewriting

    def test_known_programs_are_not_built_again_but_the_next_best(self, lab):
        lab.add("a", SMOOTH, sigmas=8)
        lab.add("b", STEADY, sigmas=8)
        lab.add("c", DROPLESS, sigmas=3)
        first = lab.draw(ASSEMBLE)
        assert {*first.sources} == {"a", "b", "c"}
        lab.together.append(first)
        second = lab.draw(ASSEMBLE)  # while the first is not measured yet
        assert {*second.sources} == {"a", "b"}
        lab.add("ab", SMOOTH, STEADY, sigmas=7)  # the same program by another way
        assert lab.draw(ASSEMBLE) is None
        lab.together.clear()
        assert {*lab.draw(ASSEMBLE).sources} >= {"c"}

    def test_helpers_constants_and_imports_come_along(self, lab, editor):
        helper = ("class Stage(", "HALF = math.pi / 2\n\n\ndef squash(x): return F.silu(HALF * x)\n\n\nclass Stage(")
        lab.add("a", ("import torch\n", "import math\nimport torch\n"), helper, ("F.relu(", "squash("), sigmas=4)
        lab.add("b", STEADY, sigmas=5)
        recipe = lab.draw(ASSEMBLE)
        assert {*recipe.blocks} == {"Stage", "build_optimizer"}
        result = lab.assembled(editor, recipe)
        assert learns(result) and "HALF * x" in result.files["model.py"] and "import math" in result.files["model.py"]
        lab.individuals["both"] = replace(lab.add("both", SMOOTH), genome=result)
        assert lab.draw(ASSEMBLE) is None  # known, although the editor put the helper where it likes

    def test_two_helpers_of_one_name_are_kept_apart(self, lab):
        lab.add("a", ("class Stage(", "def mix(x): return 2 * x\n\n\nclass Stage("), ("F.relu(", "mix("), sigmas=6)
        other = "def mix(rate): return rate / 2\n\n\ndef build_optimizer("
        lab.add("b", ("def build_optimizer(", other), ("lr=0.005", "lr=mix(0.005)"), sigmas=5)
        lab.add("c", DROPLESS, sigmas=4)
        assert lab.draw(ASSEMBLE).sources == ("a", "c")

    def test_a_change_of_a_constant_is_not_taken_apart(self):
        lab = Lab(Lab().text(("class Stage(", "SLOPE = 1.0\n\n\nclass Stage("), ("F.relu(", "F.relu(SLOPE * ")))
        lab.add("a", ("SLOPE = 1.0", "SLOPE = 2.0"), ("ceil_mode=True", "ceil_mode=False"), sigmas=8)
        lab.add("b", STEADY, sigmas=5)
        lab.add("c", DROPLESS, sigmas=4)
        assert {*lab.draw(ASSEMBLE).sources} == {"b", "c"}

    def test_a_change_of_a_block_that_another_change_makes_unused_is_not_assembled(self, lab):
        lab.add("a", SMOOTH, sigmas=8)
        plain = [(f"Stage({sizes})", f"nn.Conv2d({sizes}, 3)") for sizes in ("in_channels, width", "width, 2 * width")]
        lab.add("without", *plain, sigmas=6)
        lab.add("b", STEADY, sigmas=7)
        assert lab.draw(ASSEMBLE).sources == ("a", "b")

    def test_frozen_blocks_stay(self, lab):
        lab.add("a", SMOOTH, sigmas=4)
        lab.add("b", STEADY, sigmas=5)
        lab.add("c", DROPLESS, sigmas=6)
        frozen = replace(lab.seed, genome=replace(lab.genome, frozen=frozenset({"build_model", "Stage"})))
        given = {"measured": lab.measured}
        recipe = ASSEMBLE.draw(DrawContext(random.Random(0), None, Sampling(("m",)), lab.seed, frozen, **given))
        assert {*recipe.sources} == {"b", "c"}


class TestCombination:
    def test_it_shows_the_largest_gains_that_the_parent_lacks(self, lab, prompts):
        lab.add("a", SMOOTH, sigmas=4)
        lab.add("b", STEADY, sigmas=5, parameters=500.0)
        lab.add("ac", DROPLESS, of="a", sigmas=7)
        recipe = lab.draw(COMBINE, "a")
        assert (recipe.parents, recipe.blocks, recipe.sources, recipe.model) == (("a",), (), ("b", "ac"), "m")
        lab.together.append(recipe)
        again = {lab.draw(COMBINE, number=n).sources for n in range(20)}
        assert len(again) == 1  # of the seed this was not drawn yet
        _, user = COMBINE.prompt(prompts, recipe, lab.individuals["a"].genome, lab.context())
        assert "they would bring accuracy +8.0 sigma, parameters -50.0% over the program above" in user.text
        assert "### Change 2: `ac`\n\n" in user.text
        assert "It changed `TinyCNN` of `a`, which brought accuracy +3.0 sigma, parameters same." in user.text
        assert "+        self.dropout = nn.Dropout(0.0)" in user.text and "blocks in common" not in user.text

    def test_changes_of_the_same_block_are_alternatives(self, lab, prompts):
        lab.add("a", SMOOTH, sigmas=4)
        lab.add("more", ("F.relu(", "F.gelu("), DROPLESS, sigmas=6)
        recipe = lab.draw(COMBINE)
        assert recipe.sources == ("more", "a")
        _, user = COMBINE.prompt(prompts, recipe, lab.genome, lab.context())
        assert "they would bring accuracy +6.0 sigma" in user.text
        assert "Some have blocks in common; of these only the largest is in the sum: `more`, `a`." in user.text

    def test_a_long_change_is_cut(self, lab, prompts):
        comments = "".join(f"# line {n} of a long comment\n" for n in range(900))
        lab.add("long", ("class Stage(", f"{comments}class Stage("), SMOOTH, sigmas=4)
        lab.add("b", STEADY, sigmas=5)
        _, user = COMBINE.prompt(prompts, lab.draw(COMBINE), lab.genome, lab.context())
        assert len(user.text) < 12_000 and "more lines ...]" in user.text

    def test_the_offline_model_puts_together_what_fits(self, lab, prompts, editor):
        lab.add("a", SMOOTH, sigmas=4)
        lab.add("b", STEADY, sigmas=5)
        messages = COMBINE.prompt(prompts, lab.draw(COMBINE), lab.genome, lab.context())
        answer = OfflineModel().complete(Request(messages, 1)).text
        assert answer.startswith("Intention: put together what b and a changed.")
        assert editor.apply(lab.genome, (), answer).files["model.py"] == lab.text(SMOOTH, STEADY)

    def test_a_recipe_of_something_else_is_refused(self, lab, prompts):
        with pytest.raises(ValueError, match="whose changes it shows"):
            COMBINE.prompt(prompts, Recipe("combine", (SEED_ID,), (), "m", 1), lab.genome, lab.context())


@pytest.mark.parametrize("operator", [ASSEMBLE, COMBINE])
def test_what_came_is_compared_with_the_sum(lab, operator):
    lab.add("a", SMOOTH, sigmas=4, parameters=900.0)
    lab.add("b", STEADY, sigmas=5)
    recipe = lab.draw(operator)
    outcome = replace(lab.add("c", sigmas=4, parameters=900.0), candidate=Candidate("c", 2, (recipe,)))
    assert interaction(outcome, lab.measured) == (
        f"expected accuracy +9.0 sigma, parameters -10.0% from {recipe.sources[0]} and {recipe.sources[1]} together, "
        "came accuracy +4.0 sigma, parameters -10.0%"
    )
    assert interaction(lab.individuals["a"], lab.measured) == ""


def test_noise_is_taken_off_a_gain_and_more_trainings_take_off_less(lab):
    once = lab.add("a", SMOOTH, sigmas=4)
    often = replace(once, readings=(once.fitness,) * 4)
    assert 2.5 < lab.measured.value(once, lab.seed) < lab.measured.value(often, lab.seed) < 4
    assert lab.measured.value(lab.add("luck", STEADY, sigmas=2), lab.seed) == 0


def test_without_measured_noise_nothing_may_be_worse(lab):
    small = lab.add("small", SMOOTH, sigmas=-20, parameters=100)
    better = lab.add("better", STEADY, sigmas=4)
    unmeasured = Measured(lab.individuals, OBJECTIVES, Noise.unmeasured(lab.seed.fitness, OBJECTIVES))
    assert unmeasured.value(small, lab.seed) == 0 < unmeasured.value(better, lab.seed)

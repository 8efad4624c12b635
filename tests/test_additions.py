"""What the contributing guide says is needed to add something is all that is needed: each is tried in a copy of the sources."""

import json

import pytest

OPERATOR = '''\
"""Simplification: rewrite one block with less code."""

from __future__ import annotations

from dataclasses import dataclass

from agent.core.text import fence
from agent.genome import Genome
from agent.llm import Message
from agent.operators.compare import bare_name
from agent.operators.context import Context
from agent.operators.operator import DrawContext
from agent.operators.prompt_parts import conversation, rules_for_block, surroundings
from agent.operators.situation import situation
from agent.operators.templates import Prompts
from agent.population.candidate import Recipe


@dataclass(frozen=True)
class Simplify:
    name: str = "simplify"
    noun: str = "simplification"
    share: float = 0.1

    def draw(self, context: DrawContext) -> Recipe | None:
        block = context.rng.choice(context.evolvable_blocks)
        return Recipe(self.name, (context.parent.id,), (block,), **context.sampling.draw(context.rng))

    def prompt(self, prompts: Prompts, recipe: Recipe, base: Genome, context: Context) -> tuple[Message, ...]:
        (target,) = recipe.blocks
        text = prompts.parts["simplify"].fill(
            situation=situation(prompts, base, context, context.individuals[recipe.parents[0]]),
            surroundings=surroundings(prompts, base, target, {target: "the block to rewrite, see below"}),
            block=bare_name(target),
            source=fence(base.block(target).source, "python"),
            rules=rules_for_block(prompts, recipe, base),
        )
        return conversation(prompts, recipe.role, text)
'''
TEMPLATE = """\
$situation

$surroundings

## Block to rewrite: `$block`

$source

Remove from this block whatever does not earn its place.

$rules
"""
ROW = "| `simplify.md` | rewrite one block with less code | `situation`, `surroundings`, `block`, `source`, `rules` |"


@pytest.mark.slow
def test_an_operator_is_a_file_a_template_and_a_line(scratch_copy):
    scratch_copy.write("agent/operators/simplify.py", OPERATOR)
    scratch_copy.write("prompts/simplify.md", TEMPLATE)
    scratch_copy.insert("prompts/README.md", "| `repair.md`", ROW)
    registry = "agent/operators/__init__.py"
    scratch_copy.insert(registry, "from agent.operators.splice", "from agent.operators.simplify import Simplify")
    scratch_copy.insert(registry, "Splice(),", "Simplify(),")
    sizes = ("search.first_population=1", "search.population=2", "search.generations=2", "noise.trainings=0", "budget.epochs=1")
    settings = [part for one in ("search.operators={simplify=1.0}", *sizes) for part in ("--set", one)]
    scratch_copy.evolve("run", "seeds/tiny_cnn", "--llm", "offline", "--out", "run", *settings)

    arms = json.loads(scratch_copy.evolve("show", "run", "--arms", "--json"))
    assert {arm["name"]: arm["children"] for arm in arms["operators"]} == {"mutate": 1, "simplify": 4}
    assert "simplify" in scratch_copy.evolve("show", "run", "--arms")
    status = json.loads(scratch_copy.evolve("status", "run", "--json"))
    assert status["state"] == "finished" and status["counts"]["proposed"] == 5
    listed = json.loads(scratch_copy.evolve("show", "run", "--json"))
    ids = [one["id"] for one in listed if one["operator"] == "simplify"]
    asked = [json.loads(scratch_copy.evolve("show", "run", id, "--json"))["prompt"] for id in ids]
    assert all("whatever does not earn its place" in str(prompt) for prompt in asked)
    assert any("simplification of `" in str(prompt) for prompt in asked)  # a lesson of an earlier candidate

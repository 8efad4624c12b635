"""Assembly: put the strongest measured changes into one program. No model is asked: this module writes the answer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from agent.genome import Genome, bare_name
from agent.operators.changes import Change, Measured, best_sets
from agent.operators.context import Context
from agent.operators.operator import DrawContext
from agent.operators.splice import blocks_as_answer
from agent.operators.transplant import compatible, essence, grafts, is_whole, put_together
from agent.population.candidate import Individual, Recipe

MAX_CHANGES = 10
"""So many changes are considered: there are a thousand sets of ten."""
MAX_SETS = 64
"""So many sets are tried, until one makes a program that uses all its blocks and is new."""
LEAST_VALUE = 0.8
"""If the best set is known already, another one is taken as long as its value is at least this share of the best one's."""


@dataclass(frozen=True)
class Assemble:
    """Each of the recipe's blocks comes from its source, with the helpers and imports that it needs; all else is the parent's."""

    name: str = "assemble"
    noun: str = "assembly"
    share: float = 0.03

    def draw(self, context: DrawContext) -> Recipe | None:
        """A recipe with the set of changes that gained most together, each measured alone, and whose program is new.

        None unless two gains beyond the noise come together, of which the parent itself may be one.
        """
        measured, parent = context.measured, context.parent
        if measured is None:
            return None
        known = {essence(one.genome) for one in measured.individuals.values()}
        known |= {essence(_program(measured.individuals, recipe)) for recipe in context.together if recipe.blocks}
        for given, program in _programs(parent, context.seed, measured):
            if essence(program) not in known:
                blocks, sources = tuple(name for _, name in given), tuple(giver.id for giver, _ in given)
                parents = tuple(dict.fromkeys((parent.id, *sources)))
                return Recipe(self.name, parents, blocks, model="", seed=context.rng.randrange(2**31), sources=sources)
        return None

    def intention(self, recipe: Recipe) -> str:
        named = {giver: [bare_name(name) for id, name in _given(recipe) if id == giver] for giver in recipe.sources}
        parts = [f"{', '.join(names)} of {giver}" for giver, names in named.items()]
        return f"what gained most alone, together: {'; '.join(parts)}; in {recipe.parents[0]}"

    def answer(self, recipe: Recipe, base: Genome, context: Context) -> str:
        if not recipe.blocks:
            raise ValueError("an assembly needs the names of the blocks, and of each the individual that gives it")
        return blocks_as_answer([(context.individuals[id].genome, name) for id, name in _given(recipe)], base)


def _programs(parent: Individual, seed: Individual, measured: Measured) -> Iterator[tuple[list[tuple[Individual, str]], Genome]]:
    """Yield the blocks that changes give to the parent, each as (giver, block), and the program that they make of it.

    The best set of changes first, then others as long as they are nearly as good.
    """
    found = {id(graft.change): graft for graft in grafts(parent, seed, measured, MAX_CHANGES)}

    def fit(a: Change, b: Change) -> bool:
        return compatible(found[id(a)], found[id(b)])

    least = 0.0
    sets = best_sets([graft.change for graft in found.values()], 1 if _has_gained(parent, seed, measured) else 2, fit)
    for changes in sets[:MAX_SETS]:
        value = sum(change.value for change in changes)
        if value < least:
            return
        given = [(change.giver, name) for change in changes for name in change.blocks]
        program = put_together(parent.genome, [(giver.genome, name) for giver, name in given])
        if is_whole(program, [name for _, name in given]):
            least = least or LEAST_VALUE * value
            yield given, program


def _has_gained(parent: Individual, seed: Individual, measured: Measured) -> bool:
    """Whether the parent is a gain itself, over its own parent or over the seed."""
    grown = measured.parent(parent)
    return bool(grown and (measured.value(parent, grown) or measured.value(parent, seed)))


def _given(recipe: Recipe) -> list[tuple[str, str]]:
    """(id of the individual, name of the block that it gives)"""
    return [*zip(recipe.sources, recipe.blocks, strict=True)]


def _program(individuals: Mapping[str, Individual], recipe: Recipe) -> Genome:
    """The program that a recipe of this operator makes."""
    base = individuals[recipe.parents[0]].genome
    return put_together(base, [(individuals[id].genome, name) for id, name in _given(recipe)])

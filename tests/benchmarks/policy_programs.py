"""Programs on the landscape of `policy_landscape.py`: real genomes, so that the search's own code draws, edits and compares them.

Each block is a function whose number names its version; the world knows the strength and the size of every version. The
answer of a model is simulated; a splice or an assembly puts together the versions that its recipe names.
"""

from __future__ import annotations

import random
import sys
from dataclasses import dataclass, replace
from functools import lru_cache

from policy_landscape import ACCURACY, LARGEST, PARAMETERS, SIGMA, Fit

from agent.core.noise import Noise
from agent.core.objectives import Fitness, Objective
from agent.core.worth import WorthScale
from agent.genome import Block, Genome
from agent.population.candidate import SEED_ID, Candidate, Evidence, Failure, Individual, Recipe, Variant

OBJECTIVES = (Objective("accuracy", "max"), Objective("parameters", "min"))
NOISE = Noise({"accuracy": SIGMA, "parameters": 0.0}, {"accuracy": ACCURACY, "parameters": float(PARAMETERS)})
SCALE = WorthScale.of(OBJECTIVES, NOISE)
PARTS = ("FeatureBlock", "Concentrator", "ExtremeExpansion", "MaxExpansion", "ChannelGate", "min_pool")
"""Blocks that the seed's `Net` uses."""
BLOCKS = ("build_optimizer", "Net", *PARTS)
KEEPS = 0.5
"""Share of the rewritten nets that still use the seed's blocks."""
TOUCHED = {"build_optimizer": 0.8, "Net": 1.0, **dict.fromkeys(PARTS, 0.35)}
"""How often a rewriting changes a block."""
WEIGHT = {"build_optimizer": 2.0, "Net": 3.0, **dict.fromkeys(PARTS, 0.7)}
"""How a rewriting's gain divides among the blocks that it changed."""
BUILD_MODEL = Block("build_model", "model.py", "function", "def build_model():\n    return Net()\n")
EMPTY = Genome({}, frozenset({"build_model"}))
PREFIX = f"{sys.version_info[0]}.{sys.version_info[1]}-"


@lru_cache(maxsize=4096)
def _block(name: str, number: int, alone: bool) -> Block:
    """The function of one version of a block; `min_pool` has one statement, as the task's. `alone`: whether `Net` leaves the
    seed's blocks out."""
    uses = "" if name != "Net" or alone else ", " + ", ".join(f"{part}()" for part in PARTS)
    body = f"return {number}" if name == "min_pool" else f"version = {number}{uses}\n    return version"
    source = f"def {name}():\n    {body}\n"
    return Block.with_meanings(name, "model.py", "function", source, meanings=(source,))


@dataclass(frozen=True)
class Version:
    strength: float = 0.0
    size: float = 0.0
    changes: int = 0
    """How often the block was changed since the seed's version."""
    alone: bool = False
    """Of `Net`: does not use the seed's blocks."""


@dataclass(frozen=True)
class Program:
    versions: tuple[int, ...]
    """Of each of `BLOCKS`."""
    joint: float = 0.0
    """Strength that no block has by itself: the interaction of parts that did not come together."""

    def of(self, block: str) -> int:
        return self.versions[BLOCKS.index(block)]

    def having(self, new: dict[str, int], joint: float = 0.0) -> Program:
        versions = tuple(new.get(block, old) for block, old in zip(BLOCKS, self.versions, strict=True))
        return Program(versions, self.joint + joint)


class World:
    """All versions and programs of one simulated run. `rng`: of the world alone, never the search's."""

    def __init__(self, fit: Fit, rng: random.Random) -> None:
        self.fit, self.rng = fit, rng
        self._level = fit.rewrite_level.draw(rng)
        self._typical = fit.rewrite_size.draw(rng)
        self._versions = [Version()]
        self._genomes: dict[tuple[int, ...], Genome] = {}
        self.programs: dict[str, Program] = {SEED_ID: Program((0,) * len(BLOCKS))}
        self._joints: dict[tuple[int, ...], float] = {}
        self.truth: dict[str, Fitness] = {}
        """The fitness without noise of every trained program, by id."""
        self.seed = self.train(Candidate(SEED_ID, 0), self.programs[SEED_ID], noisy=False)

    def train(self, candidate: Candidate, program: Program, changed: tuple[str, ...] = (), *, noisy: bool = True) -> Individual:
        """The individual that its training gives."""
        strength, size = self.measure(program)
        accuracy = self.fit.accuracy(self.fit.quality(strength), size)
        parameters = float(round(PARAMETERS / 1.1**size))
        self.programs[candidate.id] = program
        self._joints.setdefault(program.versions, program.joint)
        self.truth[candidate.id] = _fitness(accuracy, parameters)
        fitness = _fitness(accuracy + self.rng.gauss(0, 1), parameters) if noisy else self.truth[candidate.id]
        evidence = Evidence(seconds={"fit": 20.0})
        return Individual(candidate, self.genome(program), fitness, evidence, "a change", changed)

    def variant(self, candidate: Candidate) -> tuple[Variant, Program] | Failure:
        """The program that a candidate's recipes give."""
        program = base = self.programs[candidate.recipes[0].parents[0]]
        for recipe in candidate.recipes:
            if recipe.model and self.rng.random() < self.fit.failures:
                return Failure(candidate, "fit", "RuntimeError: shapes do not match.", genome=self.genome(program))
            program = self.apply(recipe, program)
        self._joints.setdefault(program.versions, program.joint)
        if self.measure(program)[1] < LARGEST:
            return Failure(candidate, "contract", "It has too many parameters.", genome=self.genome(program))
        changed = tuple(b for b, old, new in zip(BLOCKS, base.versions, program.versions, strict=True) if old != new)
        return Variant(candidate, self.genome(program), "a change", None, changed), program

    def apply(self, recipe: Recipe, base: Program) -> Program:
        """Raises KeyError for an operator that this landscape has no model of."""
        simulated = {
            "mutate": self._mutate,
            "rewrite": self._rewrite,
            "eot": self._think,
            "edit": self._edit,
            "mate": self._mate,
            "splice": self._put_together,
            "assemble": self._put_together,
            "combine": self._combine,
        }
        return simulated[recipe.operator](recipe, base)

    def measure(self, program: Program) -> tuple[float, float]:
        """(strength, steps of size) of a program."""
        used = program.versions[:2] if self._versions[program.of("Net")].alone else program.versions
        known = [self._versions[number] for number in used]
        return sum(v.strength for v in known) + program.joint, sum(v.size for v in known)

    def quality(self, program: Program) -> float:
        return self.fit.quality(self.measure(program)[0])

    def genome(self, program: Program) -> Genome:
        """With what the product computes in its editor's process computed here, so that nothing is parsed."""
        if program.versions not in self._genomes:
            numbers = dict(zip(BLOCKS, program.versions, strict=True))
            alone = self._versions[numbers["Net"]].alone
            blocks = [*(_block(name, number, alone) for name, number in numbers.items()), BUILD_MODEL]
            live = frozenset(["build_model", *(BLOCKS[:2] if alone else BLOCKS)])
            text = "\n\n".join(block.source for block in blocks)
            made = EMPTY.with_precomputed({"model.py": text}, f"{PREFIX}{program.versions}", all_blocks=tuple(blocks))
            vars(made)["live_names"] = live
            self._genomes[program.versions] = made
        return self._genomes[program.versions]

    def _add(self, version: Version) -> int:
        self._versions.append(version)
        return len(self._versions) - 1

    def _changed(self, number: int, strength: float, size: float) -> int:
        old = self._versions[number]
        return self._add(replace(old, strength=old.strength + strength, size=old.size + size, changes=old.changes + 1))

    def _mutate(self, recipe: Recipe, base: Program) -> Program:
        (block,) = recipe.blocks
        strength, size = self.fit.blocks[block]
        number = base.of(block)
        fresh = 0.5 ** self._versions[number].changes  # the obvious was done the first time
        gain = self.rng.gauss(strength.mean * fresh, strength.sd)
        return base.having({block: self._changed(number, gain, self.rng.gauss(size.mean * fresh, size.sd))})

    def _rewrite(self, recipe: Recipe, base: Program) -> Program:
        fit, rng, before = self.fit, self.rng, self.measure(base)[1]
        if fit.first and fit.first_size and base == self.programs[SEED_ID]:
            quality, size = fit.first.draw(rng), fit.first_size.draw(rng)
        else:
            of_parent = fit.rewrite_slope * self.quality(base) + fit.rewrite_size_effect * before
            quality = self._level + of_parent + rng.gauss(0, fit.rewrite_spread)
            size = self._typical + fit.rewrite_size_slope * before + rng.gauss(0, fit.rewrite_size_spread)
        return self._rewritten(base, fit.strength(quality), max(LARGEST, size))

    def _rewritten(self, base: Program, strength: float, size: float) -> Program:
        """The whole program with another strength and size, changed in several blocks."""
        rng = self.rng
        net = self._versions[base.of("Net")]
        alone = net.alone or rng.random() >= KEEPS
        base = base.having({"Net": self._add(replace(net, alone=alone))})
        live = BLOCKS[:2] if alone else BLOCKS
        touched = [block for block in live if rng.random() < TOUCHED[block]]
        before, before_size = self.measure(base)
        total = sum(WEIGHT[block] for block in touched)
        shaping = sum(WEIGHT[block] for block in touched if block != "build_optimizer")
        new = {}
        for block in touched:
            share = 0.0 if block == "build_optimizer" else WEIGHT[block] / shaping
            gain = (strength - before) * WEIGHT[block] / total
            new[block] = self._changed(base.of(block), gain, (size - before_size) * share)
        return base.having(new)

    def _changed_a_little(self, base: Program, gain: float, size: float) -> Program:
        """A change of a whole program that keeps most of it: the optimizer or the net."""
        block = "Net" if size or self.rng.random() < 0.6 else "build_optimizer"
        return base.having({block: self._changed(base.of(block), gain, max(size, LARGEST - self.measure(base)[1]))})

    def _think(self, recipe: Recipe, base: Program) -> Program:
        """The kind of change is recorded too rarely to tell one block from the whole program."""
        gain, size = self.fit.eot.draw(self.rng), self.fit.eot_size.draw(self.rng)
        if recipe.blocks and recipe.blocks[0] != "Net":
            block = recipe.blocks[0]
            return base.having({block: self._changed(base.of(block), gain, 0.0)})
        return self._changed_a_little(base, gain, size)

    def _edit(self, recipe: Recipe, base: Program) -> Program:
        return self._changed_a_little(base, self.fit.edit.draw(self.rng), self.fit.edit_size.draw(self.rng))

    def _mate(self, recipe: Recipe, base: Program) -> Program:
        (block,) = recipe.blocks
        other = self.programs[recipe.parents[1]]
        better = max(base.of(block), other.of(block), key=lambda number: self._versions[number].strength)
        gain = self.rng.gauss(0, self.fit.interaction)
        return base.having({block: self._changed(better, gain, 0.0)})

    def _put_together(self, recipe: Recipe, base: Program) -> Program:
        """The blocks of the recipe as its source of each has them; those of a splice come from its second parent."""
        givers = recipe.sources or recipe.parents[1:2] * len(recipe.blocks)
        program = base.having({block: self.programs[id].of(block) for block, id in zip(recipe.blocks, givers, strict=True)})
        if program.versions not in self._joints:  # the same versions have the same interaction whenever they meet
            return Program(program.versions, base.joint + self.rng.gauss(0, self.fit.interaction))
        return Program(program.versions, self._joints[program.versions])

    def _combine(self, recipe: Recipe, base: Program) -> Program:
        """All that its sources have better, block by block, as far as the model makes it work together."""
        works, new = max(0.0, self.fit.combine.draw(self.rng)), {}
        for id in recipe.sources:
            for block in self._better(base, self.programs[id]):
                old = self._versions[new.get(block, base.of(block))]
                other = self._versions[self.programs[id].of(block)]
                if other.strength > old.strength:
                    start = self._versions[base.of(block)]
                    gain = works * (other.strength - start.strength)
                    new[block] = self._changed(base.of(block), gain, other.size - start.size)
        return base.having(new, self.rng.gauss(0, self.fit.interaction))

    def _better(self, base: Program, other: Program) -> tuple[str, ...]:
        """The blocks that one program can take from another: of a net of its own kind only the optimizer."""
        nets = [self._versions[program.of("Net")] for program in (base, other)]
        if nets[0].alone != nets[1].alone:
            return BLOCKS[:1]
        return BLOCKS[:2] if nets[0].alone else BLOCKS


def _fitness(accuracy: float, parameters: float) -> Fitness:
    return Fitness({"accuracy": ACCURACY + SIGMA * accuracy, "parameters": parameters})

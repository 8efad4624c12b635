"""How long the memory takes for one variant, with 10,000 lessons in it. Prints JSON, times in milliseconds.

    python tests/benchmarks/memory.py [LESSONS]
"""

import json
import random
import statistics
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from agent.core.noise import Noise
from agent.core.objectives import Fitness, Objective
from agent.core.paths import seeds_folder
from agent.genome import read_genome
from agent.memory import Memory, kinds_in, lesson_of
from agent.population.candidate import SEED_ID, Candidate, Failure, Individual, Recipe

OBJECTIVES = (Objective("accuracy", "max"), Objective("parameters", "min"))
DIRECTIVES = ("complex", "parameters", "reduce_size", "significant", "uncommon", "uncommon_parameters")
BUDGET = 4_000
SAMPLES = 300


def new(parent, number, rng):
    """A candidate of the shipped seed with a few lines changed in one of its blocks, with made-up measurements."""
    block = rng.choice(parent.genome.live_blocks)
    lines = block.source.split("\n")
    for _ in range(rng.randint(1, 4)):
        at = rng.choice([n for n, line in enumerate(lines) if " = " in line or "return " in line])
        indent = lines[at][: len(lines[at]) - len(lines[at].lstrip())]
        lines.insert(at, f"{indent}layer{number} = nn.{rng.choice(('Conv2d', 'GELU', 'Dropout'))}({rng.random():.3f})")
    source = parent.genome.files[block.file].replace(block.source, "\n".join(lines))
    recipe = Recipe(rng.choice(("mutate", "eot")), (parent.id,), (block.name,), "m", 1, directive=rng.choice(DIRECTIVES))
    files = {**parent.genome.files, block.file: source}
    candidate, genome = Candidate(f"{number:05d}", 1, (recipe,)), parent.genome.with_same_rules(files)
    if rng.random() < 0.3:
        return Failure(candidate, "fit", f"RuntimeError: the size of tensor {number} does not match.", genome=genome)
    values = {"accuracy": rng.gauss(0.92, 0.01), "parameters": rng.randint(400_000, 600_000)}
    return Individual(candidate, genome, Fitness(values))


def timed(call, *arguments):
    began = time.perf_counter()
    result = call(*arguments)
    return (time.perf_counter() - began) * 1000, result


def main():
    size = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    rng = random.Random(0)
    genome = read_genome(seeds_folder() / "exquisitenet_v2", ("model.py",))
    parent = Individual(Candidate(SEED_ID, 0), genome, Fitness({"accuracy": 0.925, "parameters": 518_230}))
    noise = Noise({"accuracy": 0.002, "parameters": 0}, {"accuracy": 0.925, "parameters": 518_230})
    memory = Memory(OBJECTIVES, noise)
    kinds = {block.name: kinds_in(block.source) for block in genome.blocks}
    costs = {"lesson_of": [], "learn": [], "recall": []}
    facts = []
    for number in range(size):
        block = rng.choice(genome.live_blocks).name
        recalling, shown = timed(memory.recall, (block,), kinds[block], rng.choice(DIRECTIVES), BUDGET)
        outcome = new(parent, number, rng)
        answer = f"Intention: layer {number} mixes the channels.\nExpected effect: accuracy +0.01.\n"
        ids = [lesson.id for lesson in shown]
        making, lesson = timed(lesson_of, outcome, parent, answer, ids, OBJECTIVES, noise)
        learning, _ = timed(memory.learn, lesson)
        if number >= size - SAMPLES:
            for name, cost in (("lesson_of", making), ("learn", learning), ("recall", recalling)):
                costs[name].append(cost)
            facts.append(len(shown))
    report = {"lessons": len(memory), "recalled": statistics.median(facts), "budget_characters": BUDGET}
    for name, values in costs.items():
        report[f"{name}_median_ms"] = round(statistics.median(values), 3)
        report[f"{name}_worst_ms"] = round(max(values), 3)
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()

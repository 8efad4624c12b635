"""What the memory takes and what it tells. Prints JSON: the times of one candidate with 10,000 lessons, in milliseconds; and from
made-up histories of 40 and of 240 candidates, which lessons the prompts told and whether their credit is deserved.

    python tests/benchmarks/memory.py [LESSONS] [REPEATS]

In a history each lesson has a planted effect on the candidates that use it, which no credit is told. Not everyone who reads a
lesson uses it, and an answer names most of what it uses. Whole-program answers gain more than changes of one block, told or not.
"""

import json
import random
import statistics
import sys
import time
from collections import Counter, defaultdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from agent.core.noise import Noise
from agent.core.objectives import Fitness, Objective
from agent.core.paths import seeds_folder
from agent.genome import read_genome
from agent.memory import WARNINGS, Lesson, Memory, kinds_in, lesson_of
from agent.memory.lesson import verdict
from agent.population.candidate import SEED_ID, Candidate, Failure, Individual, Recipe

OBJECTIVES = (Objective("accuracy", "max"), Objective("parameters", "min"))
DIRECTIVES = ("complex", "parameters", "reduce_size", "significant", "uncommon", "uncommon_parameters")
BUDGET = 3_000
"""Characters of all lessons in a prompt, as `memory.characters` has it."""
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


def speed(size):
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
    return report


SHARES = {"rewrite": 0.35, "mutate": 0.35, "eot": 0.15, "splice": 0.15}
GAINS = {"rewrite": 2.5, "mutate": 0.5, "eot": 0.5, "splice": 0.0}
"""What a candidate gains by its operator alone, in sigmas."""
USED, NAMED, NAMED_UNUSED = 0.3, 0.8, 0.05
"""Shares of the lessons of a prompt that are used; of the used and of the unused ones that the answer names."""
LAST = 8


class History:
    """A run in which each prompt is told what the memory recalls."""

    def __init__(self, genome, noise, seed):
        self.rng, self.noise, self.memory = random.Random(seed), noise, Memory(OBJECTIVES, noise)
        self.kinds = {block.name: kinds_in(block.source) for block in genome.live_blocks}
        self.lessons, self.effects, self.gained = [], {}, []
        self.same, self.warnings = Counter(), Counter()

    def propose(self, number):
        rng, memory = self.rng, self.memory
        operator = rng.choices(list(SHARES), list(SHARES.values()))[0]
        names = rng.sample(list(self.kinds), {"rewrite": 4, "splice": 2}.get(operator, 1))
        asked = () if operator == "rewrite" else tuple(names)
        kinds = [kind for name in names for kind in self.kinds[name]]
        directive = rng.choice(DIRECTIVES) if operator == "mutate" else None
        shown = []
        if operator != "splice":
            shown = list(memory.tell([one.id for one in memory.recall(asked, kinds, directive, BUDGET)], BUDGET))
            self.audit(asked, kinds, shown)
        self.settle(f"{number:04d}", operator, tuple(names), directive, shown)

    def audit(self, asked, kinds, shown):
        """Count what the prompt tells of its blocks' results, and its warnings about something else."""
        if not asked:
            return
        same = [one for one in self.lessons if set(asked) & set(one.blocks)]
        self.same["all"] += len(same)
        self.same["all told"] += sum(one.id in shown for one in same)
        self.same["last"] += len(same[-LAST:])
        self.same["last told"] += sum(one.id in shown for one in same[-LAST:])
        warnings = [one for one in map(self.memory.__getitem__, shown) if one.verdict in WARNINGS]
        self.warnings["told"] += len(warnings)
        self.warnings["elsewhere"] += sum(not (set(asked) & set(w.blocks) or set(kinds) & set(w.kinds)) for w in warnings)

    def settle(self, id, operator, names, directive, shown):
        rng = self.rng
        used = [one for one in shown if rng.random() < USED]
        cited = tuple(one for one in shown if rng.random() < (NAMED if one in used else NAMED_UNUSED))
        gain = GAINS[operator] + sum(self.effects[one] for one in used) + rng.gauss(0, 1.5)
        failed = operator != "splice" and rng.random() < 0.07  # a failed splice is no lesson
        parameters = rng.choice((0.0, rng.gauss(0, 0.2))) * self.noise.reference["parameters"]
        effects = {} if failed else {"accuracy": gain * self.noise.sigma["accuracy"], "parameters": parameters}
        change = [f"+        self.layer{id}_{n} = nn.{rng.choice(('Conv2d', 'GELU'))}({n})\n" for n in range(rng.randint(2, 24))]
        lesson = Lesson(
            id, operator, names, tuple(rng.sample(self.kinds[names[0]], min(2, len(self.kinds[names[0]])))), None, directive,
            "" if operator == "splice" else "m", "".join(change),
            f"layer {id} mixes the channels, " * rng.randint(2, 8), "accuracy +0.01", effects,
            {o.name: self.noise.gain(o, effects[o.name]) for o in OBJECTIVES if effects},
            "failed" if failed else verdict(effects, OBJECTIVES, self.noise), "fit: NaN." if failed else "",
            shown=tuple(shown), cited=cited,
        )  # fmt: skip
        self.effects[id] = rng.gauss(0, 1)
        self.lessons.append(lesson)
        self.gained.append(-1.0 if failed else gain)
        self.memory.learn(lesson)


def replay(genome, noise, candidates, repeats):
    """The means over so many histories."""
    histories = [History(genome, noise, seed) for seed in range(repeats)]
    readers, told, pairs = defaultdict(list), [], []
    for history in histories:
        for number in range(1, candidates + 1):
            history.propose(number)
        for standing in history.memory.standings():
            readers[standing.lesson.verdict].append(standing.readers)
            told.append(standing.readers > 0)
            if standing.readers:
                pairs.append((standing.credit, USED * history.effects[standing.lesson.id]))
    same, warnings = (sum((getattr(one, name) for one in histories), Counter()) for name in ("same", "warnings"))
    return {
        f"of_the_last_{LAST}_results_on_the_block_told": round(same["last told"] / same["last"], 3),
        "of_all_results_on_the_block_told": round(same["all told"] / same["all"], 3),
        "of_all_lessons_told_to_anyone": round(statistics.fmean(told), 3),
        "of_the_warnings_about_another_block_and_kind": round(warnings["elsewhere"] / max(1, warnings["told"]), 3),
        "mean_readers": {name: round(statistics.fmean(each), 2) for name, each in sorted(readers.items())},
        "most_readers": max(max(each) for each in readers.values()),
        "correlation_of_credit_and_effect": round(statistics.correlation(*zip(*pairs, strict=True)), 3),
        "mean_gain_sigma": round(statistics.fmean(gain for one in histories for gain in one.gained), 3),
    }


def main():
    size, repeats = (int(value) for value in (*sys.argv[1:], *("10000", "100")[len(sys.argv) - 1 :]))
    genome = read_genome(seeds_folder() / "exquisitenet_v2", ("model.py",))
    noise = Noise({"accuracy": 0.002, "parameters": 0}, {"accuracy": 0.925, "parameters": 518_230})
    histories = {f"replay_of_{n}": replay(genome, noise, n, max(1, repeats * 40 // n)) for n in (40, 240)}
    print(json.dumps({"speed": speed(size), **histories}, indent=2))


if __name__ == "__main__":
    main()

"""Print how long each operator's prompts are against the program.

    python tests/benchmarks/prompt_sizes.py [SEED FOLDER] [--dataset DATASET] [--show NAME]

The archive is made up: 24 children of a seed like `exquisitenet_v2` with real changes of its code and plausible measurements.
"""

from __future__ import annotations

import argparse
import random
import re
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from agent.core.noise import Noise
from agent.core.objectives import Fitness
from agent.core.paths import prompts_folder, seeds_folder
from agent.genome import Genome, read_genome
from agent.memory import Memory, lesson_of
from agent.operators import OPERATORS, Brief, Context
from agent.operators.templates import Prompts
from agent.population.archive import Archive
from agent.population.candidate import SEED_ID, Candidate, Evidence, Failure, Individual, Recipe
from agent.run import config_sources
from agent.search.feedback import LEAST_LESSONS, LESSONS_SHARE
from sandbox.tasks import open_task

OPTIMIZER = """\
def build_optimizer(model, steps):
    decay = [p for p in model.parameters() if p.ndim > 1]
    other = [p for p in model.parameters() if p.ndim <= 1]
    groups = [{{"params": decay, "weight_decay": {decay}}}, {{"params": other, "weight_decay": 0.0}}]
    return torch.optim.AdamW(groups, lr={rate}, betas=(0.9, 0.99))
"""
GATE = """\
class {name}(nn.Module):
    def __init__(self, channels, ratio={ratio}):
        super().__init__()
        self.reduce = nn.Linear(2 * channels, channels // ratio)
        self.expand = nn.Linear(channels // ratio, channels)

    def forward(self, x):
        moments = torch.cat((x.mean((2, 3)), x.flatten(2).std(2)), 1)
        return x * torch.sigmoid(self.expand(F.silu(self.reduce(moments))))[:, :, None, None]
"""
INTENTIONS = (
    "AdamW with decay on matrices alone adapts each weight's step, which a few hundred steps need far more than a fixed rate; "
    "norms and biases stay free of decay, so that the gates can open.",
    "Halve the widths of the last two stages, where most parameters sit on a 2x2 map and see almost no spatial structure, and "
    "spend a quarter of what is saved on the second stage.",
    "Replace the gate by one that sees mean and spread of each channel, so that texture counts as well as brightness.",
)


def build(folder: Path, dataset: str | None) -> tuple[Prompts, Context, tuple[str, str, str]]:
    """Prompts, context and the names of (optimizer, gate, body) of the seed."""
    c = config_sources.load(str(folder), None, {}, [f"task.dataset={dataset}"] if dataset else [])
    with TemporaryDirectory() as cache:
        bounds = {one.name: one.bound for one in c.constraint_list()}
        task = open_task(c.task, c.budget, bounds, c.seed.files, Path(cache))
        facts = task.facts()
    genome = read_genome(folder, c.seed.files, c.seed.frozen)
    names = [block.name for block in genome.live_blocks if block.kind == "class"]
    gate = next(name for name in names if name in ("SELN", "ChannelGate"))
    reference = {"accuracy": 0.8429, "parameters": 134894.0}
    noise = Noise({"accuracy": 0.0036, "parameters": 0.0}, reference)
    brief = Brief(task.title, facts, c.objective_list(), c.constraint_list(), noise)
    return Prompts.load(prompts_folder()), grow(brief, genome, (gate, names[-1])), ("build_optimizer", gate, names[-1])


def grow(brief: Brief, genome: Genome, blocks: tuple[str, str]) -> Context:
    """A run after 24 children: mutations, rewrites and matings, two of them failures."""
    rng = random.Random(7)
    assert brief.noise
    classes = [block.name for block in genome.live_blocks if block.kind == "class"]
    shares = {name: round(90_000 / 2.5**n) for n, name in enumerate(classes)}
    sizes = ("12x14x14", "48x7x7", "96x4x4", "192x2x2")
    calls = {name: tuple((size, count // 4) for size in sizes) for name, count in [*shares.items()][:2]}

    def evidence(accuracy: float) -> Evidence:
        curve = tuple((1.5 - 0.3 * n, accuracy - 0.2 + 0.07 * n) for n in range(4))
        return Evidence({"smoke": 0.4, "fit": 21.3, "predict": 1.9}, 310 << 20, curve, shares, calls)

    seed = Individual(Candidate(SEED_ID, 0), genome, Fitness(dict(brief.noise.reference)), evidence(0.84))
    archive, memory = Archive(seed, brief.objectives), Memory(brief.objectives, brief.noise)
    for n in range(1, 25):
        parent = seed if n < 4 or rng.random() < 0.3 else rng.choice(archive.front())
        kind = rng.randrange(3)
        changed, new = change(parent.genome, blocks, kind, rng)
        operator = ("mutate", "rewrite", "eot")[n % 3]
        named = changed[:1] if operator == "mutate" else ()
        directive = "reduce_size" if operator == "mutate" else None
        recipe = Recipe(operator, (parent.id,), named, "offline", n, directive=directive, elite=parent.id if n % 3 == 2 else None)
        candidate = Candidate(f"{n:04d}", n // 8, (recipe,))
        smaller = rng.choice((1.0, 0.95, 0.7, 1.1))
        gained = rng.gauss(0.3, 0.3) * (0.9 - parent.fitness["accuracy"]) - 0.02 * (smaller < 0.9)
        intention = INTENTIONS[kind]
        outcome: Individual | Failure
        if n in (9, 17):
            reason = "RuntimeError: The size of tensor a (48) must match the size of tensor b (12) (model.py, line 88)."
            outcome = Failure(candidate, "smoke", reason, "", new, intention, changed)
        else:
            parameters = round(parent.fitness["parameters"] * smaller)
            fitness = Fitness({"accuracy": round(parent.fitness["accuracy"] + gained, 5), "parameters": float(parameters)})
            outcome = Individual(candidate, new, fitness, evidence(fitness["accuracy"]), intention, changed)
        archive.add(outcome)
        answer = f"Intention: {intention}\nExpected effect: accuracy +0.02, parameters -10%.\n\n```python\npass\n```"
        memory.learn(lesson_of(outcome, parent, answer, (), brief.objectives, brief.noise))
    room = max(LEAST_LESSONS, round(LESSONS_SHARE * len(genome.files["model.py"])))
    lessons = memory.recall(blocks[:1], ("LayerNorm",), "reduce_size", room)
    return Context(
        brief,
        seed,
        {},
        recent=archive.recent(8),
        front=tuple(archive.front()),
        lessons={lesson.id: memory.render(lesson, brief=True) for lesson in lessons},
        everyone=tuple(archive.everyone),
        left=12,
    )


def change(genome: Genome, blocks: tuple[str, str], kind: int, rng: random.Random) -> tuple[tuple[str, ...], Genome]:
    gate, body = blocks
    name = ("build_optimizer", body, gate)[kind]
    old = genome.block(name)
    if kind == 0:
        source = OPTIMIZER.format(decay=rng.choice((0.01, 0.05, 0.1)), rate=rng.choice((0.002, 0.004, 0.008)))
    elif kind == 1:
        source = re.sub(r"\b(\d{2,3})\b", lambda found: str(int(int(found[1]) * rng.choice((0.5, 0.75, 1.25)))), old.source)
    else:
        source = GATE.format(name=gate, ratio=rng.randrange(2, 9))
    text = genome.files[old.file].replace(old.source.rstrip("\n"), source.rstrip("\n"))
    return (name,), genome.with_same_rules({**genome.files, old.file: text})


def prompts_of(prompts: Prompts, context: Context, blocks: tuple[str, str, str]) -> dict[str, tuple[str, int]]:
    """By operation: the prompt, for a parent in the middle of the front, and the characters of the program that it edits."""
    parent = context.front[len(context.front) // 2]
    version = parent.genome.block(blocks[1]).source
    partner = next(one for one in context.everyone if one.genome.block(blocks[1]).source != version)
    elite = context.front[0] if context.front[0].id != parent.id else context.front[-1]
    context = replace(context, individuals={one.id: one for one in (context.seed, parent, partner, elite)})
    example = next(name for name in blocks if elite.genome.block(name).source != context.seed.genome.block(name).source)
    target = next(name for name in blocks if name != example)
    operations = {
        "first": ("rewrite", (SEED_ID,), {"blocks": ()}),
        "rewrite": ("rewrite", (parent.id,), {"blocks": ()}),
        "rewrite_role": ("rewrite", (parent.id,), {"blocks": (), "directive": "complex", "role": "expert"}),
        "mutate": ("mutate", (parent.id,), {"blocks": (blocks[1],), "directive": "complex", "role": "magoo"}),
        "mutate_optimizer": ("mutate", (parent.id,), {"blocks": (blocks[0],), "directive": "uncommon"}),
        "mate": ("mate", (parent.id, partner.id), {"blocks": (blocks[1],)}),
        "eot": ("eot", (parent.id,), {"blocks": (target,), "elite": elite.id, "example": example}),
        "eot_whole": ("eot", (parent.id,), {"blocks": (), "elite": elite.id}),
    }
    found = {}
    for name, (operator, parents, choices) in operations.items():
        recipe = Recipe(operator, parents, model="offline", seed=1, max_tokens=16_000, **choices)
        base = context.individuals[parents[0]].genome
        bare = replace(context, front=(context.seed,), everyone=(context.seed,), recent=(), lessons={})
        now = bare if name == "first" else context
        text = "\n".join(m.text for m in OPERATORS[operator].prompt(prompts, recipe, base, now))
        found[name] = text, sum(map(len, base.files.values()))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=seeds_folder() / "exquisitenet_v2")
    parser.add_argument("--dataset")
    parser.add_argument("--show")
    options = parser.parse_args()
    prompts, context, blocks = build(options.folder, options.dataset)
    found = prompts_of(prompts, context, blocks)
    if options.show:
        print(found[options.show][0])
        return
    print(f"{'':18}  prompt program ratio")
    for name, (text, program) in found.items():
        print(f"{name:18} {len(text):7,} {program:7,} {len(text) / program:5.2f}")
    print(f"mean ratio {sum(len(text) / program for text, program in found.values()) / len(found):.2f}")


if __name__ == "__main__":
    main()

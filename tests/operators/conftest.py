"""A run half-way through, on the shipped seeds and their true facts; only the measurements are made up."""

from dataclasses import dataclass, replace

import pytest

from agent.core.noise import Noise
from agent.core.objectives import Fitness
from agent.core.paths import prompts_folder, seeds_folder
from agent.genome import Genome, read_genome
from agent.memory import Memory, lesson_of
from agent.operators import OPERATORS, Brief, Context
from agent.operators.changes import Measured
from agent.operators.templates import Prompts
from agent.population.candidate import SEED_ID, Candidate, Evidence, Failure, Individual, Recipe, Variant
from agent.run import config_sources
from sandbox.tasks import open_task

GATE = '''\
class SELN(nn.Module):
    """A gate that sees the mean and the spread of each channel."""

    def __init__(self, channels, momentum=MOMENTUM):
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        self.share = nn.Parameter(torch.full((channels,), momentum))

    def forward(self, x):
        gate = self.norm(_moments(x, self.share))
        return x * torch.sigmoid(gate)[:, :, None, None]
'''
HELPERS = '''\
MOMENTUM = 0.1


def _moments(x, share):
    """(N, C): the mean plus a share of the deviation."""
    return x.mean((2, 3)) + share * x.flatten(2).std(2)


'''
OPTIMIZER = '''\
def build_optimizer(model, steps):
    """AdamW under a cosine."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.004, weight_decay=0.05)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    return optimizer, scheduler
'''
BRANCH = '''\
class Branch{n}(nn.Module):
    """Dilated by {n}, normalised, weighted by a learned scalar; keeps channels and size."""

    def __init__(self, channels, kernel_size=3):
        super().__init__()
        padding = {n} * (kernel_size // 2)
        self.depth = nn.Conv2d(channels, channels, kernel_size, padding=padding, dilation={n}, groups=channels)
        self.point = nn.Conv2d(channels, channels, 1, bias=False)
        self.norm = nn.BatchNorm2d(channels)
        self.weight = nn.Parameter(torch.full((), 1 / {n}))

    def forward(self, x):
        return x + self.weight * F.silu(self.norm(self.point(self.depth(x))))
'''

ANSWER = """\
Intention: {intention}
Expected effect: accuracy +0.005.

```python
pass
```"""


@dataclass(frozen=True)
class Scene:
    prompts: Prompts
    context: Context

    @property
    def seed(self):
        return self.context.seed

    def prompt(self, operator, *parents, base=None, **choices):
        """The messages of a recipe; `blocks` and what else was chosen by name."""
        recipe = recipe_of(operator, parents, **choices)
        base = base or self.context.individuals[parents[0]].genome
        return OPERATORS[operator].prompt(self.prompts, recipe, base, self.context)

    def with_recent(self, *recent):
        """As if these were the last that were measured."""
        new = tuple(one for one in recent if isinstance(one, Individual))
        everyone = (*self.context.everyone, *new)
        return replace(self, context=replace(self.context, recent=recent, everyone=everyone, lessons={}))


def recipe_of(operator, parents, **choices):
    return Recipe(operator, tuple(parents), model="offline", seed=1, **choices)


def edited(genome, block, source, above=""):
    """The genome with a block replaced, and helpers put above it."""
    old = genome.block(block)
    text = genome.files[old.file]
    assert text.count(old.source) == 1
    return genome.with_same_rules({**genome.files, old.file: text.replace(old.source, above + source)})


def candidate_of(id, generation, *recipes):
    return Candidate(id, generation, recipes)


@pytest.fixture(scope="session")
def prompts():
    return Prompts.load(prompts_folder())


@pytest.fixture(scope="session")
def helpers():
    """For tests that build individuals of their own (test modules cannot import this one)."""
    return {"edited": edited, "candidate": candidate_of, "recipe": recipe_of}


@pytest.fixture(scope="session")
def brief_of(tmp_path_factory):
    cache = tmp_path_factory.mktemp("cache")

    def build(name):
        c = config_sources.load(str(seeds_folder() / name), None, {}, [])
        constraints = c.constraint_list()
        task = open_task(c.task, c.budget, {one.name: one.bound for one in constraints}, c.seed.files, cache)
        genome = read_genome(seeds_folder() / name, c.seed.files, c.seed.frozen)
        return Brief(task.title, task.facts(), c.objective_list(), constraints), genome

    return build


@pytest.fixture(scope="session")
def first(prompts, brief_of):
    """tiny_cnn before anything but the seed was measured."""
    brief, genome = brief_of("tiny_cnn")
    evidence = Evidence(
        seconds={"smoke": 0.0421, "fit": 0.8134, "predict": 0.3012},
        curve=((2.2113, 0.1932), (1.8244, 0.4912), (1.3021, 0.7213), (0.9134, 0.8436), (0.701, 0.894), (0.651, 0.907)),
        parameters_by_block={"Stage": 4848, "TinyCNN": 330},
    )
    seed = Individual(candidate_of(SEED_ID, 0), genome, Fitness({"accuracy": 312 / 355, "parameters": 5178.0}), evidence)
    return Scene(prompts, Context(brief, seed, {SEED_ID: seed}))


def _half_way(prompts, brief, genome):
    shares = {"DFSEB": 409536, "ME": 98112, "ExquisiteNetV2": 3850, "DW": 3840, "SELN": 1464, "EVE": 1248, "FCT": 76}
    curve = ((1.9127, 0.3422), (0.8231, 0.7461), (0.4018, 0.8813), (0.2611, 0.9255), (0.1972, 0.9466))
    maps = {"FCT": (("12x16x16", 76),), "DFSEB": (("12x16x16", 612), ("48x8x8", 5808)), "ExquisiteNetV2": (("10", 3850),)}
    seconds = {"smoke": 0.1523, "fit": 12.4127, "predict": 2.0311}
    seed = Individual(
        candidate_of(SEED_ID, 0),
        genome,
        Fitness({"accuracy": 332 / 355, "parameters": 518126.0}),
        Evidence(seconds=seconds, curve=curve, parameters_by_block=shares),
    )
    gated = Individual(
        candidate_of("0004", 0, recipe_of("mutate", [SEED_ID], blocks=("SELN",), directive="significant", role="expert")),
        edited(genome, "SELN", GATE, above=HELPERS),
        Fitness({"accuracy": 337 / 355, "parameters": 518858.0}),
        Evidence(
            seconds=seconds,
            curve=curve,
            parameters_by_block={**shares, "SELN": 2196},
            calls_by_block=maps,
            parameters_by_part={"features.3": 409_536, "features.2": 98_112, "head": 1_210},
            mistakes=(("8 as 1", 5), ("9 as 5", 4), ("all", 18)),
        ),
        "let each gate see the spread of its channel, too.",
    )
    driven = Individual(
        candidate_of("0007", 0, recipe_of("mutate", [SEED_ID], blocks=("build_optimizer",), directive="uncommon_parameters")),
        edited(genome, "build_optimizer", OPTIMIZER),
        Fitness({"accuracy": 333 / 355, "parameters": 518126.0}),
        Evidence(seconds={**seconds, "fit": 11.8}, curve=curve[:2], parameters_by_block=shares),
        "AdamW adapts each weight's step, which 85 steps need.",
    )
    narrow = Individual(
        candidate_of(
            "0013",
            1,
            recipe_of("mate", ["0004", "0007"], blocks=("SELN",)),
            recipe_of("mutate", ["0004"], blocks=("ExquisiteNetV2",), directive="reduce_size"),
        ),
        edited(genome, "DW", genome.block("DW").source.replace("hardswish", "relu")),
        Fitness({"accuracy": 326 / 355, "parameters": 371204.0}),
        intention="gates of both kinds. Then: one stage less.",
    )
    shapes = Failure(
        candidate_of("0009", 1, recipe_of("eot", ["0007"], blocks=("EVE",), elite="0004", example="SELN")),
        "smoke",
        "RuntimeError: The size of tensor a (48) must match the size of tensor b (12) at non-singleton dimension 1 "
        "(model.py, line 88, in forward).",
    )
    slow = Failure(
        candidate_of("0011", 1, recipe_of("mutate", ["0004"], blocks=("DFSEB",), directive="complex", role="magoo")),
        "fit",
        "It ran longer than its limit of 120 s.",
    )
    smooth = Individual(
        candidate_of("0017", 2, recipe_of("mutate", ["0007"], blocks=("DW",), directive="uncommon")),
        edited(driven.genome, "DW", genome.block("DW").source.replace("hardswish", "silu")),
        Fitness({"accuracy": 348 / 355, "parameters": 500102.0}),
        intention="a smooth activation keeps small signals.",
    )
    individuals = {one.id: one for one in (seed, gated, driven, narrow, smooth)}
    noise = Noise({"accuracy": 0.0042, "parameters": 0.0}, {"accuracy": 0.9361, "parameters": 518126.0})
    memory = Memory(brief.objectives, noise)
    for individual in (gated, driven, shapes, slow):
        parent = individuals[individual.candidate.recipes[0].parents[0]]
        answer = ANSWER.format(intention=individual.intention or "widen it.")
        memory.learn(lesson_of(individual, parent, answer, (), brief.objectives, noise))
    recalled = memory.recall(("SELN",), ("LayerNorm",), "complex", 3000)
    lessons = {lesson.id: memory.render(lesson, brief=True) for lesson in recalled}
    recent, front = (gated, driven, shapes, slow, narrow), (gated, driven, narrow)
    guidance = "Deployment is on a microcontroller: no attention, please. `SELN` may go altogether."
    under_way = (
        candidate_of("0014", 1, recipe_of("mutate", ["0007"], blocks=("ME",), directive="uncommon")),
        Variant(
            candidate_of("0015", 1, recipe_of("rewrite", ["0004"], blocks=())),
            genome,
            "less `depth`, more width.",
            changed=("DW", "EVE"),
            expected="accuracy 0.95, parameters 310,000.",
        ),
    )
    context = Context(replace(brief, noise=noise), seed, individuals, recent, front, lessons, guidance, under_way=under_way)
    context = replace(context, everyone=tuple(individuals.values()), left=12)
    return Scene(prompts, context)


@pytest.fixture(scope="session")
def half_way(prompts, brief_of):
    """exquisitenet_v2 with a few individuals and failures."""
    return _half_way(prompts, *brief_of("exquisitenet_v2"))


@pytest.fixture(scope="session")
def gained():
    """What was measured in a scene if `0007` had gained beyond the noise as well."""

    def build(scene):
        people, fitness = scene.context.individuals, Fitness({"accuracy": 341 / 355, "parameters": 518126.0})
        better = {**people, "0007": replace(people["0007"], fitness=fitness)}
        return Measured(better, scene.context.brief.objectives, scene.context.brief.noise)

    return build


@pytest.fixture(scope="session")
def large(prompts, brief_of):
    """The same with a program that is too long to be shown whole."""
    brief, genome = brief_of("exquisitenet_v2")
    branches = "\n\n".join(BRANCH.format(n=n) for n in range(1, 14))
    table = f"BRANCHES = ({', '.join(f'Branch{n}' for n in range(1, 14))})\n"
    text = genome.files["model.py"] + f"\n\n{branches}\n\n{table}"
    return _half_way(prompts, brief, Genome({"model.py": text}, genome.frozen))

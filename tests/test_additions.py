"""What the contributing guide says is needed to add something is all that is needed: each is tried in a copy of the sources."""

import re
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow


def as_guided(scratch_copy, what, name):
    """Is what a test has added, of this `name`, just what the table of the contributing guide says of `what`?"""
    guide = (Path(__file__).parents[1] / "CONTRIBUTING.md").read_text()
    (row,) = re.findall(rf"^\| {what} \|.*$", guide, re.MULTILINE)
    listed = {path.replace("NAME", name): int(lines) for path, lines in re.findall(r"`([\w./]+)`: (\d+)", row)}
    return scratch_copy.added == listed


def run_tiny(scratch_copy, *arguments, **settings):
    """The smallest run that shows something: the seed, a candidate of the first population, and what `settings` add."""
    sizes = {"search.first_population": 1, "search.generations": 0, "noise.trainings": 0, **settings}
    pairs = [part for key, value in sizes.items() for part in ("--set", f"{key}={value}")]
    llm = [] if "--llm" in arguments else ["--llm", "offline"]
    scratch_copy.evolve("run", "seeds/tiny_cnn", "--out", "run", *llm, *arguments, *pairs)


OPERATOR = '''\
"""Simplification: rewrite one block with less code."""

from __future__ import annotations

from dataclasses import dataclass

from agent.core.text import fence
from agent.genome import Genome
from agent.llm import Message
from agent.genome import bare_name
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


def test_an_operator_is_a_file_a_template_and_a_line(scratch_copy):
    scratch_copy.write("agent/operators/simplify.py", OPERATOR)
    scratch_copy.write("prompts/simplify.md", TEMPLATE)
    scratch_copy.insert("prompts/README.md", "| `repair.md`", ROW)
    scratch_copy.insert("agent/operators/__init__.py", '"splice:Splice",', '"simplify:Simplify",')
    assert as_guided(scratch_copy, "an operator", "simplify")
    sizes = {"search.population": 2, "search.generations": 2, "budget.epochs": 1}
    run_tiny(scratch_copy, **sizes, **{"search.operators": "{simplify=1.0}"})

    arms = scratch_copy.ask("show", "run", "--arms")
    assert {arm["name"]: arm["children"] for arm in arms["operators"]} == {"simplify": 5}
    assert "simplify" in scratch_copy.evolve("show", "run", "--arms")
    status = scratch_copy.ask("status", "run")
    assert status["state"] == "finished" and status["counts"]["proposed"] == 5
    ids = [one["id"] for one in scratch_copy.ask("show", "run") if one["operator"] == "simplify"]
    asked = [scratch_copy.ask("show", "run", id)["prompt"] for id in ids]
    assert all("whatever does not earn its place" in str(prompt) for prompt in asked)
    assert any("simplification of `" in str(prompt) for prompt in asked)  # told of an earlier candidate


LIMIT = '''\
answers: int | None = _entry(
    AmountLimit(
        help="Answers of all models together.",
        ending="when the answers are used up",
        reserved=False,
        spent=lambda spend: spend.call_tokens.count,
        candidates=lambda spend, count: Need(spend.breeding, count),
        call=lambda spend, id: Need(spend.calls_out(id), 1),
        per_candidate=lambda spend: spend.call_tokens.count / max(1, spend.candidate_tokens.count),
    )
)
"""Answers of all models."""
'''


def test_a_limit_of_the_budget_is_an_entry(scratch_copy):
    scratch_copy.insert("agent/budget/limits.py", "reserve: float", LIMIT)
    assert as_guided(scratch_copy, "a limit of the budget", "answers")
    run_tiny(scratch_copy, "--answers", 3, **{"search.first_population": 9, "budget.epochs": 1})

    assert "more variants by" in scratch_copy.messages and ", when the answers are used up" in scratch_copy.messages
    status = scratch_copy.ask("status", "run")
    assert (status["state"], status["spend"]["llm_calls"]) == ("finished", 3)
    assert re.fullmatch(r"answers: .* of 3(; what comes next needs 1)?", status["reason"])
    scratch_copy.evolve("resume", "run", "--answers", 4)
    assert scratch_copy.ask("status", "run")["spend"]["llm_calls"] == 4


BACKEND = '''\
"""Models named `echo:FILE` answer every prompt with the text of a file."""

from pathlib import Path

from agent.core.errors import UserError
from agent.llm.base import Completion, LlmSettings, Request
from agent.llm.text import estimate_usage


def accepts(name: str, settings: LlmSettings) -> bool:
    return name.startswith("echo:")


def open_model(name: str, settings: LlmSettings) -> "EchoModel":
    """Raises UserError if there is no such file."""
    path = Path(name.removeprefix("echo:"))
    if not path.is_file():
        raise UserError(f"{name!r}: there is no file {path}.")
    return EchoModel(name, path.read_text())


class EchoModel:
    waits_for_person = False

    def __init__(self, name: str, text: str) -> None:
        self.name, self._text = name, text

    def complete(self, request: Request) -> Completion:
        return Completion(self._text, "stop", estimate_usage(request, self._text), 0.0, 0.0, self.name)

    def close(self) -> None:
        """Does nothing."""
'''
ANSWER = """\
Intention: steeper steps in the first stage.
Expected effect: none.

```python
class Stage(nn.Module):
    def __init__(self, in_channels, out_channels):
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(out_channels)

    def forward(self, x):
        return F.max_pool2d(F.silu(self.norm(self.conv(x))), 2, ceil_mode=True)
```
"""


def test_a_backend_for_models_is_a_file_and_a_line(scratch_copy):
    scratch_copy.write("agent/llm/backends/echo.py", BACKEND)
    scratch_copy.insert("agent/llm/open.py", '"openai",', '"echo",')
    assert as_guided(scratch_copy, "a backend for models", "echo")
    (scratch_copy.root / "stage.md").write_text(ANSWER)
    frozen = '["build_model", "build_optimizer", "TinyCNN"]'
    run_tiny(scratch_copy, "--llm", "echo:stage.md", **{"seed.frozen": frozen, "budget.epochs": 1})

    candidate = scratch_copy.ask("show", "run", "0001")
    assert candidate["outcome"] == "trained" and "+        return F.max_pool2d(F.silu(" in candidate["diff"]
    (arm,) = scratch_copy.ask("show", "run", "--arms")["models"]
    assert (arm["name"], arm["children"]) == ("echo:stage.md", 1)
    assert scratch_copy.ask("doctor", "--llm", "echo:stage.md")["llm"]["reachable"]


TASK = '''\
"""The task `count`: shorter programs. Nothing is trained."""

from sandbox.sandbox import CallLimits
from sandbox.tasks.common.job import StageFailed
from sandbox.tasks.common.settings import refuse_unknown
from sandbox.tasks.common.stages import Stages, rough
from sandbox.tasks.common.task import Task


class Count(Task):
    title = "Say the same in fewer characters."
    objectives = ("characters", "memory")
    directions = {"characters": "min", "memory": "min"}

    @classmethod
    def open(cls, tables):
        refuse_unknown("task", tables.task, ("name",))
        refuse_unknown("budget", tables.budget, ())
        return cls()

    def facts(self):
        return {"Measurement": "the program is imported, its characters are counted."}

    def evaluate(self, job, sandbox, progress=None):
        try:
            stages = Stages(job, sandbox)
            report = stages.run("fit", "sandbox.tasks.count.inside:run", CallLimits(30, 2 << 30, result=16), {}, {})
        except StageFailed as failed:
            return failed.failure
        characters = sum(len(text) for text in job.sources.values())
        return stages.measured({"characters": float(characters), "memory": rough(report.peak_memory / 2**20)})
'''
INSIDE = '''\
"""The task `count` inside the sandbox."""


def run(call):
    for path in call.sources:
        call.module(path)
    return b""
'''


def test_a_kind_of_task_is_a_folder_and_a_line(scratch_copy):
    scratch_copy.write("sandbox/tasks/count/task.py", TASK)
    scratch_copy.write("sandbox/tasks/count/inside.py", INSIDE)
    scratch_copy.insert("sandbox/tasks/__init__.py", '"script":', '"count": "sandbox.tasks.count.task:Count",')
    assert as_guided(scratch_copy, "a kind of task", "count")
    (scratch_copy.root / "seeds/tiny_cnn/seed.toml").write_text('[task]\nname = "count"\n')
    run_tiny(scratch_copy, **{"search.first_population": 2})

    status = scratch_copy.ask("status", "run")
    assert status["state"] == "finished" and status["counts"]["trained"] >= 1
    assert status["objectives"] == {"characters": "min", "memory": "min"}
    assert status["seed"]["fitness"]["characters"] == len((scratch_copy.root / "seeds/tiny_cnn/model.py").read_text())
    trained = next(one for one in scratch_copy.ask("show", "run") if one["outcome"] == "trained")
    assert trained["fitness"].keys() == {"characters", "memory"}
    assert "Say the same in fewer characters." in scratch_copy.ask("show", "run", trained["id"])["prompt"]
    assert "characters" in (scratch_copy.root / "run/report.md").read_text()


SOURCE = '''\
"""Drawn shapes: squares, crosses and stripes."""

import numpy as np


class Shapes:
    """A `Source`."""

    key = "shapes-v1"
    about = "drawn shapes, 240 grey images of 8 x 8 pixels"
    class_names = ("square", "cross", "stripes")

    def labels(self):
        return {"train": [row % 3 for row in range(240)]}

    def images(self, part):
        chance = np.random.default_rng(0)
        for row in range(240):
            image = chance.integers(0, 60, (1, 8, 8), dtype="uint8")
            spot = ((slice(2, 6), slice(2, 6)), (slice(3, 5),), (slice(0, 8, 2),))[row % 3]
            image[(0, *spot)] += 150
            yield f"image {row}", image

    def sample(self):
        return self.images("train")
'''


def test_a_data_set_is_a_source_and_a_line(scratch_copy):
    scratch_copy.write("sandbox/data/shapes.py", SOURCE)
    scratch_copy.insert("sandbox/data/sources.py", '"digits":', '"shapes": "sandbox.data.shapes:Shapes",')
    assert as_guided(scratch_copy, "a data set", "shapes")
    run_tiny(scratch_copy, "--dataset", "shapes", **{"budget.epochs": 1})

    status = scratch_copy.ask("status", "run")
    assert status["state"] == "finished" and status["counts"]["trained"] == 1
    assert status["seed"]["fitness"]["accuracy"] in [right / 48 for right in range(49)]  # a fifth is for validation
    prompt = scratch_copy.ask("show", "run", "0001")["prompt"]
    assert "drawn shapes, 240 grey images" in prompt and "square, cross, stripes" in prompt


def test_a_role_and_a_directive_are_a_file_each(scratch_copy):
    for path in (*scratch_copy.root.glob("prompts/roles/*.md"), *scratch_copy.root.glob("prompts/directives/*.md")):
        path.unlink()  # so that the new ones are drawn at once
    scratch_copy.write("prompts/roles/engineer.md", "You are an engineer who trusts nothing but measurements.\n")
    scratch_copy.write("prompts/directives/fewer_lines.md", "Rewrite this block in fewer lines.\n")
    assert [*scratch_copy.added.values()] == [1, 1]
    run_tiny(scratch_copy, **{"search.first_population": 4, "budget.epochs": 1})

    arms = {arm["name"] for arm in scratch_copy.ask("show", "run", "--arms")["prompts"]}
    assert "fewer_lines as engineer" in arms and arms <= {"fewer_lines as engineer", "fewer_lines as nobody"}
    candidates = [scratch_copy.ask("show", "run", one["id"]) for one in scratch_copy.ask("show", "run")]
    assert all("Directive: fewer lines\n\nRewrite this block in fewer lines." in one["prompt"] for one in candidates)
    assert [one["id"] for one in candidates if "who trusts nothing but measurements" in one["prompt"]] == [
        one["id"] for one in candidates if one["role"] == "engineer"
    ]

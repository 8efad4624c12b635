"""Make a seed of a bare model file: write its `seed.toml`, and say what a run would do with it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path

from agent.core.errors import UserError
from agent.core.files import write_whole
from agent.core.text import format_number
from agent.genome import ENTRY_POINTS, Genome, read_genome
from agent.population.candidate import SEED_ID, Candidate, Failure, Individual
from agent.run.components import Components, open_components
from agent.run.config import DEFAULT_TASK
from agent.run.config_sources import load
from sandbox.data.secret import KEY as SECRET

EPOCHS = 5
_TRIED_EPOCHS = 1
"""Epochs of the training from which the forecast is made."""
_TRIED_SECONDS = 60
"""After so many seconds it is ended."""
_VARIANTS = 100
"""Of the run that the forecast is about."""
_LEAST_LIMIT = 120
"""Seconds that one training may take at least."""
_TEMPLATE = """\
# What evolves, what it is measured on, and how long one evaluation may take. docs/configuration.md lists every key.

[seed]
files = [{file}]  # every top-level class and function in them is a block that may evolve
frozen = [{frozen}]  # blocks that must stay as they are

[task]
name = "image-classification"
dataset = {dataset}  # digits, a hub id such as uoft-cs/cifar10, or a folder of images or parquet files
{model}
{images}

[budget]  # of one evaluation
epochs = {epochs}  # or steps, or seconds
batch_size = 64
time_limit = "{limit}s"  # a training that takes longer has failed
memory = "4GiB"

[objectives]  # two or more of accuracy, parameters, latency, flops, memory, train_time
accuracy = "max"
parameters = "min"

[constraints]  # a model outside is discarded, if possible before it is trained
# parameters = "<= 1000000"
"""


def create(file: Path, dataset: str | None) -> Iterator[str]:
    """Write `seed.toml` beside the file and yield what there is to say, a line each.

    `dataset`: None for the embedded `digits`. Raises UserError if there is such a file already, or for a file that is no
    program or a data set that cannot be read; nothing is written then.
    """
    if not file.is_file():
        raise UserError(f"There is no file {file}.")
    target = file.parent / "seed.toml"
    if target.exists():
        raise UserError(f"{target} is there already: change it, or remove it first.")
    genome = read_genome(file.parent, (file.name,), ())
    chosen = _dataset(dataset, file.parent)
    yield f"blocks: {', '.join(f'{block.kind} {block.name}' for block in genome.blocks)}"
    limit = _LEAST_LIMIT
    with _opened(file, chosen) as components:
        model = components.config.task.get("model")
        if model:
            yield f"model: {model}, since there is no build_model"
        seed = Candidate(SEED_ID, 0)
        failure = components.evaluator.check(seed, components.genome)  # it may adapt the images to the network
        yield from components.task.remarks
        yield from components.task.doubts
        outcome = failure or components.evaluator.timed(seed, components.genome).outcome
        adapted = {key: value for key, value in components.task.pins.items() if key != SECRET}  # that is a run's own
        if isinstance(outcome, Failure):
            yield f"It does not train yet (stage {outcome.stage}): {outcome.reason}"
        else:
            each = _seconds_each(outcome)
            limit = max(_LEAST_LIMIT, int(10 * each))
            yield from _forecast(outcome, each, components.config.noise.trainings)
    try:
        write_whole(target, _text(file, genome, chosen, model, limit, adapted))
    except OSError as error:
        raise UserError(f"{target} cannot be written: {error}.") from error
    yield f"Wrote {target}. Look at it, then:  evolve run {file.parent} --llm offline"


def _opened(file: Path, dataset: str) -> AbstractContextManager[Components]:
    budget = {"epochs": _TRIED_EPOCHS, "time_limit": f"{_TRIED_SECONDS}s"}
    flags = {"task": {"name": DEFAULT_TASK, "dataset": dataset}, "budget": budget}
    return open_components(load(str(file), None, flags, ()), lambda event: None, with_models=False)


def _seconds_each(seed: Individual) -> float:
    """Of an evaluation with all its epochs."""
    seconds = seed.evidence.seconds
    return sum(seconds.values()) + seconds.get("fit", 0.0) * (EPOCHS / _TRIED_EPOCHS - 1)


def _forecast(seed: Individual, each: float, repeats: int) -> Iterator[str]:
    """`each`: seconds of an evaluation; `repeats`: trainings of the seed for the noise."""
    values = ", ".join(f"{name} {format_number(value)}" for name, value in seed.fitness.values.items())
    yield f"after {_TRIED_EPOCHS} of {EPOCHS} epochs: {values}"
    total = each * (_VARIANTS + 1 + repeats)
    one = f"about {_span(each)} an evaluation of {EPOCHS} epochs"
    yield f"forecast: {one}; {_VARIANTS} variants in about {_span(total)} in one slot"


def _text(
    file: Path, genome: Genome, dataset: str, model: str | None, limit: int, adapted: Mapping[str, object]
) -> str:
    entries = [block.name for block in genome.blocks if block.name == ENTRY_POINTS[0] and len(genome.blocks) > 1]
    frozen = ", ".join(map(json.dumps, entries))
    maker = f"model = {json.dumps(model)}  # the class or function that makes the network" if model else '# model = "Net"'
    images = [f"{key} = {value}  # what the network was made for" for key, value in adapted.items()] or [
        "# input_size = [32, 32]  # to show the model the images in another size",
        "# channels = 3  # 1 (grey) or 3 (colour)",
    ]
    fields = {"file": json.dumps(file.name), "dataset": json.dumps(dataset), "model": maker, "frozen": frozen}
    fields["images"] = "\n".join(images)
    return _TEMPLATE.format(**fields, epochs=EPOCHS, limit=limit)


def _dataset(named: str | None, folder: Path) -> str:
    """As it stands in the file: a folder relative to the seed where it lies inside, else as an absolute path."""
    if named is None:
        return "digits"
    path = Path(named).expanduser()
    if not path.is_dir():
        return named
    inside = path.resolve().is_relative_to(folder.resolve())
    return f".{os.sep}{path.resolve().relative_to(folder.resolve())}" if inside else str(path.resolve())


def _span(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.2g} s" if seconds < 10 else f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


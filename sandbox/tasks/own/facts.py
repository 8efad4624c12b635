"""The sentences about a seed's own task in prompts: its author's, how it trains, and what applies to every own task."""

from __future__ import annotations

import re
import textwrap
from typing import Any

from sandbox.sandbox import TaskError
from sandbox.tasks.common.literals import COUNTED
from sandbox.tasks.own.settings import OwnTaskSettings
from sandbox.tasks.own.splits import Arrays, Splits
from sandbox.tasks.own.task_file import TaskFile, judges_foreign_weights

FOREIGN = " Once more it runs with the weights shuffled: that must be hardly better than a constant."
SHOWN = 6_000
"""Largest number of characters of `fit` and `predict` that a prompt shows."""


def facts(file: TaskFile, splits: Splits, settings: OwnTaskSettings) -> dict[str, str]:
    """Return label -> sentence, the author's first. Raises TaskError if `facts()` of the task file returns something else."""
    by_author = _by_author(file)
    validation = splits.parts["validation"]
    rows, parts = sum(part.rows for part in validation), len(validation)
    generic = {
        "Data": (
            f"train is {_form(splits.train)}; validation has {rows:,} rows of {_form(validation[0].inputs, rows=False)}"
            + (f", in {parts} parts that are predicted apart." if parts > 1 else ".")
        ),
        "Training": (
            f"from scratch, by this part of `{file.path.name}`, which is fixed; `module` is the program:\n\n"
            + textwrap.indent(_fenced(file.shown("fit", "predict")), "  ")
        ),
        "Budget": ", ".join(f"{key} {value}" for key, value in settings.budget.items()),
        "Limits": (
            f"{settings.seconds:g} s and {settings.memory / 2**30:.3g} GiB for one training (its fit); torch and the standard "
            "library only; no files, no network, no processes."
        ),
        "Stages": (
            "smoke calls fit with one step on made-up data of the same form, and fixes the names and shapes of the weights; fit "
            "trains; predict runs with the rows in several orders and batches: a row must be predicted by itself, whatever else "
            "is in its batch." + (FOREIGN if judges_foreign_weights(file) else "")
        ),
        "Score": (
            f"{' and '.join(file.objectives)} of the predictions for the {rows:,} validation rows, computed apart from the "
            f"program. {COUNTED}."
        ),
    }
    return {**by_author, **{label: text for label, text in generic.items() if label not in by_author and text}}


def _by_author(file: TaskFile) -> dict[str, str]:
    if not hasattr(file.module, "facts"):
        return {}
    found: Any = file.call("facts")
    if not isinstance(found, dict) or not all(isinstance(k, str) and isinstance(v, str) for k, v in found.items()):
        raise TaskError(f"facts() of {file.path} must return a dict of texts: label -> sentence.")
    return {label: " ".join(text.split()) for label, text in found.items() if text.strip()}


def _form(arrays: Arrays, *, rows: bool = True) -> str:
    """Return the arrays with their shapes, such as `tokens uint8 (118400)`; without the first axis if `rows` is false."""

    def shape(values: Any) -> str:
        return "x".join(map(str, values.shape if rows else values.shape[1:])) or "1"

    return ", ".join(f"{name} {values.dtype} ({shape(values)})".strip() for name, values in arrays.items())


def _fenced(code: str) -> str:
    text = code if len(code) <= SHOWN else f"{code[:SHOWN]}\n# (the rest is left out)"
    ticks = "`" * max(3, 1 + max(map(len, re.findall("`+", text)), default=0))
    return f"{ticks}python\n{text}\n{ticks}"

"""Writes docs/configuration.md from the models that read the configuration: `python docs/make_configuration.py`.

Types, defaults and meanings of all keys of `Config` come from its classes and from the text below each field. The tables that
a task reads are partly plain code, so their keys are listed here; `tests/test_docs.py` holds them against what the tasks accept.
"""

from __future__ import annotations

import ast
import dataclasses
import importlib
import inspect
import json
import sys
import textwrap
import types
import typing
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "configuration.md"
sys.path.insert(0, str(ROOT))

INTRODUCTION = """\
# Configuration

This page is written by `python docs/make_configuration.py` from the classes that read the configuration. Do not edit it.

A run has one configuration. It is put together from several sources, and a later one wins:

1. `seed.toml` in the seed's folder
2. the preset, if one is named (`preset = "paper"`)
3. the file of `--config FILE`
4. the flags of the command line (`--hours 8` is `limits.hours = 8`)
5. `--set key=value`, as often as needed: `--set search.p_eot=0.5 --set 'search.operators={mutate=1.0}'`

Unknown keys are refused, with the file they stand in. Tables are merged key by key, except for `objectives`, `metrics` and
`operators`, which replace the earlier table as a whole, and for `task`, which does so when it names another task. The whole
result is stored as `config.toml` in the run folder and in the journal.

A resumed run may be given other values by flags and `--set`. They are recorded. A key whose default is "none" is off or
unlimited when it is left out.

These options have keys of their own name:

- `--generations`, `--population` and `--schedule` in `[search]`
- $limits in `[limits]`
- `--slots` and `--unsafe-no-sandbox` in `[sandbox]`
- `--api-base` in `[llm]`

The others are `--llm` (`llm.models`), `--seed` (`run.seed`), `--dataset` (`task.dataset`), `--source` (`seed.files`), `--command`
(`task.command`) and `--metric` (`task.metrics` and `objectives`).
"""

TASKS = """\
## Tables that a task reads

`[task]` and `[budget]` are read by the task that `task.name` names. [tasks.md](tasks.md) describes the tasks.
"""

Row = tuple[str, str, str, str]
"""Key, type, default, meaning."""

PIXELS = "pixels, `64` or `[height, width]`"
SIZE = "size, such as `4GiB`"
TIME = "time, such as `90s` or `10min`"
SECRET: Row = (
    *("secret", "text", "that of the cache folder"),
    "What the order of rows is drawn from. A run keeps it; leave it out. See [isolation.md](isolation.md#the-secret).",
)
IMAGE_TASK: tuple[Row, ...] = (
    ("name", "text", "`image-classification`", "The kind of task."),
    ("entry", "text", "first of `seed.files`", "The file that defines `build_model`."),
    ("model", "text", "`build_model`", "The function or class of the entry file that makes the model."),
    ("input_size", PIXELS, "as stored", "Size that the model sees. Batches are resized on the device."),
    SECRET,
)
IMAGE_BUDGET: tuple[Row, ...] = (
    ("epochs", "whole number", "none", "Length of a training in epochs. Give exactly one of `epochs`, `steps` and `seconds`."),
    ("steps", "whole number", "none", "Length of a training in optimizer steps."),
    ("seconds", "number", "none", "Length of a training in seconds. Such a training is not repeatable bit by bit."),
    ("batch_size", "whole number", "`64`", "Images of one training step."),
    ("time_limit", TIME, "`120s`, or twice `seconds` if that is more", "Wall time after which a training is a failure."),
    ("memory", SIZE, "`4GiB`", "Host memory of each process. The images, which all evaluations share, are not counted."),
    ("early_stop", "`never` or `chance`", "`never`", "`chance`: end a training that after a third of its length is hardly better "
     "than naming the largest class."),
)  # fmt: skip
OWN_TASK: tuple[Row, ...] = (
    ("name", "text", "required", "The file of the task, relative to the seed's folder, such as `task.py`."),
    ("entry", "text", "first of `seed.files`", "The file that `task.py` gets as `module`."),
    SECRET,
)
OWN_BUDGET: tuple[Row, ...] = (
    ("time_limit", TIME, "`120s`", "Wall time after which a training is a failure."),
    ("memory", SIZE, "`4GiB`", "Memory of each process."),
    ("any other name", "number, text, true or false", "", "Handed to `fit` as an attribute of `budget`."),
)
SCRIPT_TASK: tuple[Row, ...] = (
    ("name", "text", "required", "`script`."),
    ("title", "text", "from command and metrics", "What the program is for, for prompts."),
    ("command", "text", "required", "How the script is run: `python FILE ...` or `python -m MODULE ...`."),
    ("metrics", "table: name = `min` or `max`", "required", "Numbers that the script prints, such as `name: value`."),
    ("copy", SIZE, "`64MiB`", "The most that is copied of the project."),
    ("leave_out", "list of texts", "`[]`", "Names and patterns that are not copied."),
    ("readable", "list of texts", "`[]`", "Files and folders that are not copied, but can be read where they are."),
    (
        "pythonpath",
        "list of texts",
        "`[]`",
        "Folders of the project to import from, such as `src`, besides the script's own. `PYTHONPATH` and editable installs are "
        "found without it.",
    ),
    ("snapshot", "text", "filled in by the run", "Digest of the copy that the run began with."),
)
SCRIPT_BUDGET: tuple[Row, ...] = (
    ("time_limit", TIME, "`10min`", "Wall time after which the script is a failure."),
    ("memory", SIZE, "`4GiB`", "Memory of the process."),
)


def main() -> None:
    PAGE.write_text(page(), encoding="utf-8")


def page() -> str:
    """The whole page as Markdown."""
    from agent.budget.limits import LIMITS
    from agent.run.config import Config
    from agent.run.config_sources import PRESETS

    recipe, data = find_class("TrainingRecipe", "Recipe"), find_class("DataRequest", "Request")
    *flags, last = (f"`--{limit.key.replace('_', '-')}`" for limit in LIMITS)
    introduction = INTRODUCTION.replace("$limits", f"{', '.join(flags)} and {last}")
    parts = [introduction, *config_sections(Config), presets(PRESETS), TASKS]
    for title, text, rows in (
        ("`[task]` of image classification", "", [*IMAGE_TASK, *rows_of(data, required={"dataset": ""})]),
        ("`[task.training]` of image classification", recipe_text(), rows_of(recipe)),
        ("`[budget]` of image classification", "", IMAGE_BUDGET),
        ("`[task]` of a task of your own", "", OWN_TASK),
        ("`[budget]` of a task of your own", "", OWN_BUDGET),
        ("`[task]` of a script", "", SCRIPT_TASK),
        ("`[budget]` of a script", "", SCRIPT_BUDGET),
    ):
        parts.append(f"### {title}\n\n{text}{table(rows)}")
    return "\n".join(parts)


def recipe_text() -> str:
    return (
        "What the configuration fixes of a training, and the program cannot change. Every default leaves a training plain. "
        "There is no\n`compile`: `torch.compile` starts compiler processes, and the sandbox lets a program start none.\n\n"
    )


def config_sections(config: type) -> Iterator[str]:
    """A chapter for the keys that are in no table, then one for each table in the order of the class."""
    hints, notes = typing.get_type_hints(config), field_notes(config)
    tables = [name for name in keys_of(config) if keys_of(hints[name])]
    yield f"## Top level\n\n{table(rows_of(config, without=tables))}"
    for name in tables:
        text = notes.get(name) or " ".join((hints[name].__doc__ or "").split()).partition(". ")[0]
        yield f"## `[{name}]`\n\n{text}\n\n{table(rows_of(hints[name]))}"


def keys_of(kind: Any) -> list[str]:
    """Names of the fields of a pydantic model or a dataclass; empty for any other type."""
    if dataclasses.is_dataclass(kind):
        return [field.name for field in dataclasses.fields(kind)]
    return list(getattr(kind, "model_fields", {}))


def rows_of(kind: Any, required: Mapping[str, Any] = MappingProxyType({}), without: Collection[str] = ()) -> list[Row]:
    """One row for each field. A field without a text below it has an empty meaning, which the test refuses.

    `required`: values for the fields that have no default.
    """
    hints, notes, example = typing.get_type_hints(kind), field_notes(kind), kind(**required)
    return [
        (
            name,
            PIXELS if name == "image_size" else type_text(hints[name]),
            "required" if name in required else default_text(getattr(example, name)),
            notes.get(name, ""),
        )
        for name in keys_of(kind)
        if name not in without
    ]


def field_notes(kind: type) -> Mapping[str, str]:
    """The text below each field of a class, on one line."""
    body = ast.parse(textwrap.dedent(inspect.getsource(kind))).body[0]
    assert isinstance(body, ast.ClassDef)
    notes = {}
    for field, text in zip(body.body, body.body[1:], strict=False):
        documented = isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant) and isinstance(text.value.value, str)
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and documented:
            notes[field.target.id] = " ".join(ast.literal_eval(text.value).split())
    return notes


def find_class(*names: str) -> type:
    """The class of `sandbox/` that has the first of these names which exists there."""
    for name in names:
        for path in sorted((ROOT / "sandbox").rglob("*.py")):
            if f"class {name}:" in path.read_text(encoding="utf-8"):
                module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
                return typing.cast(type, getattr(importlib.import_module(module), name))
    raise LookupError(f"sandbox/ has no class {' or '.join(names)}")


def type_text(kind: Any) -> str:
    """A type in words."""
    plain = {int: "whole number", float: "number", bool: "true or false", str: "text"}
    if kind in plain:
        return plain[kind]
    if keys := keys_of(kind):
        return f"table of {' and '.join(f'`{key}`' for key in keys)}"
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is Literal:
        return " or ".join(f"`{choice}`" for choice in arguments)
    if origin in (types.UnionType, typing.Union):
        return " or ".join(type_text(one) for one in arguments if one is not type(None))
    if origin is tuple and arguments[-1] is Ellipsis:
        return f"list of {type_text(arguments[0])}s"
    if origin is tuple:
        return f"two {type_text(arguments[0])}s"
    if origin is not None and issubclass(origin, Mapping):
        return "table" if arguments[1] is Any else f"table: name = {type_text(arguments[1])}"
    raise TypeError(f"no words for the type {kind}")


def default_text(value: Any) -> str:
    """As it would be written in TOML."""
    if value is None:
        return "none"
    if value == "":
        return ""
    return f"`{value}`" if isinstance(value, str) else f"`{toml_text(value)}`"


def toml_text(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key} = {toml_text(one)}" for key, one in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(toml_text, value)) + "]"
    return json.dumps(value)


def presets(known: Mapping[str, Mapping[str, Any]]) -> str:
    parts = ["## Presets\n\nA preset lies over `seed.toml` and below everything else.\n"]
    for name, tables in known.items():
        lines = []
        for key, keys in tables.items():
            lines += ["", f"[{key}]", *(f"{one} = {toml_text(value)}" for one, value in keys.items())]
        parts.append(f"`{name}`:\n\n```toml\n" + "\n".join(lines[1:]) + "\n```\n")
    return "\n".join(parts)


def table(rows: typing.Iterable[Row]) -> str:
    lines = ["| key | type | default | meaning |", "|---|---|---|---|"]
    lines += [f"| `{key}` | {kind} | {default} | {meaning} |" for key, kind, default, meaning in rows]
    return "\n".join(lines).replace("`any other name`", "any other name") + "\n"


if __name__ == "__main__":
    main()

"""One TOML file per run -> frozen models. Unknown keys are refused.

Later sources win: the seed's `seed.toml`, a preset, the file of `--config`, the flags and `--set key=value`.
"""

from __future__ import annotations

import math
import os
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import tomli_w
from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator

from agent.budget import Limits
from agent.competition import Contest
from agent.errors import UserError
from agent.fitness import RELATIONS, Constraint, Direction, Objective
from agent.learning import Credit, Recall
from agent.plateau import Patience
from agent.reflection import Reflections
from agent.resources import seeds_folder
from agent.script import place
from agent.search import Search
from sandbox.pool.gpus import SlotLayout
from sandbox.tasks import self_reported

PRESETS: Mapping[str, Mapping[str, Any]] = {
    "paper": {
        "search": {"schedule": "generational", "operators": {}},
        "llm": {"temperature": [0.05, 0.4], "max_tokens": [600, 1400], "redraws": 0},
        "contest": {"prompts": "uniform", "operators": "uniform", "models": "uniform"},
        "memory": {"enabled": False},
        "plateau": {"children": 0},
        "noise": {"trainings": 0},
    },
}
"""Named sets of settings. `paper`: its schedule, operators and rates, the sampling that its authors used for models of their
time, and nothing that it does not have."""
_TASK = "image-classification"


def cache_folder() -> Path:
    """Where decoded data sets are kept: `$EVOLVE_CACHE`, else the user's cache folder."""
    if chosen := os.environ.get("EVOLVE_CACHE"):
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "guided-evolution"


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class SeedSection(_Section):
    folder: str = ""
    """Absolute; filled in from the command line."""
    files: tuple[str, ...] = ("model.py",)
    frozen: tuple[str, ...] = ()


class LlmSection(_Section):
    models: tuple[str, ...] = ()
    api_base: str | None = None
    temperature: tuple[float, float] | None = None
    """Drawn uniformly for each prompt; left out: the provider's default, which every model accepts."""
    max_tokens: tuple[int, int] | None = (16_000, 16_000)
    """Upper bound of an answer, drawn uniformly; today's models spend reasoning tokens from it too."""
    deadline_seconds: float = Field(default=600.0, gt=0)
    """Of one answer, retries included."""
    concurrency: int = Field(default=4, ge=1)
    rest_after: int = Field(default=3, ge=1)
    """Calls of a model that fail in a row, all retries included; then it is left alone for a while."""
    rest_seconds: float = Field(default=30.0, gt=0)
    """For how long at first; it doubles, up to 15 minutes, each time that the model still fails afterwards."""
    patience_hours: float = Field(default=12.0, ge=0)
    """How long a run waits while no model answers at all; 0: the first call that fails ends it."""
    repairs: int = Field(default=1, ge=0)
    """How often an answer that breaks the block contract is sent back with the reason."""
    redraws: int = Field(default=1, ge=0)
    """How often a program that is known already, or nearly, is asked to be another one."""
    prices: dict[str, tuple[float, float]] = {}
    """US dollars per million tokens (in, out) by model, where the bundled table has none."""

    @field_validator("temperature", "max_tokens")
    @classmethod
    def _range(cls, value: tuple[float, float] | None, info: ValidationInfo) -> tuple[float, float] | None:
        least = 1 if info.field_name == "max_tokens" else 0
        if value is not None and not least <= value[0] <= value[1] < math.inf:
            raise ValueError(f"a range is [from, to], both finite and at least {least}")
        return value


class SandboxSection(_Section):
    slots: int | str = 1
    """Trainings at once: a number (on the GPUs if there are any), `2/gpu` for so many on each GPU, or `cpu:2`."""
    threads: int = Field(default=1, ge=1)
    """CPU threads of one evaluation."""
    unsafe_no_sandbox: bool = False
    """Run below level `contained`."""

    @field_validator("slots", mode="before")
    @classmethod
    def _readable(cls, value: Any) -> Any:
        layout = SlotLayout.read(value)
        return value if layout.where else layout.count


class RunSection(_Section):
    seed: int = 0
    """Of the search's chance."""
    training_seed: int = 0
    """Of every training, so that variants differ by their code and not by luck in the batches."""


class NoiseSection(_Section):
    trainings: int = Field(default=3, ge=0)
    """Of the seed before the search, each with another training seed: their spread is the unit in which changes are judged."""


class Config(_Section):
    """Everything that a run depends on beside the seed's sources and the prompts."""

    preset: Literal["paper"] | None = None
    seed: SeedSection = SeedSection()
    task: dict[str, Any] = {"name": _TASK}
    budget: dict[str, Any] = {}
    """Of one evaluation; the task reads it."""
    objectives: dict[str, Direction] = {"accuracy": "max", "parameters": "min"}
    constraints: dict[str, str] = {}
    search: Search = Search()
    contest: Contest = Contest()
    credit: Credit = Credit()
    memory: Recall = Recall()
    plateau: Patience = Patience()
    thoughts: Reflections = Reflections()
    noise: NoiseSection = NoiseSection()
    limits: Limits = Limits()
    """Of the whole run."""
    llm: LlmSection = LlmSection()
    sandbox: SandboxSection = SandboxSection()
    run: RunSection = RunSection()

    @field_validator("objectives")
    @classmethod
    def _at_least_two(cls, value: dict[str, Direction]) -> dict[str, Direction]:
        if len(value) < 2:
            raise ValueError("a run needs at least two objectives, such as accuracy and parameters")
        return value

    def objective_list(self) -> tuple[Objective, ...]:
        marks = self_reported(self.task)
        return tuple(Objective(name, direction, marks.get(name, "")) for name, direction in self.objectives.items())

    def constraint_list(self) -> tuple[Constraint, ...]:
        """Raises UserError for a bound that cannot be read."""
        return tuple(_constraint(name, text) for name, text in self.constraints.items())

    def to_toml(self) -> str:
        table = _without_none(self.model_dump(mode="json"))
        plain = tomli_w.dumps(table)
        # TOML makes one line break of the two characters in a text of several lines.
        return plain if "\\r" in plain else tomli_w.dumps(table, multiline_strings=True)


def load(
    seed: str,
    config_file: Path | None,
    overrides: Mapping[str, Any],
    assignments: Sequence[str],
    sources: Sequence[str] = (),
) -> Config:
    """The configuration of a new run. `overrides` are nested tables from flags, `assignments` texts `key.key=value`.

    `sources`: files that evolve, beside `seed` if that is one, instead of those that a `seed.toml` names.
    Raises UserError with the file and the key.
    """
    layers: list[tuple[str, Mapping[str, Any]]] = []
    if named := place(seed, overrides.get("task", {}).get("command"), sources):
        folder, files = named
        if Path(seed).is_dir() and (folder / "seed.toml").is_file():
            layers.append((str(folder / "seed.toml"), _read_toml(folder / "seed.toml")))
        layers.append((seed, {"seed": {"files": files}}))
    else:
        folder = _seed_folder(seed)
        layers.append((str(folder / "seed.toml"), _read_toml(folder / "seed.toml")))
    if config_file is not None:
        layers.append((str(config_file), _read_toml(config_file)))
    layers.append(("the command line", overrides))
    layers.extend((f"--set {text}", _assignment(text)) for text in assignments)

    for source, preset in [(source, table["preset"]) for source, table in layers if "preset" in table][-1:]:
        if not isinstance(preset, str) or preset not in PRESETS:
            raise UserError(f"{source}: there is no preset {preset!r}; known: {', '.join(PRESETS)}.")
        layers.insert(1, (f"preset {preset}", PRESETS[preset]))
    merged: dict[str, Any] = {}
    for source, table in layers:
        _merge(merged, table)
        _validate(merged, source)  # after each source, so that a mistake is blamed on the file it stands in
    merged.setdefault("seed", {})["folder"] = str(folder.resolve())
    _settle_dataset(merged.get("task", {}), folder)
    return _validate(merged, seed)


def read(path: Path) -> Config:
    """The configuration of a run that exists."""
    return _validate(_read_toml(path), str(path))


def said(overrides: Mapping[str, Any], assignments: Sequence[str]) -> dict[str, Any]:
    """What the command line says, as nested tables. Raises UserError for an assignment that has no key."""
    merged: dict[str, Any] = {}
    for table in (overrides, *map(_assignment, assignments)):
        _merge(merged, table)
    return merged


def over(config: Config, table: Mapping[str, Any]) -> Config:
    """The configuration with these values laid over it. Raises UserError for a key or value that cannot be."""
    merged = _without_none(config.model_dump(mode="json"))
    _merge(merged, table)
    return _validate(merged, "the command line")


def _seed_folder(seed: str) -> Path:
    """A folder with a `seed.toml`. A name that is no path may be a shipped seed."""
    path = Path(seed)
    shipped = seeds_folder() / path.name
    if not path.exists() and (shipped / "seed.toml").is_file() and path.parts[:-1] in ((), ("seeds",)):
        path = shipped
    if not path.is_dir():
        raise UserError(f"There is no seed at {seed}: give a folder with a seed.toml, or the path of a .py file.")
    if not (path / "seed.toml").is_file():
        raise UserError(f"{path} has no seed.toml; write one, or name the files that evolve with --source.")
    return path


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"There is no file {path}.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read: {error}.") from error
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"{path} is not valid TOML: {error}.") from error


def _settle_dataset(task: dict[str, Any], folder: Path) -> None:
    """A data set that is a folder is named by its whole path, so that a resume from elsewhere finds it.

    Paths are relative to the working folder, else to the seed's. A bare name is one of the embedded sets.
    """
    name = task.get("dataset")
    if isinstance(name, str) and (os.sep in name or name.startswith((".", "~"))):
        for path in (Path(name).expanduser(), folder / name):
            if path.is_dir():
                task["dataset"] = str(path.resolve())
                return


def _assignment(text: str) -> dict[str, Any]:
    """`a.b=1` -> {"a": {"b": 1}}; a value that is no TOML value is taken as a string."""
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise UserError(f"--set {text!r} must have the form key=value, such as search.generations=5.")
    try:
        parsed: Any = tomllib.loads(f"x = {value}")["x"]
    except tomllib.TOMLDecodeError:
        parsed = value.strip()
    for part in reversed(_parts(key.strip())):
        parsed = {part: parsed}
    return dict(parsed)


def _parts(key: str) -> list[str]:
    """As TOML has it, with quotes for a name that holds dots or slashes: `llm.prices."openai/gpt-4.1"`."""
    try:
        table: Any = tomllib.loads(f"{key} = 0")
    except tomllib.TOMLDecodeError:
        return key.split(".")
    parts = []
    while isinstance(table, dict) and len(table) == 1:
        part, table = next(iter(table.items()))
        parts.append(part)
    return key.split(".") if isinstance(table, dict) else parts


def _merge(into: dict[str, Any], table: Mapping[str, Any]) -> None:
    """Tables are merged, all else is replaced; but named objectives, metrics, operators and another task replace as a whole."""
    for key, value in table.items():
        if key in ("objectives", "metrics", "operators") or not isinstance(value, Mapping):
            into[key] = value
            continue
        earlier = into.get(key)
        if not isinstance(earlier, dict) or (key == "task" and _task_name(value, earlier) != _task_name(earlier)):
            into[key] = {}
        _merge(into[key], value)


def _task_name(*tables: Mapping[str, Any]) -> Any:
    return next((table["name"] for table in tables if "name" in table), _TASK)


def _validate(table: Mapping[str, Any], source: str) -> Config:
    try:
        return Config.model_validate(table)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(str(part) for part in first["loc"]) or "configuration"
        if first["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
            raise UserError(f"{source}: unknown key {key}.") from None
        raise UserError(f"{source}: {key}: {first['msg'].removeprefix('Value error, ')}.") from None


def _constraint(name: str, text: str) -> Constraint:
    relation, _, bound = text.strip().partition(" ")
    try:
        if relation in RELATIONS:
            limit = float(bound)
            if math.isfinite(limit):
                return Constraint(name, relation, limit)
    except ValueError:
        pass
    raise UserError(f'constraints.{name} = "{text}" must look like "<= 500000" (a relation, a space, a number).')


def _without_none(value: Any) -> Any:
    """TOML has no null: absent means default."""
    if isinstance(value, dict):
        return {k: _without_none(v) for k, v in value.items() if v is not None}
    return value

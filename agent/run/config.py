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

import platformdirs
import tomli_w
from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator

from agent.budget import RunLimits
from agent.core.errors import UserError
from agent.core.objectives import RELATIONS, Constraint, Direction, Objective
from agent.core.paths import seeds_folder
from agent.search.bandit import BanditSettings
from agent.search.feedback import CreditSettings, MemorySettings
from agent.search.plateau import PlateauSettings
from agent.search.reflection import ReflectionSettings
from agent.search.settings import SearchSettings
from sandbox.pool.gpus import SlotLayout
from sandbox.tasks import self_reported

PRESETS: Mapping[str, Mapping[str, Any]] = {
    "paper": {
        "search": {"schedule": "generational", "operators": {}, "spread_first_population": False},
        "llm": {"temperature": [0.05, 0.4], "max_tokens": [600, 1400], "redraws": 0},
        "contest": {"prompts": "uniform", "operators": "uniform", "models": "uniform"},
        "memory": {"enabled": False},
        "plateau": {"children": 0},
        "noise": {"trainings": 0},
        "confirm": {"at_end": False},
    },
}
"""Named sets of settings. `paper`: its schedule, operators and rates, the sampling that its authors used for models of their
time, and nothing that it does not have."""
_TASK = "image-classification"


def cache_folder() -> Path:
    """Where decoded data sets are kept: `$EVOLVE_CACHE`, else the user's cache folder."""
    if chosen := os.environ.get("EVOLVE_CACHE"):
        return Path(chosen)
    return platformdirs.user_cache_path("guided-evolution")


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class SeedSection(_Section):
    """What evolves."""

    folder: str = ""
    """Absolute path of the seed's folder; filled in from the command line."""
    files: tuple[str, ...] = ("model.py",)
    """Source files that evolve, relative to the seed's folder. Every top-level class or function in them is a block."""
    frozen: tuple[str, ...] = ()
    """Names of blocks that must stay as they are. With several files a block is named `pkg/b.py:Net`."""


class LlmSection(_Section):
    """Which models answer, how they are asked, and what happens when one does not answer."""

    models: tuple[str, ...] = ()
    """Names of the models that share the work, as `--llm` takes them. A model that is named twice has double weight."""
    api_base: str | None = None
    """Address of an OpenAI-compatible server, which then serves every model that is not `offline`, `cmd:` or `inbox:`."""
    temperature: tuple[float, float] | None = None
    """Sampling temperature, drawn uniformly from this range for each prompt. Left out: the provider's default."""
    max_tokens: tuple[int, int] | None = (16_000, 16_000)
    """Most tokens of an answer, drawn uniformly from this range for each prompt. Reasoning tokens count."""
    deadline_seconds: float = Field(default=600.0, gt=0)
    """Seconds that one answer may take, all retries included."""
    concurrency: int = Field(default=4, ge=1)
    """How many candidates are bred at once; each has at most one model call open."""
    rest_after: int = Field(default=3, ge=1)
    """A model cools down after this many failed calls in a row; the retries of a call count as one."""
    rest_seconds: float = Field(default=30.0, gt=0)
    """Seconds of the first cool-down. Each further one lasts twice as long, up to 15 minutes."""
    patience_hours: float = Field(default=12.0, ge=0)
    """How long a run waits while no model answers at all. 0: a call that no model answers ends the run."""
    repairs: int = Field(default=1, ge=0)
    """How often an answer that breaks a rule, or a program that fails the smoke stage, is sent back with the reason."""
    redraws: int = Field(default=1, ge=0)
    """How often a model is asked for another program when its answer gives one that is known already, or nearly."""
    prices: dict[str, tuple[float, float]] = {}
    """US dollars per million tokens, `[in, out]`, by model. They come before the bundled table of prices."""

    @field_validator("temperature", "max_tokens")
    @classmethod
    def _range(cls, value: tuple[float, float] | None, info: ValidationInfo) -> tuple[float, float] | None:
        least = 1 if info.field_name == "max_tokens" else 0
        if value is not None and not least <= value[0] <= value[1] < math.inf:
            raise ValueError(f"a range is [from, to], both finite and at least {least}")
        return value


class SandboxSection(_Section):
    """Where evaluations run."""

    slots: int | str = 1
    """Trainings at once: a number (shared by the GPUs if there are any), `2/gpu` (two on each GPU) or `cpu:2`."""
    threads: int = Field(default=1, ge=1)
    """CPU threads of one evaluation."""
    unsafe_no_sandbox: bool = False
    """Allow a run on a machine whose isolation level is below `contained`."""

    @field_validator("slots", mode="before")
    @classmethod
    def _readable(cls, value: Any) -> Any:
        layout = SlotLayout.read(value)
        return value if layout.where else layout.count


class RunSection(_Section):
    """Seeds of all chance."""

    seed: int = 0
    """Seed of the random generator that the search draws from."""
    training_seed: int = 0
    """Seed of every training, so that candidates differ by their code and not by luck in the batches."""


class NoiseSection(_Section):
    """How the noise floor is measured."""

    trainings: int = Field(default=3, ge=0)
    """Extra trainings of the seed before the search, each with another training seed. Their spread is the noise floor.
    0: the noise is not measured."""


class ConfirmSection(_Section):
    """How the front is confirmed: trained again on fresh training seeds, then judged on the sealed test split."""

    at_end: Literal["auto"] | bool = "auto"
    """Does a run confirm its front at its end? `auto`: if a limit is set of which a reserve is kept (hours, until, usd,
    gpu_hours). `false`: nothing is kept in reserve. `evolve confirm` works in any case."""
    trainings: int = Field(default=5, ge=1)
    """Trainings of each program, each with a training seed that nothing else of the run has used. One alone decides nothing."""
    members: int = Field(default=5, ge=1)
    """Members of the front that are confirmed at most: those that are best spread over it."""
    margin: float = Field(default=2.0, gt=0, allow_inf_nan=False)
    """In sigmas of the seed over training seeds: a program that is worse by less counts as no worse."""


class Config(_Section):
    """Everything that a run depends on beside the seed's sources and the prompts."""

    preset: Literal["paper"] | None = None
    """A named set of settings, laid under everything else that is given. `paper`: the paper's loop, rates and sampling."""
    seed: SeedSection = SeedSection()
    task: dict[str, Any] = {"name": _TASK}
    """What candidates are measured by; the task reads the rest of this table."""
    budget: dict[str, Any] = {}
    """Length and limits of one evaluation; the task reads this table."""
    objectives: dict[str, Direction] = {"accuracy": "max", "parameters": "min"}
    """Two or more quantities that the task measures, each with its direction. Left out: those that the task itself names."""
    constraints: dict[str, str] = {}
    """Bounds by quantity, such as `parameters = "<= 500000"`. A candidate outside is a failure, if possible before training."""
    search: SearchSettings = SearchSettings()
    contest: BanditSettings = BanditSettings()
    credit: CreditSettings = CreditSettings()
    memory: MemorySettings = MemorySettings()
    plateau: PlateauSettings = PlateauSettings()
    thoughts: ReflectionSettings = ReflectionSettings()
    noise: NoiseSection = NoiseSection()
    confirm: ConfirmSection = ConfirmSection()
    limits: RunLimits = RunLimits()
    """What the whole run may spend."""
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


def with_script(flags: dict[str, dict[str, Any]], command: str | None, metrics: Sequence[str]) -> dict[str, dict[str, Any]]:
    """The tables of `flags` with what `--command` and `--metric` say added to `[task]` and `[objectives]`. Raises UserError."""
    if command is None:
        if metrics:
            raise UserError('--metric names what a script prints: say with --command "python FILE" how the script is run.')
        return flags
    if not metrics:
        raise UserError("--command needs at least one --metric NAME:min or NAME:max, a number that the script prints.")
    from sandbox.tasks.script.task import directions

    told: dict[str, str] = {}
    for text in metrics:
        name, colon, way = text.rpartition(":")
        if not colon or way not in ("min", "max") or not name.strip():
            raise UserError(f"--metric {text!r} must have the form NAME:min or NAME:max, such as val_loss:min.")
        told[name.strip()] = way
    task = {**flags.get("task", {}), "name": "script", "command": command, "metrics": told}
    return {**flags, "task": task, "objectives": directions(told)}


def place(seed: str, command: str | None, sources: Sequence[str]) -> tuple[Path, list[str]] | None:
    """(folder, files that evolve), where they are named one by one; None if a `seed.toml` names them.

    Raises UserError for a file that is not there.
    """
    path = Path(seed)
    if path.suffix != ".py" and not sources:
        return None
    if path.suffix != ".py":
        if not path.is_dir():
            raise UserError(f"There is no folder {seed}.")
        return path, _inside(path, sources)
    if not path.is_file():
        raise UserError(f"There is no file {seed}.")
    folder = _project(path, command) if command else path.parent
    own = path.resolve().relative_to(folder.resolve()).as_posix()
    return folder, list(dict.fromkeys([own, *_inside(folder, sources)]))


def _project(path: Path, command: str) -> Path:
    """The folder that the command is meant from: the file's own, or one above it, up to the current one."""
    from sandbox import TaskError
    from sandbox.tasks.script.command import ScriptCommand

    try:
        wanted = ScriptCommand.parse(command)
    except TaskError as error:
        raise UserError(str(error)) from None
    parent, here = path.resolve().parent, Path.cwd().resolve()
    above = [folder for folder in parent.parents if folder.is_relative_to(here)]
    for folder in (parent, *above):
        if wanted.exists_in(folder):
            return folder
    looked = " or ".join(wanted.candidates())
    raise UserError(f"--command {command!r} cannot be run: there is no {looked} in {path.parent} or above it.")


def _inside(folder: Path, sources: Sequence[str]) -> list[str]:
    """Each as a path relative to the folder, from which or from the current folder it was meant."""
    found = []
    for source in sources:
        for path in (folder / source, Path(source)):
            if path.is_file() and path.resolve().is_relative_to(folder.resolve()):
                found.append(path.resolve().relative_to(folder.resolve()).as_posix())
                break
        else:
            raise UserError(f"--source {source}: there is no such file in {folder}.")
    return found

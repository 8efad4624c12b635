"""Read the sources of a configuration and merge them.

Later sources win: the seed's `seed.toml`, a preset, the file of `--config`, the flags and `--set key=value`.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from agent.core.errors import UserError
from agent.core.paths import seeds_folder
from agent.run.bare_seed import complete
from agent.run.config import DEFAULT_TASK, Config, without_none
from agent.run.known_keys import meant
from agent.run.script_flags import folder_and_files

PRESETS: Mapping[str, Mapping[str, Any]] = {
    "paper": {
        "search": {
            "schedule": "generational",
            "first_population": 32,
            "operators": {},
            "parents": "nsga2",
            "spread_first_population": False,
        },
        "llm": {"temperature": [0.05, 0.4], "max_tokens": [600, 1400], "redraws": 0},
        "contest": {"prompts": "uniform", "operators": "uniform", "models": "uniform"},
        "memory": {"enabled": False},
        "plateau": {"children": 0},
        "noise": {"trainings": 0},
        "retrain": {"share": 0},
        "confirm": {"at_end": False},
    },
}
"""Named sets of settings. `paper`: its schedule, operators and rates, the sampling that its authors used for the models of
their time, and none of the features that the paper does not have."""


_WHOLE = ("objectives", "metrics", "operators")
"""Tables of these names replace the earlier ones as a whole."""


def load(
    seed: str,
    config_file: Path | None,
    overrides: Mapping[str, Any],
    assignments: Sequence[str],
    sources: Sequence[str] = (),
    tell: Callable[[str], None] = lambda text: None,
) -> Config:
    """Read the configuration of a new run. `overrides`: nested tables from flags; `assignments`: texts `key.key=value`.

    `sources`: files that evolve, together with `seed` if that is a file, instead of those that a `seed.toml` names.
    `tell`: called with each default that a bare `.py` file gets. Raises UserError with the file and the key.
    """
    layers: list[tuple[str, Mapping[str, Any]]] = []
    named = folder_and_files(seed, overrides.get("task", {}).get("command"), sources)
    if named:
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
    layers.extend(_assignment_layers(assignments))

    for source, preset in [(source, table["preset"]) for source, table in layers if "preset" in table][-1:]:
        if not isinstance(preset, str) or preset not in PRESETS:
            raise UserError(f"{source}: there is no preset {preset!r}; known: {', '.join(PRESETS)}.")
        layers.insert(1, (f"preset {preset}", PRESETS[preset]))
    merged: dict[str, Any] = {}
    for source, table in layers:
        _merge(merged, table)
        validated(merged, source)  # after each source, so that the message names the source of the mistake
    merged.setdefault("seed", {})["folder"] = str(folder.resolve())
    is_bare = named is not None and not (Path(seed).is_dir() and (folder / "seed.toml").is_file())
    if is_bare and _task_name(merged.get("task", {})) == DEFAULT_TASK:
        complete(merged, folder, tell)
    _resolve_dataset(merged.get("task", {}), folder)
    return validated(merged, seed)


def read(path: Path) -> Config:
    """Read the configuration file of an existing run. Raises UserError with the path and the key."""
    return validated(_read_toml(path), str(path))


def command_line_table(overrides: Mapping[str, Any], assignments: Sequence[str]) -> dict[str, Any]:
    """The settings that the command line names, as nested tables. Raises UserError for an assignment that has no key."""
    merged: dict[str, Any] = {}
    for table in (overrides, *(table for _, table in _assignment_layers(assignments))):
        _merge(merged, table)
    return merged


def with_changes(config: Config, table: Mapping[str, Any]) -> Config:
    """Return the configuration with these values instead of its own. Raises UserError for an unknown key or a bad value."""
    merged = without_none(config.model_dump(mode="json"))
    _merge(merged, table)
    return validated(merged, "the command line")


def _seed_folder(seed: str) -> Path:
    """Find the folder with the `seed.toml`: the path itself, else the shipped seed of this name. Raises UserError."""
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
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))  # editors on Windows begin a file with a mark
    except FileNotFoundError:
        raise UserError(f"There is no file {path}.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read: {error}.") from error
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"{path} is not valid TOML: {error}.") from error


def _resolve_dataset(task: dict[str, Any], folder: Path) -> None:
    """Replace the path of a data set's folder by its absolute path, so that a resume from elsewhere finds it.

    A relative path is looked up in the working folder, then in the seed's folder. The name of an embedded set is no path.
    """
    from sandbox.data.sources import EMBEDDED

    name = task.get("dataset")
    if isinstance(name, str) and name and name not in EMBEDDED:
        for path in (Path(name).expanduser(), folder / name):
            if path.is_dir():
                task["dataset"] = str(path.resolve())
                return


def _assignment_layers(assignments: Sequence[str]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield (source, table) of each assignment; those into one table that is replaced as a whole are one layer."""
    groups: dict[object, list[str]] = {}
    for text in assignments:
        parts = _key_parts(text.partition("=")[0].strip())
        within = next((tuple(parts[: n + 1]) for n, part in enumerate(parts[:-1]) if part in _WHOLE), None)
        groups.setdefault(within or object(), []).append(text)
    for texts in groups.values():
        table: dict[str, Any] = {}
        for text in texts:
            _merge(table, _assignment(text), whole=())
        yield f"--set {' --set '.join(texts)}", table


def _assignment(text: str) -> dict[str, Any]:
    """`a.b=1` -> {"a": {"b": 1}}; a value that is no TOML value is taken as a string."""
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise UserError(f"--set {text!r} must have the form key=value, such as search.generations=5.")
    try:
        parsed: Any = tomllib.loads(f"x = {value}")["x"]
    except tomllib.TOMLDecodeError:
        parsed = value.strip()
    for part in reversed(_key_parts(key.strip())):
        parsed = {part: parsed}
    return dict(parsed)


def _key_parts(key: str) -> list[str]:
    """Split a dotted key as TOML does; a name with dots or slashes is quoted: `llm.prices."openai/gpt-4.1"`."""
    try:
        table: Any = tomllib.loads(f"{key} = 0")
    except tomllib.TOMLDecodeError:
        return key.split(".")
    parts = []
    while isinstance(table, dict) and len(table) == 1:
        part, table = next(iter(table.items()))
        parts.append(part)
    return key.split(".") if isinstance(table, dict) else parts


def _merge(into: dict[str, Any], table: Mapping[str, Any], whole: Collection[str] = _WHOLE) -> None:
    """Merge a table into another one in place: tables are merged key by key, any other value replaces the earlier one.

    Tables of the names in `whole` replace the earlier ones as a whole, and so does `[task]` if it names another task.
    """
    for key, value in table.items():
        if key in whole or not isinstance(value, Mapping):
            into[key] = value
            continue
        earlier = into.get(key)
        if not isinstance(earlier, dict) or (key == "task" and _task_name(value, earlier) != _task_name(earlier)):
            into[key] = {}
        _merge(into[key], value, whole)


def _task_name(*tables: Mapping[str, Any]) -> Any:
    return next((table["name"] for table in tables if "name" in table), DEFAULT_TASK)


def validated(table: Mapping[str, Any], source: str) -> Config:
    """The configuration of nested tables. Raises UserError that names `source` and the key."""
    try:
        return Config.model_validate(table)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(str(part) for part in first["loc"]) or "configuration"
        if first["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
            raise UserError(f"{source}: unknown key {key}{meant(key) or '.'}") from None
        raise UserError(f"{source}: {key}: {first['msg'].removeprefix('Value error, ')}.") from None

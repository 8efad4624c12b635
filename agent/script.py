"""The flags `--command`, `--metric` and `--source`: anybody's project as the tables of a configuration."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from agent.errors import UserError


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

"""What the flags `--command`, `--metric` and `--source` mean: the task of a script, and the files that evolve."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from agent.core.errors import UserError


def with_script(flags: dict[str, dict[str, Any]], command: str | None, metrics: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return the tables of `flags` with the task and objectives that `--command` and `--metric` describe. Raises UserError."""
    if command is None:
        if metrics:
            raise UserError('--metric names what a script prints: say with --command "python FILE" how the script is run.')
        return flags
    if not metrics:
        raise UserError("--command needs at least one --metric NAME:min or NAME:max, a number that the script prints.")
    from sandbox.tasks.script.task import directions

    metric_directions: dict[str, str] = {}
    for text in metrics:
        name, colon, way = text.rpartition(":")
        if not colon or way not in ("min", "max") or not name.strip():
            raise UserError(f"--metric {text!r} must have the form NAME:min or NAME:max, such as val_loss:min.")
        metric_directions[name.strip()] = way
    task = {**flags.get("task", {}), "name": "script", "command": command, "metrics": metric_directions}
    return {**flags, "task": task, "objectives": directions(metric_directions)}


def folder_and_files(seed: str, command: str | None, sources: Sequence[str]) -> tuple[Path, list[str]] | None:
    """Return the seed's folder and the files that evolve if the command line names these files; None if a `seed.toml` does.

    `seed`: a folder or a .py file; `sources`: further files, relative to the folder or to the working folder.
    Raises UserError for a file that does not exist.
    """
    path = Path(seed)
    if path.suffix != ".py" and not sources:
        return None
    if path.suffix != ".py":
        if not path.is_dir():
            raise UserError(f"There is no folder {seed}.")
        return path, _relative_paths(path, sources)
    if not path.is_file():
        raise UserError(f"There is no file {seed}.")
    folder = _project_folder(path, command) if command else path.parent
    own = path.resolve().relative_to(folder.resolve()).as_posix()
    return folder, list(dict.fromkeys([own, *_relative_paths(folder, sources)]))


def _project_folder(path: Path, command: str) -> Path:
    """The folder to run the command in: the nearest one, from the file's own up to the working folder, that has its script.

    Raises UserError if none has it.
    """
    from sandbox import TaskError
    from sandbox.tasks.script.command import ScriptCommand
    from sandbox.tasks.script.roots import found_roots

    try:
        wanted = ScriptCommand.parse(command)
    except TaskError as error:
        raise UserError(str(error)) from None
    parent, here = path.resolve().parent, Path.cwd().resolve()
    above = [folder for folder in parent.parents if folder.is_relative_to(here)]
    for folder in (parent, *above):
        if wanted.exists_in(folder, found_roots(folder, [path.resolve().relative_to(folder).as_posix()])):
            return folder
    looked = " or ".join(wanted.candidates())
    raise UserError(f"--command {command!r} cannot be run: there is no {looked} in {path.parent} or above it.")


def _relative_paths(folder: Path, sources: Sequence[str]) -> list[str]:
    """Each source as a path relative to the folder; it is looked up in the folder, then in the working folder."""
    found = []
    for source in sources:
        for path in (folder / source, Path(source)):
            if path.is_file() and path.resolve().is_relative_to(folder.resolve()):
                found.append(path.resolve().relative_to(folder.resolve()).as_posix())
                break
        else:
            raise UserError(f"--source {source}: there is no such file in {folder}.")
    return found

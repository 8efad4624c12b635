"""The folders of a project from which its script imports, apart from the script's own: `PYTHONPATH` and editable installs.

The interpreter that runs the search is the one that the project is installed for. In the sandbox the project lies elsewhere, so
these folders are put on the path of each private copy, relative to it.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path

from sandbox.sandbox import TaskError

_ENTRIES = 2000
"""Most entries of a project in which the names of its packages are looked for."""


def checked_roots(listed: Iterable[str], folder: Path) -> tuple[str, ...]:
    """Return folders that the user names, relative to the project's folder. Raises TaskError for one that is not in it."""
    roots = []
    for name in listed:
        place = (folder / name).resolve()
        if not place.is_dir():
            raise TaskError(f"task.pythonpath: there is no folder {folder / name}.")
        if not place.is_relative_to(folder.resolve()):
            raise TaskError(
                f"task.pythonpath: {name} lies outside of the project's folder {folder}, of which each run gets a copy: name a "
                "folder that holds both as the seed."
            )
        roots.append(place.relative_to(folder.resolve()).as_posix())
    return tuple(dict.fromkeys(roots))


def found_roots(folder: Path, files: Iterable[str]) -> tuple[str, ...]:
    """Return the folders of the project, relative to it, from which this interpreter imports. `files`: those that evolve."""
    folder = folder.resolve()
    places = [*_on_path(), *_editable(folder, files)]
    inside = [place.relative_to(folder) for place in places if place.is_relative_to(folder)]
    return tuple(dict.fromkeys(place.as_posix() for place in inside if _is_of_project(place)))


def _is_of_project(place: Path) -> bool:
    """Whether a folder in the project is its own, and not that of a virtual environment in it."""
    return not any(part.startswith(".") or part in ("site-packages", "dist-packages", "bin") for part in place.parts)


def _on_path() -> Iterator[Path]:
    """Yield the folders of PYTHONPATH and of .pth files. The first of `sys.path` is that of the command `evolve` itself."""
    named = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    for path in (*named, *sys.path[1:]):
        if path and os.path.isdir(path):
            yield Path(path).resolve()


def _editable(folder: Path, files: Iterable[str]) -> Iterator[Path]:
    """Yield the folders to which the import hooks of editable installs lead."""
    finders = [finder for finder in sys.meta_path if "editable" in str(getattr(finder, "__module__", "")).lower()]
    if not finders:
        return
    names = {Path(part).stem for file in files for part in Path(file).parts}
    names |= {path.stem for path in islice(folder.glob("*/*"), _ENTRIES) if path.is_dir() or path.suffix == ".py"}
    for name in sorted(name for name in names if name.isidentifier()):
        for finder in finders:
            spec = finder.find_spec(name, None, None)
            if spec and spec.submodule_search_locations:
                yield Path(next(iter(spec.submodule_search_locations))).resolve().parent
            elif spec and spec.origin:
                yield Path(spec.origin).resolve().parent


def missing_module(name: str, folder: Path) -> str:
    """Return what can be done about a module that the script did not find: sentences, or empty if nothing is known of it."""
    top = name.partition(".")[0]
    if not top.isidentifier():
        return ""
    places = _places_of(top, folder)
    if places:
        root = places[0]
        return (
            f" It lies in {root} of this project: put that folder on the path with --set 'task.pythonpath=[\"{root}\"]' "
            "(`pip install -e .` beside evolve, or PYTHONPATH, does it too)."
        )
    spec = importlib.util.find_spec(top) if top not in sys.modules else None
    if spec and spec.origin and not any(part.endswith("-packages") for part in Path(spec.origin).parts):
        return f" It is imported from {spec.origin}, outside of {folder}: name a folder that holds both as the seed."
    return ""


def _places_of(top: str, folder: Path) -> Sequence[str]:
    """Return the folders of the project, relative to it and the shortest first, that hold a package or module of this name."""
    paths = islice((p for pattern in (top, f"{top}.py") for p in folder.rglob(pattern)), _ENTRIES)
    found = {p.parent.relative_to(folder) for p in paths if p.suffix == ".py" or any(p.glob("*.py"))}
    return sorted((place.as_posix() for place in found if _is_of_project(place)), key=lambda place: (len(place), place))

"""What the programs of a seed need besides the files that evolve, as far as the last commit does not hold it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from agent.core.text import list_names
from agent.lineage.repository import RunRepository
from agent.lineage.stored import blob_hash, joined, with_line_feeds

MAX_FILE = 1 << 20
"""Bytes of one file that a commit takes up: larger ones are data, which do not belong into a user's repository unasked."""
MAX_ALL = 8 << 20
"""Bytes of all such files together."""
_NAMED = 8
"""Names in a sentence."""


@dataclass(frozen=True)
class Surroundings:
    """Files that the seed's commit holds too, so that a checkout of any branch runs, and what is to be said about them."""

    held: Mapping[str, bytes] = field(default_factory=dict)
    """Content by name relative to the seed's folder."""
    notes: tuple[str, ...] = ()

    @classmethod
    def of(cls, repository: RunRepository, files: Mapping[str, bytes]) -> Surroundings:
        """Choose from `files`, all that the programs may read, those that differ from the base. Raises git.GitCommandError."""
        if not files:
            return cls()
        if repository.is_own:
            held, large = _within_limits(files)
            return cls(held, _left_out(dict.fromkeys(large, "too large")))
        known = _in_base(repository, files)
        ignored, foreign = _not_to_be_added(repository, [name for name in files if name not in known])
        differing = {n: data for n, data in files.items() if n not in ignored and n not in foreign and known.get(n) != "same"}
        filtered = {name for name, rule in repository.rules_of(differing).items() if rule.filter}
        held, large = _within_limits({name: data for name, data in differing.items() if name not in filtered})
        states = {name: "changed" if name in known else "new" for name in held}
        missing = {
            **dict.fromkeys(ignored, "ignored by git"),
            **dict.fromkeys(foreign, "of another repository"),
            **dict.fromkeys(filtered, "behind a filter"),
            **dict.fromkeys(large, "too large"),
        }
        return cls(held, (*_told(states), *_left_out(missing)))


def _in_base(repository: RunRepository, files: Mapping[str, bytes]) -> dict[str, str]:
    """`same` or `other` for each file that the base holds."""
    found = {}
    for name, data in files.items():
        if committed := repository.tree.get(repository.path(name)):
            _, hash = committed
            length = len(hash)
            # git would store it so in most clones: only what is left is worth asking git about, file by file.
            same = hash in (blob_hash(data, length), blob_hash(with_line_feeds(data), length))
            found[name] = "same" if same else "other"
    asked = {name: files[name] for name, word in found.items() if word == "other"}
    for entry, name in zip(repository.entries(asked, write=False), asked, strict=True):
        _, hash = repository.tree[entry.path]
        if hash == (entry.blob or blob_hash(entry.content, len(hash))):
            found[name] = "same"
    return found


def _not_to_be_added(repository: RunRepository, names: Iterable[str]) -> tuple[set[str], set[str]]:
    """Of files that the base lacks: those that git ignores, and those of other repositories inside of this one."""
    import git

    names = list(names)
    inner = {folder for folder, (mode, _) in repository.tree.items() if mode == "160000"}
    foreign = {name for name in names if any(_is_repository(repository, part, inner) for part in PurePosixPath(name).parents)}
    paths = {repository.path(name): name for name in names if name not in foreign}
    try:
        listed = repository.run("check-ignore", "-z", "--stdin", stdin=joined(paths)) if paths else ""
    except git.GitCommandError as error:
        if error.status != 1:  # 1: none is ignored
            raise
        listed = ""
    return {paths[path] for path in listed.split("\0") if path in paths}, foreign


def _is_repository(repository: RunRepository, folder: PurePosixPath, submodules: Iterable[str]) -> bool:
    if folder == PurePosixPath("."):
        return False
    path = repository.path(str(folder))
    return path in submodules or (repository.top / path / ".git").exists()


def _within_limits(files: Mapping[str, bytes]) -> tuple[dict[str, bytes], list[str]]:
    """The files that a commit may take up, small ones first, and the names of the others."""
    held: dict[str, bytes] = {}
    total = 0
    for name, data in sorted(files.items(), key=lambda item: len(item[1])):
        if len(data) <= MAX_FILE and total + len(data) <= MAX_ALL:
            held[name] = data
            total += len(data)
    return dict(sorted(held.items())), sorted(files.keys() - held.keys())


def _told(states: Mapping[str, str]) -> tuple[str, ...]:
    """What is said of the files that the seed's commit holds besides its own; `states`: whether each is changed or new."""
    if not states:
        return ()
    named = list_names([f"{name} ({state})" for name, state in states.items()], _NAMED)
    return (f"Not as in the last commit: {named}. The branches hold them as this run measures them.",)


def _left_out(reasons: Mapping[str, str]) -> tuple[str, ...]:
    """What is said of the files that no commit holds, by name with the reason."""
    if not reasons:
        return ()
    named = list_names([f"{name} ({reason})" for name, reason in sorted(reasons.items())])
    return (f"The branches do not hold {named}: where they are checked out, programs that need that do not run.",)

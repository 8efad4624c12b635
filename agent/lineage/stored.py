"""What git would store for a file of the work tree: with the line ends and conversions of the repository's own rules."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

_ATTRIBUTES = ("filter", "text", "eol", "crlf", "ident", "working-tree-encoding")
_UNSAID = ("unspecified", "unset", "set", "")

Run = Callable[..., str]
"""Runs a git command in the top folder of a work tree: arguments and `stdin` -> output. Raises git.GitCommandError."""


@dataclass(frozen=True)
class StorageRule:
    """How the content of one path becomes a blob."""

    line_ends: bool = False
    """Whether CRLF becomes LF first: the blob that git knows has LF alone."""
    by_git: bool = False
    """Whether an attribute or a setting may change the content, so that git itself has to store it."""
    filter: str = ""
    """The filter of this path for which git would start a program; empty without one."""


RAW = StorageRule()
"""Stores the bytes as they are."""


def storage_rules(run: Run, paths: Iterable[str]) -> dict[str, StorageRule]:
    """The rule of each path, relative to the top folder of the work tree. Raises git.GitCommandError."""
    paths = list(dict.fromkeys(paths))
    if not paths:
        return {}
    attributes, ends = _attributes(run, paths), _known_line_ends(run, paths)
    converts = _setting(run, "core.autocrlf") not in ("", "false", "no", "off", "0")
    programs = _filter_programs(run)
    return {path: _rule(attributes.get(path, {}), ends.get(path, ""), converts, programs) for path in paths}


def _rule(attributes: Mapping[str, str], known: str, converts: bool, programs: Iterable[str]) -> StorageRule:
    """`known`: the line ends of the blob in the index; `converts`: the setting core.autocrlf."""
    text = attributes.get("text", "unspecified")
    if text == "unspecified":  # the old name of the attribute
        text = attributes.get("crlf", "unspecified")
    chosen = {name: value for name, value in attributes.items() if value not in ("unspecified", "unset")}
    name = attributes.get("filter", "")
    filter = name if name not in _UNSAID and name in programs else ""
    if text == "unset":
        return StorageRule(by_git=bool(chosen.keys() - {"filter", "eol", "crlf"}), filter=filter)
    # git leaves a file alone that was committed with CRLF, unless it is told that it is text: `git add` looks into the
    # index for that, and `git hash-object` does not.
    automatic = text == "auto" or (text == "unspecified" and "eol" not in chosen)
    kept = automatic and known in ("crlf", "mixed")
    others = chosen.keys() - ({"filter", "text", "crlf", "eol"} if kept else {"filter"})
    return StorageRule(known == "lf", bool(others) or (converts and not kept), filter)


def _attributes(run: Run, paths: Iterable[str]) -> dict[str, dict[str, str]]:
    """The value of each attribute, by path."""
    listed = run("check-attr", "-z", "--stdin", *_ATTRIBUTES, stdin=joined(paths)).split("\0")
    found: dict[str, dict[str, str]] = {}
    for path, name, value in zip(listed[::3], listed[1::3], listed[2::3], strict=False):
        found.setdefault(path, {})[name] = value
    return found


def _known_line_ends(run: Run, paths: Iterable[str]) -> dict[str, str]:
    """`lf`, `crlf`, `mixed`, `none` or `-text`, by path, for the blobs in the index: nothing for a file that is not in it."""
    import git

    try:
        listed = run("--literal-pathspecs", "ls-files", "--eol", "-z", "--", *paths)
    except git.GitCommandError:  # a blob that a partial clone has not fetched
        return {}
    entries = (entry.partition("\t") for entry in listed.split("\0") if entry)
    return {path: facts.split()[0].removeprefix("i/") for facts, _, path in entries}


def _setting(run: Run, name: str) -> str:
    """The value of a setting, in small letters; empty if it has none."""
    import git

    try:
        return run("config", "--get", name).strip().lower()
    except git.GitCommandError:
        return ""


def _filter_programs(run: Run) -> frozenset[str]:
    """Names of the filters with a program that git starts when it stores a file, or without which it stores nothing."""
    import git

    try:
        listed = run("config", "-z", "--get-regexp", r"^filter\..*\.(clean|process|required)$").split("\0")
    except git.GitCommandError:  # there is none
        return frozenset()
    settings = (entry.partition("\n") for entry in listed)
    said = ((key, value) for key, _, value in settings if value not in ("", "false", "0", "no", "off"))
    return frozenset(key.removeprefix("filter.").rpartition(".")[0] for key, _ in said)


def stored_by_git(run: Run, path: str, content: bytes, *, write: bool) -> str:
    """The hash of the blob that `git add` would make of this content; `write`: put it into the repository too.

    Raises git.GitCommandError if git would refuse to add it.
    """
    command = ("hash-object", "-w", "--stdin", f"--path={path}")
    if write:
        return run(*command, stdin=content)
    with tempfile.TemporaryDirectory(prefix="evolve-lineage-") as objects:  # without -w git would refuse nothing
        return run(*command, stdin=content, objects=objects)


def blob_hash(content: bytes, length: int) -> str:
    """The hash of a blob with this content. `length`: of a hash in this repository, 40 digits or 64."""
    algorithm = "sha1" if length == 40 else "sha256"
    return hashlib.new(algorithm, b"blob %d\0" % len(content) + content).hexdigest()


def with_line_feeds(content: bytes) -> bytes:
    """The content with LF in place of each CRLF."""
    return content.replace(b"\r\n", b"\n")


def joined(paths: Iterable[str]) -> bytes:
    """The paths as git reads them from its standard input with `-z`."""
    return b"".join(path.encode("utf-8", "surrogateescape") + b"\0" for path in paths)

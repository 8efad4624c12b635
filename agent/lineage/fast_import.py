"""Describe commits in the language of `git fast-import`, which writes many of them in one process."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from agent.core.text import clean

_COMMITTER = "Guided Evolution <evolve@localhost>"
_SCRATCH = b"refs/evolve-desk"
"""fast-import needs a reference to commit to; one that is reset at the end is not written."""
_RESET = b"reset %s\n\n" % _SCRATCH
_UNQUOTED = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./"


@dataclass(frozen=True)
class PlannedCommit:
    """A commit to be written."""

    id: str
    """The id of its individual or failure."""
    files: Mapping[str, str | bytes]
    """Text, or content, by name relative to the seed's folder."""
    parents: Sequence[str]
    """Each the hash of a commit, or the id of one that is planned before this one."""
    message: str
    failed: bool = False
    """Whether it is a failure, which gets a reference that is not a branch."""


@dataclass(frozen=True)
class TreeEntry:
    """A file in the repository's tree."""

    path: str
    mode: str
    content: bytes
    """What is to be stored, byte by byte."""
    blob: str = ""
    """The hash of the blob, if it is in the repository already."""


class FastImportScript:
    """A script of commits without references.

    fast-import could write the references too, but in any order, and some of them even if others fail.
    """

    def __init__(self, when: str) -> None:
        """`when`: seconds since the epoch and the time zone, such as `1700000000 +0100`: the date of all commits."""
        self._when = when
        self._parts = [b"feature done\n"]
        self._count = 0

    def add(self, planned: PlannedCommit, parents: Sequence[str], entries: Iterable[TreeEntry]) -> str:
        """Add a commit whose tree is the first parent's with the planned files in it.

        `parents`: each the hash of a commit, or the mark of one that was added before; `entries`: the files.
        Returns the commit's mark, by which later commits and the output of fast-import name it.
        """
        self._count += 1
        mark = f":{self._count}"
        self._parts += [_RESET, _commit_command(planned, mark, parents, entries, self._when)]
        return mark

    def text(self) -> bytes:
        """The whole script, for the standard input of `git fast-import`."""
        return b"".join([*self._parts, _RESET, b"done\n"])


class NotesScript:
    """A script of one commit of git notes, in place of all notes before."""

    def __init__(self, when: str, before: str) -> None:
        """`when`: as in `FastImportScript`; `before`: the reference of the notes so far, empty if there are none."""
        self._when, self._before = when, before
        self._parts = [b"feature done\nfeature notes\n"]

    def add(self, notes: Mapping[str, str]) -> str:
        """Add the commit. `notes`: text by the hash of the commit that it is about. Returns the mark of the new commit."""
        lines = [_RESET + b"commit %s" % _SCRATCH, b"mark :1", f"committer {_COMMITTER} {self._when}".encode()]
        lines.append(_data(b"What was measured after the commits were made\n"))
        lines += [f"from {self._before}^0".encode()] if self._before else []
        lines.append(b"deleteall")
        for commit, text in notes.items():
            lines += [b"N inline %s" % commit.encode(), _data(f"{clean(text)}\n".encode())]
        self._parts.append(b"\n".join(lines) + b"\n")
        return ":1"

    def text(self) -> bytes:
        """The whole script, for the standard input of `git fast-import`."""
        return b"".join([*self._parts, _RESET, b"done\n"])


def _commit_command(planned: PlannedCommit, mark: str, parents: Sequence[str], entries: Iterable[TreeEntry], when: str) -> bytes:
    lines = [b"commit %s" % _SCRATCH, f"mark {mark}".encode(), f"committer {_COMMITTER} {when}".encode()]
    lines.append(_data(f"{clean(planned.message)}\n".encode()))
    lines += [f"{'merge' if number else 'from'} {parent}".encode() for number, parent in enumerate(parents)]
    for entry in entries:
        where = b"M %s %s %s" % (entry.mode.encode(), entry.blob.encode() or b"inline", _quoted(entry.path))
        lines += [where] if entry.blob else [where, _data(entry.content)]
    return b"\n".join(lines) + b"\n"


def encode(text: str | bytes) -> bytes:
    """A file's content as it is measured."""
    return text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text


def _quoted(path: str) -> bytes:
    """A path as git quotes it: any byte that could have a special meaning is written in octal digits."""
    raw = path.encode("utf-8", "surrogateescape")
    return b'"' + b"".join(bytes([c]) if c in _UNQUOTED else b"\\%03o" % c for c in raw) + b'"'


def _data(content: bytes) -> bytes:
    return b"data %d\n%s" % (len(content), content)

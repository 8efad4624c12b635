"""Commits as the text that `git fast-import` reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

_WHO = "Guided Evolution <evolve@localhost>"


@dataclass(frozen=True)
class Planned:
    """A commit to be. `parents`: each a commit, or the id of one that is planned before it."""

    id: str
    files: Mapping[str, str]
    parents: Sequence[str]
    message: str
    failed: bool = False
    """Kept, but not as a branch."""


@dataclass(frozen=True)
class Place:
    """Where a file lies in the repository's tree, and with which mode."""

    path: str
    mode: str = "100644"


class Script:
    """Commits without references: fast-import would write these in any order, one by one, whatever became of the others."""

    def __init__(self, when: str) -> None:
        """`when`: seconds since the epoch and the time zone, of all commits."""
        self._when, self._parts, self._count = when, [b"feature done\n"], 0

    def add(self, planned: Planned, parents: Sequence[str], places: Mapping[str, Place]) -> str:
        """The mark of the commit, by which later ones and the answer name it. Its tree is the first parent's with the files.

        `parents`: each a commit, or the mark of one that was added before.
        """
        self._count += 1
        mark = f":{self._count}"
        self._parts += [_FORGET, _commands(planned, mark, parents, places, self._when)]
        return mark

    def text(self) -> bytes:
        return b"".join([*self._parts, _FORGET, b"done\n"])


_DESK = b"refs/evolve-desk"
"""fast-import wants a reference to work on; one that is forgotten at the end is not written."""
_FORGET = b"reset %s\n\n" % _DESK


def _commands(planned: Planned, mark: str, parents: Sequence[str], places: Mapping[str, Place], when: str) -> bytes:
    lines = [b"commit %s" % _DESK, f"mark {mark}".encode(), f"committer {_WHO} {when}".encode()]
    lines.append(_data((planned.message + "\n").encode()))
    lines += [f"{'merge' if number else 'from'} {parent}".encode() for number, parent in enumerate(parents)]
    for name, text in planned.files.items():
        place = places[name]
        lines += [b"M %s inline %s" % (place.mode.encode(), quoted(place.path)), _data(encoded(text))]
    return b"\n".join(lines) + b"\n"


def encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def quoted(path: str) -> bytes:
    """As git quotes paths: any byte that could mean something is written in octal digits."""
    plain = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./"
    return b'"' + b"".join(bytes([c]) if c in plain else b"\\%03o" % c for c in path.encode("utf-8", "surrogateescape")) + b'"'


def _data(content: bytes) -> bytes:
    return b"data %d\n%s" % (len(content), content)

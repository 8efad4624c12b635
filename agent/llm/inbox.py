"""A folder as a model: prompts lie in it as files, and a person or any agent writes the answers beside them.

`0007.prompt.md` (its form is that of `text.transcript`, with the request's number as a last line) is answered by
`0007.answer.md`. An answer is taken when it is not blank and has not changed for two seconds: who writes slowly writes
under another name and renames. There is no deadline, `llm.deadline_seconds` does not apply here.

A request that lies there already, same text and number, is not filed again, and its answer is taken if it has one: what
was answered while the run was stopped is not lost, and an unanswered prompt keeps its file.
"""

from __future__ import annotations

import os
import re
import stat
import threading
import time
from concurrent.futures import CancelledError
from pathlib import Path

from agent.core.errors import UserError
from agent.llm.catalogue import LlmSettings
from agent.llm.prices import price
from agent.llm.protocol import Completion, LanguageModelDown, Request, RequestRejected
from agent.llm.text import ANSWER_LIMIT, estimated_usage, transcript, without_thoughts

PREFIX = "inbox:"

_NUMBERED = re.compile(r"\.?(\d{4,})\.(?:prompt|answer)\.")
"""Drafts and other people's drafts take their number too."""


class Inbox:
    """A `LanguageModel` that waits, as long as it takes."""

    patient = True

    def __init__(self, name: str, settings: LlmSettings, *, poll_seconds: float = 0.5, settle_seconds: float = 2.0) -> None:
        """Raises UserError for a folder that cannot be used. It is made when the first prompt is filed."""
        self.name = name
        self._price = price(name, settings.prices)
        self._poll, self._settle = poll_seconds, settle_seconds
        place = name.removeprefix(PREFIX).strip()
        if not place or "\0" in place:
            raise UserError(f"{name!r} names no folder: write {PREFIX}FOLDER, such as {PREFIX}prompts.")
        self._folder = Path(place).expanduser().absolute()
        if self._folder.exists() and not self._folder.is_dir():
            raise UserError(f"{name!r}: {self._folder} is no folder.")
        if not self._folder.exists() and not self._folder.parent.is_dir():
            raise UserError(f"{name!r}: there is no folder {self._folder.parent} to make it in.")
        home = self._folder if self._folder.exists() else self._folder.parent
        if not os.access(home, os.R_OK | os.W_OK | os.X_OK):
            raise UserError(f"{name!r}: {home} cannot be written.")
        self._closed = threading.Event()
        self._lock = threading.Lock()
        self._last = 0
        self._awaited: list[str] = []

    @property
    def waiting(self) -> tuple[str, ...]:
        """The files of the prompts that calls wait for at this moment."""
        with self._lock:
            return tuple(f"{number}.prompt.md" for number in sorted(set(self._awaited)))

    def complete(self, request: Request) -> Completion:
        began = time.monotonic()
        if self._closed.is_set():
            raise CancelledError
        content = f"{transcript(request.messages)}\n<!-- request {request.seed} -->\n".encode("utf-8", "replace")
        with self._lock:
            try:
                number = self._find(content) or self._file(content)
            except OSError as error:
                raise LanguageModelDown(f"{self.name}: no prompt can be filed: {error}") from None
            self._awaited.append(number)
        try:
            answer = self._answer(self._folder / f"{number}.answer.md")
        finally:
            with self._lock:
                self._awaited.remove(number)
        text = without_thoughts(answer)
        usage = estimated_usage(request, text)
        usd = None if self._price is None else usage.tokens_in * self._price[0] + usage.tokens_out * self._price[1]
        return Completion(text, "stop", usage, usd, time.monotonic() - began, self.name)

    def close(self) -> None:
        """The calls that wait in other threads end by CancelledError; their prompts stay."""
        self._closed.set()

    def _find(self, content: bytes) -> str | None:
        """The number of the prompt with this content."""
        if not self._folder.is_dir():
            return None
        for path in sorted(self._folder.glob("*.prompt.md")):
            number = path.name.removesuffix(".prompt.md")
            if number.isdecimal() and path.is_file() and path.stat().st_size == len(content) and path.read_bytes() == content:
                return number
        return None

    def _file(self, content: bytes) -> str:
        """The number under which it now lies there. Other processes may file into the same folder at the same time."""
        self._folder.mkdir(exist_ok=True)
        while True:
            taken = (int(found[1]) for name in os.listdir(self._folder) if (found := _NUMBERED.match(name)))
            self._last = max(self._last, *taken, 0) + 1
            number = f"{self._last:04d}"
            draft, prompt = self._folder / f".{number}.prompt.tmp", self._folder / f"{number}.prompt.md"
            try:
                file = draft.open("xb")  # whoever makes the draft owns the number
            except FileExistsError:
                continue
            try:
                with file:
                    file.write(content)
                if prompt.exists():  # another process was done with this number before the draft was made
                    continue
                draft.rename(prompt)
                return number
            finally:
                draft.unlink(missing_ok=True)

    def _answer(self, path: Path) -> str:
        """Waits for it. Raises RequestRejected for one that cannot be read as text."""
        seen: tuple[int, int, int] | None = None
        since = 0.0
        while True:
            state, now = _state(path), time.monotonic()
            if state != seen:
                seen, since = state, now
            elif seen is not None and now >= since + self._settle:
                if seen[1] > ANSWER_LIMIT:
                    raise RequestRejected(f"{path.name} has more than {ANSWER_LIMIT:,} bytes.")
                data = _read(path)
                if data.strip() and _state(path) == seen:
                    try:
                        return data.decode("utf-8-sig")
                    except UnicodeDecodeError as error:
                        told = f"{error.reason} at byte {error.start}"
                        raise RequestRejected(f"{path.name} is not UTF-8: {told}.") from None
            if not self._folder.is_dir():
                raise LanguageModelDown(f"{self.name}: the folder {self._folder} is gone.")
            if self._closed.wait(self._poll):
                raise CancelledError


def _state(path: Path) -> tuple[int, int, int] | None:
    """What changes when the file does; None as long as there is no file of its own with something in it."""
    try:
        found = path.lstat()
    except OSError:
        return None
    return (found.st_ino, found.st_size, found.st_mtime_ns) if stat.S_ISREG(found.st_mode) and found.st_size else None


def _read(path: Path) -> bytes:
    """Nothing if it cannot be read: the writer may still set the rights, or put another file in its place."""
    try:
        with path.open("rb") as file:
            return file.read(ANSWER_LIMIT + 1)
    except OSError:
        return b""

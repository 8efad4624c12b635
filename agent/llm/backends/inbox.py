"""Models named `inbox:FOLDER`: prompts are written into the folder, and a person or any agent puts the answers next to them.

`0007.prompt.md` (in the form of `text.transcript`, the request's number in the last line) is answered by `0007.answer.md`.
An answer is accepted when it is not blank and has not changed for two seconds; a slow writer should write under another
name and rename. There is no deadline: `llm.deadline_seconds` does not apply here.

A request whose prompt is in the folder already, with the same text and number, is not written again, and an answer next to
it is accepted. So answers that were written while the run was stopped are not lost, and open prompts keep their numbers.
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
from agent.llm.base import ANSWER_LIMIT_BYTES, Completion, LanguageModelDown, LlmSettings, Request, RequestRejected
from agent.llm.prices import cost, price
from agent.llm.text import estimate_usage, transcript, without_thoughts

_PREFIX = "inbox:"

_NUMBERED = re.compile(r"\.?(\d{4,})\.(?:prompt|answer)\.")
"""Every file name that takes a number, drafts of prompts and of answers included."""


def accepts(name: str, settings: LlmSettings) -> bool:
    return name.startswith(_PREFIX)


def open_model(name: str, settings: LlmSettings) -> InboxModel:
    """Raises UserError for a folder that cannot be used. Nothing is written."""
    return InboxModel(name, settings)


class InboxModel:
    """A `LanguageModel` that waits for its answers without a time limit."""

    waits_for_person = True

    def __init__(self, name: str, settings: LlmSettings, *, poll_seconds: float = 0.5, settle_seconds: float = 2.0) -> None:
        """Raises UserError for a folder that cannot be used. The folder is created with the first prompt."""
        self.name = name
        self._price = price(name, settings.prices)
        self._poll_seconds, self._settle_seconds = poll_seconds, settle_seconds
        self._folder = _usable_folder(name)
        self._closed = threading.Event()
        self._lock = threading.Lock()
        self._last_number = 0
        self._awaited: list[str] = []

    @property
    def waiting(self) -> tuple[str, ...]:
        """File names of the prompts that calls wait for at this moment."""
        with self._lock:
            return tuple(f"{number}.prompt.md" for number in sorted(set(self._awaited)))

    def complete(self, request: Request) -> Completion:
        started = time.monotonic()
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
            answer = self._wait_for_answer(self._folder / f"{number}.answer.md")
        finally:
            with self._lock:
                self._awaited.remove(number)
        text = without_thoughts(answer)
        usage = estimate_usage(request, text)
        return Completion(text, "stop", usage, cost(usage, self._price), time.monotonic() - started, self.name)

    def close(self) -> None:
        """Calls that wait in other threads end by CancelledError; their prompts stay in the folder."""
        self._closed.set()

    def _find(self, content: bytes) -> str | None:
        """Return the number of the prompt with this content, if there is one."""
        if not self._folder.is_dir():
            return None
        for path in sorted(self._folder.glob("*.prompt.md")):
            number = path.name.removesuffix(".prompt.md")
            if number.isdecimal() and path.is_file() and path.stat().st_size == len(content) and path.read_bytes() == content:
                return number
        return None

    def _file(self, content: bytes) -> str:
        """Write a new prompt and return its number. Other processes may file into the same folder at the same time."""
        self._folder.mkdir(exist_ok=True)
        while True:
            taken = (int(found[1]) for name in os.listdir(self._folder) if (found := _NUMBERED.match(name)))
            self._last_number = max(self._last_number, *taken, 0) + 1
            number = f"{self._last_number:04d}"
            draft, prompt = self._folder / f".{number}.prompt.tmp", self._folder / f"{number}.prompt.md"
            try:
                file = draft.open("xb")  # the process that creates the draft owns the number
            except FileExistsError:
                continue
            try:
                with file:
                    file.write(content)
                if prompt.exists():  # another process finished with this number before the draft was created
                    continue
                draft.rename(prompt)
                return number
            finally:
                draft.unlink(missing_ok=True)

    def _wait_for_answer(self, path: Path) -> str:
        """Return the answer once it is complete. Raises RequestRejected for a file that is too long or not UTF-8."""
        previous: tuple[int, int, int] | None = None
        unchanged_since = 0.0
        while True:
            current, now = _file_state(path), time.monotonic()
            if current != previous:
                previous, unchanged_since = current, now
            elif current is not None and now >= unchanged_since + self._settle_seconds:
                if current[1] > ANSWER_LIMIT_BYTES:
                    raise RequestRejected(f"{path.name} has more than {ANSWER_LIMIT_BYTES:,} bytes.")
                data = _read(path)
                if data.strip() and _file_state(path) == current:
                    return _decoded(path.name, data)
            if not self._folder.is_dir():
                raise LanguageModelDown(f"{self.name}: the folder {self._folder} is gone.")
            if self._closed.wait(self._poll_seconds):
                raise CancelledError


def _usable_folder(name: str) -> Path:
    """Return the absolute path of the folder in a model's name. Raises UserError if it cannot be used or created."""
    place = name.removeprefix(_PREFIX).strip()
    if not place or "\0" in place:
        raise UserError(f"{name!r} names no folder: write {_PREFIX}FOLDER, such as {_PREFIX}prompts.")
    folder = Path(place).expanduser().absolute()
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{name!r}: {folder} is no folder.")
    if not folder.exists() and not folder.parent.is_dir():
        raise UserError(f"{name!r}: there is no folder {folder.parent} to make it in.")
    home = folder if folder.exists() else folder.parent
    if not os.access(home, os.R_OK | os.W_OK | os.X_OK):
        raise UserError(f"{name!r}: {home} cannot be written.")
    return folder


def _file_state(path: Path) -> tuple[int, int, int] | None:
    """Return (inode, bytes, modification time in ns) of a regular file that is not empty, else None."""
    try:
        found = path.lstat()
    except OSError:
        return None
    return (found.st_ino, found.st_size, found.st_mtime_ns) if stat.S_ISREG(found.st_mode) and found.st_size else None


def _read(path: Path) -> bytes:
    """Return nothing if the file cannot be read: its writer may still set the permissions, or replace it."""
    try:
        with path.open("rb") as file:
            return file.read(ANSWER_LIMIT_BYTES + 1)
    except OSError:
        return b""


def _decoded(name: str, data: bytes) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise RequestRejected(f"{name} is not UTF-8: {error.reason} at byte {error.start}.") from None

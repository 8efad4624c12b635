"""Models named `cmd:COMMAND`: a program such as a command-line agent, with the prompt on stdin and the answer on stdout.

`text.transcript` gives the form of the prompt. The program runs in the user's environment and working directory, since it
needs the user's keys and settings. It should have no tools, since a prompt quotes code and output that may be hostile.
"""

from __future__ import annotations

import errno
import os
import selectors
import shlex
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import CancelledError
from contextlib import contextmanager, suppress

import tenacity

from agent.core.errors import UserError
from agent.llm.base import (
    ANSWER_LIMIT_BYTES,
    EMPTY_ANSWER_RETRIES,
    LONGEST_COMPLAINT,
    LONGEST_PAUSE_SECONDS,
    Completion,
    LanguageModelDown,
    LanguageModelRefused,
    LlmSettings,
    Request,
    RequestRejected,
    Usage,
)
from agent.llm.prices import cost, price
from agent.llm.text import environment_secrets, estimate_usage, redact, transcript, without_thoughts

_PREFIX = "cmd:"

_SELECT_SECONDS = 0.05
"""Longest wait for input or output before the deadline and the process are checked again."""
_LATE_OUTPUT_SECONDS = 1.0
"""How long output of subprocesses is read after the program itself ended (`> >(tee log)`)."""
_CLOSE_SECONDS = 10.0
"""How long `close` waits for the calls in other threads to end."""
_STDERR_BYTES = 4096
"""How much of stderr is kept: its last bytes."""
_CHUNK_BYTES = 65536
_NOT_RUNNABLE = (errno.ENOENT, errno.EACCES, errno.EPERM, errno.ENOEXEC, errno.ENOTDIR)


def accepts(name: str, settings: LlmSettings) -> bool:
    return name.startswith(_PREFIX)


def open_model(name: str, settings: LlmSettings) -> CommandModel:
    """Raises UserError for a command that cannot be parsed or found. Nothing is run."""
    return CommandModel(name, settings)


class _AttemptFailed(Exception):
    """An attempt returned no answer; another one may succeed."""


class _DeadlineOver(Exception):
    """The deadline of the call is over."""


class CommandModel:
    """A `LanguageModel` that runs one process for each answer. The deadline counts all attempts together."""

    waits_for_person = False

    def __init__(self, name: str, settings: LlmSettings) -> None:
        """Raises UserError for a command that cannot be parsed or found. Nothing is run."""
        self.name = name
        self._settings, self._price = settings, price(name, settings.prices)
        try:
            self._argv = shlex.split(name.removeprefix(_PREFIX))
        except ValueError as error:
            raise UserError(f"{name!r} cannot be split into words as a shell would: {error}.") from None
        if not self._argv or "\0" in name:
            raise UserError(f"{name!r} names no command: write {_PREFIX}COMMAND, such as '{_PREFIX}my-agent --print'.")
        if shutil.which(self._argv[0]) is None:
            raise UserError(f"{name!r}: there is no program {self._argv[0]!r} that can be run (no shell is involved).")
        self._closed = threading.Event()
        self._calls, self._idle = 0, threading.Condition()

    def complete(self, request: Request) -> Completion:
        started = time.monotonic()
        prompt = transcript(request.messages).encode("utf-8", "replace")
        usage = Usage(0, 0)
        with self._counted_call():
            for _ in range(1 + EMPTY_ANSWER_RETRIES):
                text = without_thoughts(self._ask(prompt, started + self._settings.deadline_seconds, request.tries))
                usage += estimate_usage(request, text)
                if text.strip():
                    break
        return Completion(text, "stop", usage, cost(usage, self._price), time.monotonic() - started, self.name)

    def close(self) -> None:
        """Kill the running processes; calls in other threads end by CancelledError, and so do later calls."""
        self._closed.set()
        with self._idle:
            self._idle.wait_for(lambda: not self._calls, timeout=_CLOSE_SECONDS)

    @contextmanager
    def _counted_call(self) -> Iterator[None]:
        with self._idle:
            self._calls += 1
        try:
            yield
        finally:
            with self._idle:
                self._calls -= 1
                self._idle.notify_all()

    def _ask(self, prompt: bytes, deadline: float, tries: int | None) -> str:
        """Return stdout of the first attempt that succeeds. `deadline` is on the monotonic clock, here and below."""
        settings = self._settings
        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(_AttemptFailed),
            stop=tenacity.stop_after_attempt(tries or settings.attempts)
            | tenacity.stop_before_delay(max(0.0, deadline - time.monotonic())),
            wait=tenacity.wait_random_exponential(multiplier=settings.first_wait_seconds, max=LONGEST_PAUSE_SECONDS),
            sleep=tenacity.sleep_using_event(self._closed),
            reraise=True,
        )
        try:
            answer = retrying(self._attempt, prompt, deadline)
        except _DeadlineOver as over:
            raise LanguageModelDown(f"{self.name} gave no answer within {settings.deadline_seconds:g} s{over}") from None
        except _AttemptFailed as failure:
            raise LanguageModelDown(f"{self.name} does not answer: {failure}") from None
        try:
            return answer.decode("utf-8")
        except UnicodeDecodeError as error:
            raise RequestRejected(f"{self.name} answered what is not UTF-8: {error.reason} at byte {error.start}.") from None

    def _attempt(self, prompt: bytes, deadline: float) -> bytes:
        """Run the program once and return its stdout. Raises _AttemptFailed or _DeadlineOver."""
        if self._closed.is_set():
            raise CancelledError
        complaint = bytearray()
        with self._spawn() as process:
            try:
                answer = _Exchange(process, prompt, complaint, self.name).run(deadline, self._closed)
            except TimeoutError:
                raise _DeadlineOver(_quoted(complaint)) from None
            finally:
                # The process was not waited for yet, so its number, which is the group's too, cannot be in use again.
                with suppress(ProcessLookupError, PermissionError):
                    os.killpg(process.pid, signal.SIGKILL)
            # The signal does not change the exit code of a process that has ended before.
            code = process.wait()
        if code != 0:
            how = f"exit code {code}" if code > 0 else f"it was ended by signal {-code}"
            raise _AttemptFailed(f"{how}{_quoted(complaint)}")
        return answer

    def _spawn(self) -> subprocess.Popen[bytes]:
        """Start the program in a session of its own: a group that can be killed as a whole, without a terminal."""
        pipe = subprocess.PIPE
        try:
            return subprocess.Popen(self._argv, bufsize=0, stdin=pipe, stdout=pipe, stderr=pipe, start_new_session=True)
        except OSError as error:
            if error.errno in _NOT_RUNNABLE:
                raise LanguageModelRefused(f"{self.name} cannot be run: {error.strerror}.") from None
            raise _AttemptFailed(f"it cannot be started: {error.strerror}") from None


class _Exchange:
    """Writes the prompt to a process and reads what it prints, both at once, so that no full pipe can block either side."""

    def __init__(self, process: subprocess.Popen[bytes], prompt: bytes, complaint: bytearray, name: str) -> None:
        """`complaint` is filled with the end of stderr, even if `run` raises. `name` is the model's, for errors."""
        assert process.stdin and process.stdout and process.stderr
        self._process, self._complaint, self._name = process, complaint, name
        self._stdin, self._stdout, self._stderr = process.stdin, process.stdout, process.stderr
        self._unsent, self._answer = memoryview(prompt), bytearray()

    def run(self, deadline: float, closed: threading.Event) -> bytes:
        """Return all of stdout once the process has ended. Raises TimeoutError, CancelledError or RequestRejected."""
        ended_at: float | None = None
        with selectors.DefaultSelector() as streams:
            for stream in (self._stdin, self._stdout, self._stderr):
                os.set_blocking(stream.fileno(), False)
                streams.register(stream, selectors.EVENT_WRITE if stream is self._stdin else selectors.EVENT_READ)
            while True:
                now = time.monotonic()
                if ended_at is None and _has_ended(self._process):
                    ended_at = now
                output_is_open = any(key.fileobj is not self._stdin for key in streams.get_map().values())
                if ended_at is not None and (not output_is_open or now >= ended_at + _LATE_OUTPUT_SECONDS):
                    return bytes(self._answer)
                if closed.is_set():
                    raise CancelledError
                if now >= deadline:
                    raise TimeoutError
                for key, _ in streams.select(min(_SELECT_SECONDS, deadline - now)):
                    if key.fileobj is self._stdin:
                        self._write(streams)
                    else:
                        self._read(streams, is_answer=key.fileobj is self._stdout)

    def _write(self, streams: selectors.BaseSelector) -> None:
        try:
            self._unsent = self._unsent[self._stdin.write(self._unsent[:_CHUNK_BYTES]) or 0 :]
        except BrokenPipeError:  # a program may answer without having read all of the prompt
            self._unsent = self._unsent[:0]
        if not self._unsent:
            streams.unregister(self._stdin)
            self._stdin.close()

    def _read(self, streams: selectors.BaseSelector, *, is_answer: bool) -> None:
        stream = self._stdout if is_answer else self._stderr
        data = stream.read(_CHUNK_BYTES)
        if data == b"":
            streams.unregister(stream)
        elif is_answer:
            self._answer += data or b""
            if len(self._answer) > ANSWER_LIMIT_BYTES:
                raise RequestRejected(f"{self._name} answered more than {ANSWER_LIMIT_BYTES:,} bytes.")
        else:
            self._complaint += data or b""
            del self._complaint[:-_STDERR_BYTES]


def _has_ended(process: subprocess.Popen[bytes]) -> bool:
    """Leaves the process to be waited for, so that its number stays taken."""
    return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _quoted(complaint: bytearray) -> str:
    """Return the end of stderr, redacted and ready to be appended to a message."""
    # Where the text was cut, its first word may be half a secret.
    whole = complaint if len(complaint) < _STDERR_BYTES else b"".join(complaint.split(None, 1)[1:])
    line = redact(whole.decode("utf-8", "replace"), environment_secrets())
    return f"; it said: {line[-LONGEST_COMPLAINT:]}" if line else ""

"""A program as a model, such as a command-line agent: the prompt on its stdin, the answer on its stdout.

The prompt's form is that of `text.transcript`. The program runs in the user's environment and working directory, since it
needs the user's keys and settings; it should have no tools, for a prompt quotes code and output that nobody has read.
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
from agent.llm.catalogue import LlmSettings
from agent.llm.prices import price
from agent.llm.protocol import Completion, LanguageModelDown, LanguageModelRefused, Request, RequestRejected, Usage
from agent.llm.text import ANSWER_LIMIT, environment_secrets, estimated_usage, presentable, transcript, without_thoughts

PREFIX = "cmd:"

_EMPTY_TRIES = 2
"""How often an answer without text is asked for again."""
_MAX_WAIT = 60.0
_TICK = 0.05
_LINGER = 1.0
"""Seconds for what the program started to finish its output after the program itself ended (`> >(tee log)`)."""
_COMPLAINT = 4096
"""Bytes of stderr that are kept, the last ones."""
_CHUNK = 65536


class _Fault(Exception):
    """A try that brought no answer; another one may."""


class _TooLate(Exception):
    """The deadline is over."""


class Command:
    """A `LanguageModel`: one process for each answer. The deadline counts all tries together."""

    patient = False

    def __init__(self, name: str, settings: LlmSettings) -> None:
        """Raises UserError for a command that cannot be read or found. Nothing is run."""
        self.name = name
        self._settings, self._price = settings, price(name, settings.prices)
        try:
            self._argv = shlex.split(name.removeprefix(PREFIX))
        except ValueError as error:
            raise UserError(f"{name!r} cannot be split into words as a shell would: {error}.") from None
        if not self._argv or "\0" in name:
            raise UserError(f"{name!r} names no command: write {PREFIX}COMMAND, such as '{PREFIX}my-agent --print'.")
        if shutil.which(self._argv[0]) is None:
            raise UserError(f"{name!r}: there is no program {self._argv[0]!r} that can be run (no shell is involved).")
        self._closed = threading.Event()
        self._calls, self._idle = 0, threading.Condition()

    def complete(self, request: Request) -> Completion:
        began = time.monotonic()
        prompt = transcript(request.messages).encode("utf-8", "replace")
        usage = Usage(0, 0, estimated=True)
        with self._under_way():
            for _ in range(1 + _EMPTY_TRIES):
                text = without_thoughts(self._ask(prompt, began + self._settings.deadline_seconds))
                more = estimated_usage(request, text)
                usage = Usage(usage.tokens_in + more.tokens_in, usage.tokens_out + more.tokens_out, estimated=True)
                if text.strip():
                    break
        usd = None if self._price is None else usage.tokens_in * self._price[0] + usage.tokens_out * self._price[1]
        return Completion(text, "stop", usage, usd, time.monotonic() - began, self.name)

    def close(self) -> None:
        """Kills what is running; the calls that wait for it in other threads end by CancelledError, and so do later ones."""
        self._closed.set()
        with self._idle:
            self._idle.wait_for(lambda: not self._calls, timeout=10.0)

    @contextmanager
    def _under_way(self) -> Iterator[None]:
        with self._idle:
            self._calls += 1
        try:
            yield
        finally:
            with self._idle:
                self._calls -= 1
                self._idle.notify_all()

    def _ask(self, prompt: bytes, ends: float) -> str:
        s = self._settings
        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(_Fault),
            stop=tenacity.stop_after_attempt(s.attempts) | tenacity.stop_before_delay(max(0.0, ends - time.monotonic())),
            wait=tenacity.wait_random_exponential(multiplier=s.first_wait_seconds, max=_MAX_WAIT),
            sleep=tenacity.sleep_using_event(self._closed),
            reraise=True,
        )
        try:
            answer = retrying(self._run, prompt, ends)
        except _TooLate as late:
            raise LanguageModelDown(f"{self.name} gave no answer within {s.deadline_seconds:g} s{late}") from None
        except _Fault as fault:
            raise LanguageModelDown(f"{self.name} does not answer: {fault}") from None
        try:
            return answer.decode("utf-8")
        except UnicodeDecodeError as error:
            raise RequestRejected(f"{self.name} answered what is not UTF-8: {error.reason} at byte {error.start}.") from None

    def _run(self, prompt: bytes, ends: float) -> bytes:
        """One try."""
        if self._closed.is_set():
            raise CancelledError
        complaint = bytearray()
        with self._started() as process:
            try:
                answer = self._exchange(process, prompt, complaint, ends)
            except TimeoutError:
                raise _TooLate(_told(complaint)) from None
            finally:
                # The leader is not waited for yet: its number, and so the group's, cannot have become somebody else's.
                with suppress(ProcessLookupError, PermissionError):
                    os.killpg(process.pid, signal.SIGKILL)
            # Waits before the code is asked for: the group's signal does not change how an ended process ended.
            code = process.wait()
        if code != 0:
            how = f"exit code {code}" if code > 0 else f"it was ended by signal {-code}"
            raise _Fault(f"{how}{_told(complaint)}")
        return answer

    def _started(self) -> subprocess.Popen[bytes]:
        """In a session of its own: a group to be killed as a whole, and no terminal to ask questions on."""
        pipe = subprocess.PIPE
        try:
            return subprocess.Popen(self._argv, bufsize=0, stdin=pipe, stdout=pipe, stderr=pipe, start_new_session=True)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.EACCES, errno.EPERM, errno.ENOEXEC, errno.ENOTDIR):
                raise LanguageModelRefused(f"{self.name} cannot be run: {error.strerror}.") from None
            raise _Fault(f"it cannot be started: {error.strerror}") from None

    def _exchange(self, process: subprocess.Popen[bytes], prompt: bytes, complaint: bytearray, ends: float) -> bytes:
        """All of stdout, when the process has ended; `complaint` becomes the tail of stderr. Raises TimeoutError."""
        stdin, stdout, stderr = process.stdin, process.stdout, process.stderr
        assert stdin and stdout and stderr
        answer, unsent, ended_at = bytearray(), memoryview(prompt), None
        with selectors.DefaultSelector() as streams:
            for stream in (stdin, stdout, stderr):
                os.set_blocking(stream.fileno(), False)
                streams.register(stream, selectors.EVENT_WRITE if stream is stdin else selectors.EVENT_READ)
            while True:
                now = time.monotonic()
                if ended_at is None and _has_ended(process):
                    ended_at = now
                listening = any(key.fileobj is not stdin for key in streams.get_map().values())
                if ended_at is not None and (not listening or now >= ended_at + _LINGER):
                    return bytes(answer)
                if self._closed.is_set():
                    raise CancelledError
                if now >= ends:
                    raise TimeoutError
                for key, _ in streams.select(min(_TICK, ends - now)):
                    if key.fileobj is stdin:
                        try:
                            unsent = unsent[stdin.write(unsent[:_CHUNK]) or 0 :]
                        except BrokenPipeError:  # a program may answer without having read all
                            unsent = unsent[:0]
                        if not unsent:
                            streams.unregister(stdin)
                            stdin.close()
                        continue
                    stream = stdout if key.fileobj is stdout else stderr
                    data = stream.read(_CHUNK)
                    if data == b"":
                        streams.unregister(stream)
                    elif stream is stdout:
                        answer += data or b""
                        if len(answer) > ANSWER_LIMIT:
                            raise RequestRejected(f"{self.name} answered more than {ANSWER_LIMIT:,} bytes.")
                    else:
                        complaint += data or b""
                        del complaint[:-_COMPLAINT]


def _has_ended(process: subprocess.Popen[bytes]) -> bool:
    """Leaves it to be waited for."""
    return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _told(complaint: bytearray) -> str:
    """The end of what it said on stderr, fit to be shown."""
    # The first word of a cut text may be half a secret.
    whole = complaint if len(complaint) < _COMPLAINT else b"".join(complaint.split(None, 1)[1:])
    line = presentable(whole.decode("utf-8", "replace"), environment_secrets())
    return f"; it said: {line[-400:]}" if line else ""

"""Applies an LLM's answer to a genome, in a child process with a time limit."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import subprocess
import sys
import threading
from pathlib import Path

from agent.errors import MachineError
from agent.genome.answer import MAX_CHARACTERS, Violations
from agent.genome.genome import Genome

_ROOT = Path(__file__).resolve().parents[2]
_START = 120
"""Seconds in which the child has to be ready: it loads libcst first, and the machine may be busy."""
_PATIENCE = 6
"""Seconds of waiting for each second that an edit may compute: how busy a machine is, is no fault of the answer."""


class Editor:
    """One child process, started when it is first needed and replaced when it hangs or dies. Safe from several threads."""

    def __init__(self, seconds: float = 10.0) -> None:
        """`seconds`: of computing that one edit may take. On a busy machine it gets `_PATIENCE` times as many to do so."""
        self._seconds = seconds
        self._lock = threading.Lock()
        self._child: subprocess.Popen[bytes] | None = None

    def apply(self, genome: Genome, blocks: tuple[str, ...], answer: str) -> Genome | Violations:
        """The genome with `blocks` replaced by what the answer defines, or why the answer cannot be used.

        Without `blocks` the answer may define any of those that may evolve, and the program's constants: definitions take
        the place of those of the same name, new ones are added, and what nothing uses any more is dropped.
        Raises MachineError if no child process can be started.
        """
        if len(answer) > MAX_CHARACTERS:
            return Violations((f"The answer has {len(answer):,} characters; {MAX_CHARACTERS:,} is the limit.",), "answer")
        readable = answer.encode("utf-8", "replace").decode()
        rules = {"frozen": sorted(genome.frozen), "entries": sorted(genome.entries)}
        request = {"files": dict(genome.files), "names": list(blocks), "answer": readable, "seconds": self._seconds, **rules}
        with self._lock:
            line = self._exchange(sent := json.dumps(request).encode() + b"\n")
            if line == b"":  # somebody else may have killed the child; an answer that does so does it twice
                line = self._exchange(sent)
        if not line:
            return Violations((f"The code could not be parsed within {self._seconds:g} seconds; write it more simply.",))
        told = json.loads(line)
        if "reasons" in told:
            return Violations(tuple(told["reasons"]), told["stage"])
        return genome.with_files(told["files"])

    def close(self) -> None:
        with self._lock:
            self._stop()

    def _exchange(self, request: bytes) -> bytes | None:
        """One line there, one line back; nothing if the child died, None if it took too long. Then it is replaced."""
        if self._child is not None and self._child.poll() is not None:
            self._stop()  # it died between two edits: not this answer's fault
        child = self._child or self._start()
        assert child.stdin is not None and child.stdout is not None
        try:
            child.stdin.write(request)
            child.stdin.flush()
        except BrokenPipeError:
            self._stop()
            return b""
        line = self._read(child, _PATIENCE * self._seconds)
        if not line:
            over_time = child.wait() == -signal.SIGXCPU if line == b"" else True
            self._stop()
            return None if over_time else b""
        return line

    @staticmethod
    def _read(child: subprocess.Popen[bytes], seconds: float) -> bytes | None:
        """A line; nothing if the child's end of the pipe is closed, None if it is silent for longer than this."""
        assert child.stdout is not None
        line = bytearray()
        with selectors.DefaultSelector() as selector:
            selector.register(child.stdout, selectors.EVENT_READ)
            # The limit is for silence: an answer comes in one piece, after all the work.
            while selector.select(seconds):
                piece = os.read(child.stdout.fileno(), 1 << 16)
                line += piece
                if line.endswith(b"\n"):
                    return bytes(line)
                if not piece:
                    return b""
        return None

    def _start(self) -> subprocess.Popen[bytes]:
        environment = {"PATH": os.environ.get("PATH", ""), "PYTHONPATH": str(_ROOT), "LANG": "C.UTF-8"}
        command = [sys.executable, "-m", "agent.genome.worker"]
        pipe = subprocess.PIPE
        try:
            self._child = subprocess.Popen(
                command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, env=environment, start_new_session=True
            )
        except OSError as error:
            raise MachineError(f"The editor's process cannot be started: {error}.") from error
        if not self._read(self._child, _START):
            self._stop()
            raise MachineError(f"The editor's process was not ready within {_START} seconds.")
        return self._child

    def _stop(self) -> None:
        if self._child is not None:
            self._child.kill()
            self._child.wait()
            for stream in (self._child.stdin, self._child.stdout):
                if stream is not None:
                    with contextlib.suppress(BrokenPipeError):  # what was still buffered for a dead child
                        stream.close()
            self._child = None

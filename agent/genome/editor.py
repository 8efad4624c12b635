"""Applies an LLM's answer to a genome, in child processes with a time limit."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import selectors
import signal
import subprocess
import sys
from typing import IO

from agent.core.errors import MachineError
from agent.core.paths import start_command
from agent.genome.answer import MAX_CHARACTERS, Violations
from agent.genome.genome import Block, Genome

_START = 120
"""Seconds in which the child has to be ready: it loads libcst first, and the machine may be busy."""
_STARTS = 3
"""Tries to start a child that dies before it is ready."""
_PATIENCE = 6
"""Seconds of waiting for each second that an edit may compute: how busy a machine is, is no fault of the answer."""


class Editor:
    """A few child processes, each started when all others are busy and replaced when it hangs or dies.

    Safe from several threads.
    """

    def __init__(self, seconds: float = 10.0, processes: int | None = None) -> None:
        """`seconds`: of computing that one edit may take; on a busy machine it gets `_PATIENCE` times as many to do so.

        `processes`: at most, by default as many as there are cores, up to 4.
        """
        self._seconds = seconds
        most = processes or min(4, len(os.sched_getaffinity(0)))
        self._children = tuple(_Child() for _ in range(most))
        self._idle: queue.LifoQueue[_Child] = queue.LifoQueue()
        for child in self._children:
            self._idle.put(child)

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
        child = self._idle.get()  # the one that was used last: others may never be needed
        try:
            line = child.exchange(sent := json.dumps(request).encode() + b"\n", _PATIENCE * self._seconds)
            if line == b"":  # somebody else may have killed the child; an answer that does so does it twice
                line = child.exchange(sent, _PATIENCE * self._seconds)
        finally:
            self._idle.put(child)
        if line is None:
            return Violations((f"The code could not be parsed within {self._seconds:g} seconds; write it more simply.",))
        if not line:
            return Violations(("The process that parses the code died of it, twice; write it more simply.",))
        told = json.loads(line)
        if "reasons" in told:
            return Violations(tuple(told["reasons"]), told["stage"])
        # What stays is the parent's: one copy serves both.
        changed = {path: text for path, text in told["files"].items() if genome.files[path] != text}
        same = {block: block for block in genome.all_blocks}
        told_blocks = [Block.known(*fields, meanings=tuple(meanings)) for fields, meanings in told["blocks"]]
        return genome.known(
            {**genome.files, **changed},
            told["fingerprint"],
            all_blocks=tuple(same.get(block, block) for block in told_blocks),
            live_names=frozenset(told["live"]),
        )

    def close(self) -> None:
        """Ends the processes, after the edits that are under way."""
        taken = [self._idle.get() for _ in self._children]
        for child in taken:
            child.stop()
            self._idle.put(child)


class _Child:
    """A process that edits; for one thread at a time."""

    def __init__(self) -> None:
        self.process: subprocess.Popen[bytes] | None = None

    def exchange(self, request: bytes, seconds: float) -> bytes | None:
        """One line there, one line back; nothing if the child died, None if it took too long. Then it is replaced.

        `seconds`: of silence. Its share of computing is in the request, and the child is killed for more.
        """
        if self.process is not None and self.process.poll() is not None:
            self.stop()  # it died between two edits: not this answer's fault
        process = self.process = self.process or _start()
        assert process.stdin is not None and process.stdout is not None
        try:
            process.stdin.write(request)
            process.stdin.flush()
            line = _line(process.stdout, seconds)
        except BrokenPipeError:
            line = b""
        if line == b"" and process.wait() == -signal.SIGXCPU:
            line = None
        if not line:
            self.stop()
        return line

    def stop(self) -> None:
        process, self.process = self.process, None
        if process is not None:
            process.kill()
            process.wait()
            for stream in (process.stdin, process.stdout):
                if stream is not None:
                    with contextlib.suppress(BrokenPipeError):  # what was still buffered for a dead child
                        stream.close()


def _line(stream: IO[bytes], seconds: float) -> bytes | None:
    """Nothing at the end, None after so much silence: an answer comes in one piece, after all the work."""
    line = bytearray()
    with selectors.DefaultSelector() as selector:
        selector.register(stream, selectors.EVENT_READ)
        while selector.select(seconds):
            piece = os.read(stream.fileno(), 1 << 16)
            line += piece
            if line.endswith(b"\n"):
                return bytes(line)
            if not piece:
                return b""
    return None


def _start() -> subprocess.Popen[bytes]:
    """A process that is ready. One that dies on its way up is tried again: somebody may have killed it."""
    for _ in range(_STARTS):
        process = _spawn()
        assert process.stdout is not None
        line = _line(process.stdout, _START)
        if line:
            return process
        process.kill()
        process.communicate()
        if line is None:
            raise MachineError(f"The editor's process was not ready within {_START} seconds.")
    raise MachineError(f"The editor's process died {_STARTS} times before it was ready (exit code {process.returncode}).")


def _spawn() -> subprocess.Popen[bytes]:
    packages = os.pathsep.join(filter(os.path.isabs, sys.path))  # the child finds the packages that this process finds
    environment = {"PATH": os.environ.get("PATH", ""), "PYTHONPATH": packages, "LANG": "C.UTF-8"}
    pipe = subprocess.PIPE
    try:
        return subprocess.Popen(
            start_command("agent.genome.worker"),
            stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, env=environment, start_new_session=True,
        )  # fmt: skip
    except OSError as error:
        raise MachineError(f"The editor's process cannot be started: {error}.") from error

"""Apply LLMs' answers to genomes, in child processes with limits on time and memory."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import selectors
import signal
import subprocess
import sys
import unicodedata
from collections.abc import Mapping
from typing import IO, Any

from agent.core.errors import MachineError
from agent.core.paths import start_command
from agent.core.text import is_hidden, valid_text, visible
from agent.genome.extraction import MAX_CHARACTERS, Limits, Violations, answer_too_long
from agent.genome.genome import Block, Genome

_START_SECONDS = 120
"""A process must be ready within this time. It loads libcst first, and the machine may be busy."""
_START_ATTEMPTS = 3
"""How often to start a process that dies before it is ready."""
_WAIT_PER_CPU_SECOND = 6
"""Seconds to wait for each second that an edit may compute: a busy machine must not count against the answer."""
_CHARACTERS = 4
"""The most characters of one file that a refusal names."""


class Editor:
    """A few child processes, each started when all others are busy and replaced when it hangs or dies.

    Can be used from several threads at once.
    """

    def __init__(self, seconds: float = 10.0, processes: int | None = None) -> None:
        """`seconds`: CPU time that one edit may take, for each `MAX_CHARACTERS` that the program begins; it may wait
        `_WAIT_PER_CPU_SECOND` times as long for it.

        `processes`: the most processes at once; by default one for each core, up to 4.
        """
        self._seconds = seconds
        count = processes or min(4, len(os.sched_getaffinity(0)))
        self._processes = tuple(_EditorProcess() for _ in range(count))
        self._idle: queue.LifoQueue[_EditorProcess] = queue.LifoQueue()
        for process in self._processes:
            self._idle.put(process)

    def apply(self, genome: Genome, blocks: tuple[str, ...], answer: str) -> Genome | Violations:
        """Return the genome with `blocks` replaced by what the answer defines, or why the answer cannot be used.

        Without `blocks` the answer may define any block that may evolve, and the program's constants: its definitions
        replace those of the same name, new ones are added, and definitions that nothing uses any more are dropped.
        Raises MachineError if no child process can be started.
        """
        if too_long := answer_too_long(answer, Limits.beside(genome.files.values())):
            return too_long
        seconds = self._seconds * (1 + sum(map(len, genome.files.values())) // MAX_CHARACTERS)
        request = {
            "files": dict(genome.files),
            "names": list(blocks),
            "answer": valid_text(answer),  # half a character cannot be sent
            "frozen": sorted(genome.frozen),
            "entry_points": sorted(genome.entry_points),
            "seconds": seconds,
        }
        line = self._exchange(json.dumps(request).encode() + b"\n", seconds)
        if line is None:
            return Violations((f"The code could not be parsed within {seconds:g} seconds; write it more simply.",))
        if not line:
            return Violations(("The process that parses the code died of it, twice; write it more simply.",))
        reply = json.loads(line)
        if "reasons" in reply:
            return Violations(tuple(map(visible, reply["reasons"])), reply["stage"])
        if hidden := _hidden_characters(genome, reply["files"]):
            return Violations(tuple(hidden))
        return _edited_genome(genome, reply)

    def _exchange(self, request: bytes, cpu_seconds: float) -> bytes | None:
        """Send the request to an idle process, and once more if the process died: something else may have killed it."""
        seconds = _WAIT_PER_CPU_SECOND * cpu_seconds
        process = self._idle.get()  # the one that was used last, so that no more processes are started than needed
        try:
            line = process.exchange(request, seconds)
            return process.exchange(request, seconds) if line == b"" else line
        finally:
            self._idle.put(process)

    def close(self) -> None:
        """End the processes, after the edits that are under way."""
        for process in [self._idle.get() for _ in self._processes]:
            process.stop()
            self._idle.put(process)


def _hidden_characters(old: Genome, files: Mapping[str, str]) -> list[str]:
    """Why a change may not stay: it brings characters that are no text, and that none of the program's files had before.

    They would act on the terminal of whoever reads the code, or show it another code than Python reads.
    """
    known = {character for text in old.files.values() for character in set(text)}
    found = []
    for path, text in files.items():
        strange = {c for c in set(text) - known if is_hidden(c) and c != "\r"}
        for character in sorted(strange)[:_CHARACTERS]:
            line = 1 + text.count("\n", 0, text.index(character))
            name = unicodedata.name(character, "half a character, or bytes that are no text")
            found.append(
                f"`{path}`, line {line}, has the character U+{ord(character):04X} ({name}), which is not shown as it is: write "
                "it as an escape in the text, or leave it out."
            )
    return found


def _edited_genome(old: Genome, reply: dict[str, Any]) -> Genome:
    """The genome in a child's reply. It shares unchanged texts and blocks with the old one, to save memory."""
    changed = {path: text for path, text in reply["files"].items() if old.files[path] != text}
    old_blocks = {block: block for block in old.all_blocks}
    blocks = [Block.with_meanings(*fields, meanings=tuple(meanings)) for *fields, meanings in reply["blocks"]]
    return old.with_precomputed(
        {**old.files, **changed},
        reply["fingerprint"],
        all_blocks=tuple(old_blocks.get(block, block) for block in blocks),
        live_names=frozenset(reply["live_names"]),
    )


class _EditorProcess:
    """A child process that edits, started on first use. For one thread at a time."""

    def __init__(self) -> None:
        self.process: subprocess.Popen[bytes] | None = None

    def exchange(self, request: bytes, seconds: float) -> bytes | None:
        """Send a line and return the reply: empty if the process died, None if it took too long. The process is stopped then.

        `seconds`: how long to wait. The kernel kills the process earlier if it computes longer than the request allows.
        """
        if self.process is not None and self.process.poll() is not None:
            self.stop()  # it died between two edits, which is no fault of this answer
        process = self.process = self.process or _start()
        assert process.stdin is not None and process.stdout is not None
        try:
            process.stdin.write(request)
            process.stdin.flush()
            line = _read_line(process.stdout, seconds)
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
                    with contextlib.suppress(BrokenPipeError):  # a request was still buffered for a dead process
                        stream.close()


def _read_line(stream: IO[bytes], seconds: float) -> bytes | None:
    """Read a line: empty at the end of the stream, None after `seconds` without a byte.

    A reply is written in one piece, when all the work is done.
    """
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
    """Start a process and wait until it is ready. Tries again if it dies meanwhile: something else may have killed it."""
    for _ in range(_START_ATTEMPTS):
        process = _spawn()
        assert process.stdout is not None
        line = _read_line(process.stdout, _START_SECONDS)
        if line:
            return process
        process.kill()
        process.communicate()
        if line is None:
            raise MachineError(f"The editor's process was not ready within {_START_SECONDS} seconds.")
    code = process.returncode
    raise MachineError(f"The editor's process died {_START_ATTEMPTS} times before it was ready (exit code {code}).")


def _spawn() -> subprocess.Popen[bytes]:
    """Start the interpreter with the child's module and a minimal environment."""
    packages = os.pathsep.join(filter(os.path.isabs, sys.path))  # the child finds the packages that this process finds
    environment = {"PATH": os.environ.get("PATH", ""), "PYTHONPATH": packages, "LANG": "C.UTF-8"}
    pipe = subprocess.PIPE
    try:
        return subprocess.Popen(
            start_command("agent.genome.editor_process"),
            stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, env=environment, start_new_session=True,
        )  # fmt: skip
    except OSError as error:
        raise MachineError(f"The editor's process cannot be started: {error}.") from error

"""The trusted side of every task: run a stage in a process of its own, explain how it ended, parse the result of smoke."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sandbox.sandbox import Call, CallLimits, Report, Sandbox, SharedSandbox, Watch
from sandbox.tasks.common.job import Job, Measured, Stage, StageFailed
from sandbox.tasks.common.literals import literal_parameters
from sandbox.tasks.common.refusals import last_own_frame, own_path, refusal
from sandbox.tasks.common.weights import MAX_HEADER, StateLayout

MAX_CODE = 200_000
"""Largest number of characters of all sources together: it bounds how much a program can have memorised."""
MAX_WEIGHTS = 512 << 20
"""Bytes of all weights. A model with more is refused before it is trained; `weights_limit` is what a training may return."""
SMOKE_SECONDS = 30.0
SMOKE_RESULT = 1 << 20
"""Bytes: enough for the layout of the largest state that may be trained, as text."""


def weights_limit(most_parameters: float | None) -> int:
    """Bytes that a training may return: its weights and their header. `most_parameters`: a bound on their number."""
    size = MAX_WEIGHTS if most_parameters is None else min(MAX_WEIGHTS, int(16 * most_parameters))
    return size + (MAX_HEADER if most_parameters is None else 1 << 20)


class Stages:
    """Takes one job through the stages and collects what is measured of it."""

    def __init__(self, job: Job, sandbox: Sandbox, packages: tuple[Path, ...] = (), *, locks: bool = False) -> None:
        """`packages`: installed ones that the program may import besides torch's: see `TaskTables.packages`; `locks`: see `Call`.

        Raises StageFailed if the program is too long.
        """
        self._locks = locks
        self._job, self._sandbox, self.packages = job, sandbox, packages
        self.seconds: dict[str, float] = {}
        """Wall time by stage."""
        self.cpu_seconds: dict[str, float] = {}
        """Processor time by stage."""
        self.peak_memory = 0
        self.load: float | None = None
        """As in `Measured`."""
        self._layers: tuple[str, ...] = ()
        size = sum(map(len, job.sources.values()))
        most = MAX_CODE + (job.seed_size if job.seed_size > MAX_CODE else 0)
        if size > most:
            raise StageFailed("smoke", f"The program has {size:,} characters; {most:,} is the limit.")

    def run(
        self,
        stage: Stage,
        entry: str,
        limits: CallLimits,
        inputs: Mapping[str, Path],
        options: Mapping[str, Any],
        watch: Watch | None = None,
        readable: tuple[Path, ...] = (),
    ) -> Report:
        """Run a stage in a process of its own and return its report.

        Raises StageFailed if the process did not end well, SandboxUnavailable if the machine is at fault.
        """
        report = self.report(stage, entry, limits, inputs, options, watch, readable)
        if not report.ok:
            raise StageFailed(stage, explain(report, limits, tuple(self._job.sources)), report.log)
        return report

    def report(
        self,
        stage: Stage,
        entry: str,
        limits: CallLimits,
        inputs: Mapping[str, Path],
        options: Mapping[str, Any],
        watch: Watch | None = None,
        readable: tuple[Path, ...] = (),
    ) -> Report:
        """As `run`, but return the report however the process ended."""
        job = self._job
        call = Call(
            entry=entry,
            sources=job.sources,
            limits=limits,
            inputs=inputs,
            options=options,
            readable=(*readable, *self.packages),
            device=job.device,
            threads=job.threads,
            locks=self._locks,
            slot=stage == "fit",
        )
        with self.alone() if stage == "fit" and job.timed else nullcontext():
            report = self._sandbox.run(call, watch)
        self.seconds[stage] = self.seconds.get(stage, 0.0) + report.seconds
        self.cpu_seconds[stage] = self.cpu_seconds.get(stage, 0.0) + report.cpu_seconds
        self.peak_memory = max(self.peak_memory, report.peak_memory)
        self._layers = report.layers
        return report

    @property
    def device(self) -> str:
        """The device that the training ran on: where several sandboxes share devices, the slot has decided that."""
        return str(getattr(self._sandbox, "device", self._job.device))

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Inside, times are measured: nothing else of the run uses the machine. Notes the load that it has all the same."""
        with self._sandbox.alone() if isinstance(self._sandbox, SharedSandbox) else nullcontext():
            self.load = os.getloadavg()[0]
            yield

    def measured(self, values: Mapping[str, float], **claims: Any) -> Measured:
        """Return the result of the evaluation. `claims`: fields of `Measured` that are no part of a fitness."""
        return Measured(
            values=values,
            seconds=self.seconds,
            peak_memory=self.peak_memory,
            level=self._sandbox.level,
            layers=self._layers,
            load=self.load,
            **claims,
        )


@dataclass(frozen=True)
class Smoke:
    """The result of the smoke stage. All of it is a claim; the layout is compared with what training returns."""

    layout: StateLayout
    beside: int
    """Parameters beside the saved state: tensors that are not saved, by the model's own report, and literals of the source."""
    parameters_by_block: Mapping[str, int]
    calls_by_block: Mapping[str, tuple[tuple[str, int], ...]]

    @property
    def parameters(self) -> int:
        """All that the program can keep what it has learned in."""
        return self.layout.parameters + self.beside

    @classmethod
    def read(cls, report: Report, sources: Mapping[str, str], max_parameters: float | None) -> Smoke:
        """Parse the lines that `state.smoke_result` writes; other lines are ignored. Raises StageFailed."""
        lines = report.result.decode("utf-8", "replace").split("\n")
        counts = (re.fullmatch(r"class (\d{1,15}) ([A-Za-z_]\w{0,63})", line, re.ASCII) for line in lines)
        call = r"calls ([A-Za-z_]\w{0,63})((?: \d{1,6}(?:x\d{1,6}){0,4}:\d{1,12}){1,12})"
        calls = [match for line in lines if (match := re.fullmatch(call, line, re.ASCII))]
        layout = StateLayout.read(lines)
        if not layout.tensors:
            raise StageFailed("smoke", "The program ended itself before its model was tried.", report.log)
        if layout.size > MAX_WEIGHTS:
            reason = f"The model's weights take {_mebibytes(layout.size)}; {_mebibytes(MAX_WEIGHTS)} is the limit."
            raise StageFailed("smoke", reason)
        unsaved = [int(match[1]) for line in lines if (match := re.fullmatch(r"unsaved (\d{1,15})", line, re.ASCII))]
        smoke = cls(
            layout,
            sum(unsaved[-1:]) + literal_parameters(sources),
            {match[2]: int(match[1]) for match in counts if match},
            {match[1]: tuple(_read_call(one) for one in match[2].split()) for match in calls[:500]},
        )
        if not layout.parameters:
            raise StageFailed("smoke", "The model has no parameters: there is nothing that it could learn into.", report.log)
        if max_parameters is not None and smoke.parameters > max_parameters:
            beside = f", {smoke.beside:,} of them in tensors that are not saved or in literals" if smoke.beside else ""
            raise StageFailed(
                "smoke", f"The model has {smoke.parameters:,} parameters{beside}; at most {max_parameters:,.0f} are allowed."
            )
        return smoke


def _mebibytes(size: int) -> str:
    return f"{size / 2**20:,.0f} MiB" if size >= 2**20 else f"{size:,} bytes"


def _read_call(text: str) -> tuple[str, int]:
    """`12x16x16:1204` as (size returned, parameters)."""
    size, _, count = text.partition(":")
    return size, int(count)


def explain(report: Report, limits: CallLimits, files: tuple[str, ...]) -> str:
    """Return why a process did not end well, in a sentence suitable for a prompt."""
    if report.cause == "timeout":
        return f"It ran longer than its limit of {limits.seconds:g} s."
    if report.cause == "memory":
        return f"It used more memory than its limit of {limits.memory / 2**30:.3g} GiB."
    if report.cause == "disk":
        return "It wrote more than its scratch folder may hold."
    if report.cause == "processes":
        return "It started processes, which is not allowed."
    if report.cause == "unwatched":
        return "It made its process such that nobody could watch its limits, and was ended."
    if report.cause == "stopped":
        return "It was stopped before its end."
    if report.cause == "result":
        return f"What it returned is larger than allowed ({_mebibytes(limits.result)}): too many weights, or a forged result."
    if report.cause == "signal":
        return f"The process died of signal {-report.status}."
    return refusal(report.log, files) or _own_end(report.log, files) or _error(report, files)


def _own_end(log: str, files: tuple[str, ...]) -> str:
    """Return how a program ended that ended itself, with what it said last, such as the error of argparse; else empty."""
    said, ended, code = log.rpartition("SystemExit: the program ended itself with ")
    if not ended or not code.strip()[:1].isdigit():
        return ""
    lines = [line.strip(" \t\u2500\u2502\u256d\u256e\u256f\u2570") for line in said.splitlines()[-20:]]  # without frames of boxes
    lines = [line for line in lines if re.search(r"\w", line)]
    told = [line for line in lines if re.search(r"\berror\b", line, re.IGNORECASE)] or lines
    last = f": {told[-1][:300].rstrip('.')}" if told else ""
    return f"SystemExit: the program ended itself with {code.strip()}{last}."


def _error(report: Report, files: tuple[str, ...]) -> str:
    """Return the last error in the log, with the last line of the program itself."""
    own = last_own_frame(report.log, files)
    where = f" ({own_path(own.path, files)}, line {own.line}, in {own.function})" if own else ""
    errors = re.findall(r"^(?:\w+\.)*\w*(?:Error|Exception|Interrupt|Exit)\b.*$", report.log, re.MULTILINE)
    _, traceback, tail = report.log.rpartition("Traceback (most recent call last):\n")
    if traceback:  # the first line that is not indented holds the exception, whatever its name
        errors += re.findall(r"^\S.*$", tail, re.MULTILINE)[:1]
    if errors:
        return f"{errors[-1].strip()[:300]}{where}."
    return f"The process ended early with exit code {report.status}."


def rough(value: float) -> float:
    """Return the value rounded to two digits: further digits of a measured time are chance and would put chance on the front."""
    return float(f"{value:.2g}")

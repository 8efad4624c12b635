"""What every task does on the trusted side: run a stage in a child, say why it stopped, read what smoke tells."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sandbox.job import Job, Measured, Stage, Stop
from sandbox.sandbox import Call, Limits, Report, Sandbox, Watch
from sandbox.tasks.weights import Layout

MAX_CODE = 200_000
"""Characters of all sources together: what could be learned by heart is bounded."""
SMOKE_SECONDS = 30.0
PROJECT = "project"
"""In a call's scratch folder: the private copy of a script's project."""
SMOKE_RESULT = 1 << 20
"""Bytes: the layout of the largest state that may be trained, as text."""


class Stages:
    """One job on its way through the stages; keeps what was measured of it on the way."""

    def __init__(self, job: Job, sandbox: Sandbox) -> None:
        """Raises Stop for a program that is too long."""
        self._job, self._sandbox = job, sandbox
        self.seconds: dict[str, float] = {}
        """Wall time by stage."""
        self.peak_memory = 0
        self._layers: tuple[str, ...] = ()
        size = sum(map(len, job.sources.values()))
        if size > MAX_CODE:
            raise Stop("smoke", f"The program has {size:,} characters; {MAX_CODE:,} is the limit.")

    def run(
        self,
        stage: Stage,
        entry: str,
        limits: Limits,
        inputs: Mapping[str, Path],
        options: Mapping[str, Any],
        watch: Watch | None = None,
        readable: tuple[Path, ...] = (),
    ) -> Report:
        """The report of a child that ended well. Raises Stop for any other, SandboxUnavailable for the machine's fault."""
        job = self._job
        call = Call(
            entry=entry,
            sources=job.sources,
            limits=limits,
            inputs=inputs,
            options=options,
            readable=readable,
            device=job.device,
            threads=job.threads,
            slot=stage == "fit",
        )
        report = self._sandbox.run(call, watch)
        self.seconds[stage] = self.seconds.get(stage, 0.0) + report.seconds
        self.peak_memory = max(self.peak_memory, report.peak_memory)
        self._layers = report.layers
        if not report.ok:
            raise Stop(stage, explain(report, limits, tuple(job.sources)), report.log)
        return report

    def measured(self, values: Mapping[str, float], **told: Any) -> Measured:
        """`told`: what the candidate said of itself, as fields of `Measured`."""
        return Measured(
            values=values,
            seconds=self.seconds,
            peak_memory=self.peak_memory,
            level=self._sandbox.level,
            layers=self._layers,
            **told,
        )


@dataclass(frozen=True)
class Smoke:
    """What the smoke stage tells: all of it is a claim, and the layout is held against what training returns."""

    layout: Layout
    parameters_by_block: Mapping[str, int]
    sizes_by_block: Mapping[str, tuple[str, ...]]

    @classmethod
    def read(cls, report: Report, max_parameters: float | None) -> Smoke:
        """From lines as `state.tell` writes them; any other line is passed over. Raises Stop."""
        lines = report.result.decode("utf-8", "replace").split("\n")
        counts = (re.fullmatch(r"class (\d{1,15}) ([A-Za-z_]\w{0,63})", line, re.ASCII) for line in lines)
        size = r"size ([A-Za-z_]\w{0,63})((?: \d{1,6}(?:x\d{1,6}){0,4}){1,12})"
        shapes = (re.fullmatch(size, line, re.ASCII) for line in lines)
        layout = Layout.read(lines)
        if not layout.tensors:
            raise Stop("smoke", "The program ended itself before its model was tried.", report.log)
        if max_parameters is not None and layout.parameters > max_parameters:
            raise Stop(
                "smoke", f"The model has {layout.parameters:,} parameters; at most {max_parameters:,.0f} are allowed."
            )
        return cls(
            layout,
            {match[2]: int(match[1]) for match in counts if match},
            {match[1]: tuple(match[2].split()) for match in [m for m in shapes if m][:500]},
        )


def explain(report: Report, limits: Limits, files: tuple[str, ...]) -> str:
    """Why a child did not end well, in a sentence fit for a prompt."""
    if report.cause == "timeout":
        return f"It ran longer than its limit of {limits.seconds:g} s."
    if report.cause == "memory":
        return f"It used more memory than its limit of {limits.memory / 2**30:.3g} GiB."
    if report.cause == "disk":
        return "It wrote more than its scratch folder may hold."
    if report.cause == "processes":
        return "It started processes, which is not allowed."
    if report.cause == "stopped":
        return "It was stopped before its end."
    if report.cause == "result":
        return "What it returned is larger than allowed: too many weights, or a forged result."
    if report.cause == "signal":
        return f"The process died of signal {-report.status}."
    frames = re.findall(rf'File "(?:[^"\n]*/{PROJECT}/)?([^"\n]+)", line (\d+), in (\S+)', report.log)
    own = [frame for frame in frames if frame[0] in files]
    where = f" ({own[-1][0]}, line {own[-1][1]}, in {own[-1][2]})" if own else ""
    errors = re.findall(r"^(?:\w+\.)*\w*(?:Error|Exception|Interrupt|Exit)\b.*$", report.log, re.MULTILINE)
    _, traceback, tail = report.log.rpartition("Traceback (most recent call last):\n")
    if traceback:  # an exception of any name stands in the first line that is not indented
        errors += re.findall(r"^\S.*$", tail, re.MULTILINE)[:1]
    if errors:
        return f"{errors[-1].strip()[:300]}{where}."
    return f"The process ended early with exit code {report.status}."


def rough(value: float) -> float:
    """To two digits: more of a run's time is chance, and every chance difference would be a member of the front."""
    return float(f"{value:.2g}")

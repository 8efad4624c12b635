"""The folder of a run: owns the name of every file in it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class RunFolder:
    """The files of one run."""

    root: Path

    @property
    def name(self) -> str:
        return self.root.resolve().name

    @property
    def config(self) -> Path:
        return self.root / "config.toml"

    @property
    def journal(self) -> Path:
        return self.root / "journal.db"

    @property
    def report(self) -> Path:
        return self.root / "report.html"

    @property
    def report_markdown(self) -> Path:
        return self.root / "report.md"

    @property
    def log(self) -> Path:
        return self.root / "run.log"

    @property
    def guidance(self) -> Path:
        """Words of the user's for every prompt; read again whenever it changes."""
        return self.root / "guidance.md"

    @property
    def frozen(self) -> Path:
        """Names of blocks that must not evolve, a line each, instead of the configuration's; read like `guidance`."""
        return self.root / "frozen.txt"

    @property
    def lock(self) -> Path:
        return self.root / "lock"

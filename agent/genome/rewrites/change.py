"""The result of a rewrite."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Change:
    """A block's new source and what was changed, in words."""

    source: str
    imports: str
    """Import statements that the new source may need, one a line."""
    description: str

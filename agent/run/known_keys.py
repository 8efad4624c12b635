"""The names of all settings, to say which one a user may have meant."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from difflib import get_close_matches
from typing import Any

from agent.run.config import Config

_OF_THE_TASK = {
    "task": ("name", "dataset", "subset", "image_size", "input_size", "channels", "validation_share", "train_share",
             "skip_corrupt", "image_column", "label_column", "training", "entry", "command", "metrics"),
    "budget": ("epochs", "steps", "seconds", "batch_size", "time_limit", "memory", "early_stop"),
}  # fmt: skip
"""Keys of tables that the task reads: image classification and scripts."""


def meant(key: str) -> str:
    """`; did you mean search.population?` for a dotted key that is unknown; empty if no setting is like it."""
    section, _, last = key.rpartition(".")
    known = list(_known())
    by_name: dict[str, list[str]] = {}
    for name in known:
        by_name.setdefault(name.rpartition(".")[2], []).append(name)
    beside = [name.rpartition(".")[2] for name in known if name.rpartition(".")[0] == section]
    near = [f"{section}.{name}".strip(".") for name in get_close_matches(last, beside, 1)]
    anywhere = [name for close in get_close_matches(last, by_name, 1) for name in by_name[close]]
    found = by_name.get(last.replace("-", "_")) or near or get_close_matches(key, known, 1) or anywhere
    return f"; did you mean {' or '.join(found[:2])}?" if found else ""


def _known() -> Iterator[str]:
    for name, field in Config.model_fields.items():
        yield name
        for key in _keys_of(field.annotation):
            yield f"{name}.{key}"
        for key in _OF_THE_TASK.get(name, ()):
            yield f"{name}.{key}"


def _keys_of(kind: Any) -> list[str]:
    if dataclasses.is_dataclass(kind):
        return [field.name for field in dataclasses.fields(kind)]
    return list(getattr(kind, "model_fields", {}))

"""Assigns images to splits: stratified by class, and the same in every run. Only the order in which they are stored is secret."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sandbox.data.dataset import SPLITS, DataRequest, Split
from sandbox.data.secret import Secret
from sandbox.sandbox import TaskError

if TYPE_CHECKING:
    import numpy as np

SPLIT_SEED = 20240714
"""The seed of the splits. It never changes, so that every run on a data set has the same splits."""
TEST_SHARE = 0.2
"""Share of each class that becomes the test split, if the data has none."""

Rows = Mapping[Split, Mapping[Split, "np.ndarray"]]
"""Split -> part of the source -> rows of that part."""


def number_classes(
    raw: Mapping[Split, Sequence[Hashable]], names: Sequence[str]
) -> tuple[dict[Split, np.ndarray], tuple[str, ...], tuple[str, ...]]:
    """Return (labels of each part as int64 classes from 0 on, class names, notes). `names`: given by the data, or empty.

    A test part without labels (-1, as in some contests) is left out. Raises TaskError.
    """
    import numpy as np

    notes = []
    if set(raw.get("test", ())) == {-1}:
        raw = {part: values for part, values in raw.items() if part != "test"}
        notes.append("its own test split has no labels, so that a fifth of the images was set aside instead")
    found = {value for values in raw.values() for value in values}
    if None in found:
        raise TaskError("task.dataset: some images have no label.")
    if names and all(isinstance(value, int) for value in found):
        beyond = [value for value in found if isinstance(value, int) and not 0 <= value < len(names)]
        if beyond:
            raise TaskError(f"task.dataset: there is a label {min(beyond)}, but the data names only {len(names)} classes.")
        order: list[Any] = list(range(len(names)))
    else:
        order = sorted(found, key=_rank)
        names = [str(value) for value in order] if any(isinstance(value, str) for value in order) else ()
    if len(order) < 2:
        raise TaskError("task.dataset: there is only one class, so that there is nothing to tell apart.")
    if len(order) > len(raw["train"]):
        raise TaskError(f"task.dataset: {len(order):,} classes are more than there are training images.")
    number = {value: index for index, value in enumerate(order)}
    labels = {part: np.asarray([number[value] for value in values], dtype="int64") for part, values in raw.items()}
    return labels, tuple(names), tuple(notes)


def assign_rows(
    labels: Mapping[Split, np.ndarray], names: Sequence[str], request: DataRequest, secret: Secret
) -> tuple[Rows, tuple[str, ...]]:
    """Return (rows of each split in the order in which they are stored, notes). Raises TaskError.

    A validation or test part of the data itself stays whole; missing ones are cut from the training part.
    """
    import numpy as np

    rng = np.random.default_rng(SPLIT_SEED)
    classes = max(int(part.max(initial=-1)) for part in labels.values()) + 1
    classes = max(classes, len(names))
    pieces: dict[Split, list[np.ndarray]] = {split: [] for split in SPLITS if split not in labels or split == "train"}
    for label in range(classes):
        members = rng.permutation(np.flatnonzero(labels["train"] == label))
        _check_enough(len(members), len(pieces), _name(names, label))
        cuts = []
        if "validation" in pieces:
            cuts.append(_at_least_one(len(members), request.validation_share))
        if "test" in pieces:
            cuts.append(_at_least_one(len(members), TEST_SHARE))
        ends = [len(members) - sum(cuts[index:]) for index in range(len(cuts))]
        kept, *others = np.split(members, ends)
        pieces["train"].append(kept[: _at_least_one(len(kept), request.train_share)])
        for found, piece in zip(list(pieces.values())[1:], others, strict=True):  # `train` comes first
            found.append(piece)
    rows: dict[Split, dict[Split, np.ndarray]] = {}
    part: Split
    for split in SPLITS:
        if split in pieces:
            part, members = "train", np.sort(np.concatenate(pieces[split]))
        else:
            part, members = split, np.arange(len(labels[split]))
        rows[split] = {part: members[secret.permutation(len(members), "stored", split)]}
    return rows, _absent(labels, classes, names)


def _rank(value: Any) -> tuple[bool, Any]:
    return isinstance(value, str), value


def _at_least_one(count: int, share: float) -> int:
    return max(1, math.floor(count * share + 1e-9))


def _check_enough(members: int, needed: int, name: str) -> None:
    if members == 0:
        raise TaskError(f"task.dataset: class {name} has no image in the training split.")
    if members < needed:
        raise TaskError(
            f"task.dataset: class {name} has {members} image{'s' * (members > 1)}; {needed} are needed for one in each split."
        )


def _absent(labels: Mapping[Split, np.ndarray], classes: int, names: Sequence[str]) -> tuple[str, ...]:
    """Return a note for each part of the data that lacks images of a class."""
    notes = []
    for part in SPLITS[1:]:
        if part in labels:
            counts = Counter(labels[part].tolist())
            if missing := [_name(names, label) for label in range(classes) if not counts[label]]:
                more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
                notes.append(f"the {part} split has no image of class {', '.join(missing[:3])}{more}")
    return tuple(notes)


def _name(names: Sequence[str], label: int) -> str:
    return repr(names[label]) if names else str(label)

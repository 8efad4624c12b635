"""The cache of decoded data sets: a folder of uint8 arrays for each data set and way of storing it, shared by all runs."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sandbox.data.dataset import SPLITS, DataRequest, Dataset, Split, labels_name
from sandbox.data.decoding import Corrupt, common_shape, decode, in_threads
from sandbox.data.files import written_at_once
from sandbox.data.secret import Secret
from sandbox.data.sources import Source
from sandbox.data.splits import Rows, assign_rows, number_classes
from sandbox.sandbox import TaskError

if TYPE_CHECKING:
    import numpy as np

FORMAT = "2"
"""Change this number when decoding or splitting changes: every cached set except the embedded ones is then decoded again."""
SPARE = 1 << 30
"""Bytes that must stay free on the disk."""
MAX_NAMES = 20
"""More classes than this are not listed by name."""


def open_dataset(source: Source, request: DataRequest, cache: Path, secret: Secret) -> Dataset:
    """Open the data set in its folder in `cache`; write the folder first if it does not exist, in orders drawn from `secret`."""
    folder = cache / f"{_folder_name(source, request)}-{secret.fingerprint}"
    if not folder.is_dir():
        with written_at_once(folder) as temporary:
            (temporary / "labels").mkdir()
            (temporary / "facts.json").write_text(json.dumps(_decode_all(temporary, source, request, secret)))
    facts: dict[str, Any] = json.loads((folder / "facts.json").read_text())
    facts |= {key: tuple(facts.get(key, ())) for key in ("mean", "std", "class_names", "notes")}
    names = facts["class_names"]
    about = source.about
    if names and len(names) <= MAX_NAMES:
        about += f", of the classes {', '.join(names)}"
    return Dataset(name=request.dataset, folder=folder, about=about, **facts)


def _folder_name(source: Source, request: DataRequest) -> str:
    changed = {k: v for k, v in asdict(request).items() if k != "dataset" and v != getattr(DataRequest, k)}
    if not changed and "-v" in source.key:
        return source.key
    content = json.dumps([FORMAT, source.key, changed], sort_keys=True)
    slug = re.sub(r"[^a-z0-9]+", "-", Path(request.dataset).name.lower()).strip("-")[:40] or "data"
    return f"{slug}-{hashlib.sha256(content.encode()).hexdigest()[:16]}"


def _decode_all(folder: Path, source: Source, request: DataRequest, secret: Secret) -> dict[str, Any]:
    """Write images and labels of all splits; returns the facts of the data set."""
    import numpy as np

    raw = source.labels()
    shape = _shape(source, request)
    left_out = _unreadable(source, raw) if request.skip_corrupt else {}
    raw = {part: [v for row, v in enumerate(values) if row not in left_out.get(part, ())] for part, values in raw.items()}
    labels, names, notes = number_classes(raw, source.class_names)
    rows, absent = assign_rows(labels, names, request, secret)
    sizes = {split: sum(map(len, rows[split].values())) for split in SPLITS}
    _check_room(folder, sum(sizes.values()), shape)
    arrays = {
        split: np.lib.format.open_memmap(folder / f"{split}.images.npy", "w+", "uint8", (sizes[split], *shape))
        for split in SPLITS
    }
    others = sum(_fill(source, part, left_out.get(part, frozenset()), rows, arrays, shape) for part in labels)
    for split in SPLITS:
        arrays[split].flush()
        (part, chosen), *_ = rows[split].items()
        np.save(folder / labels_name(split), labels[part][chosen])
    mean, std = _statistics(arrays["train"])
    return {
        "num_classes": len(names) or int(max(part.max() for part in labels.values())) + 1,
        "channels": shape[0],
        "height": shape[1],
        "width": shape[2],
        "sizes": sizes,
        "mean": mean,
        "std": std,
        "class_names": [_printable(name) for name in names],
        "own_test": "test" in labels,
        "notes": [*notes, *absent, *_notes(sum(map(len, left_out.values())), others, sum(map(len, raw.values())), shape)],
    }


def _shape(source: Source, request: DataRequest) -> tuple[int, int, int]:
    if request.image_size and request.channels:
        return (request.channels, *request.image_size)
    channels, height, width = common_shape(source.sample())
    return (request.channels or channels, *(request.image_size or (height, width)))


def _fill(
    source: Source,
    part: Split,
    left_out: frozenset[int],
    rows: Rows,
    arrays: Mapping[Split, np.ndarray],
    shape: tuple[int, int, int],
) -> int:
    """Decode the images of one part of the source into their arrays; returns how many had another size."""
    import numpy as np

    count = sum(len(chosen[part]) for chosen in rows.values() if part in chosen)
    places: dict[int, tuple[Split, int]] = {}
    for split, chosen in rows.items():
        places |= {int(row): (split, place) for place, row in enumerate(chosen.get(part, np.empty(0, int)))}
    assert len(places) == count
    kept = (raw for row, raw in enumerate(source.images(part)) if row not in left_out)
    wanted = ((row, raw) for row, raw in enumerate(kept) if row in places)
    order: list[int] = []

    def in_order() -> Iterator[Any]:
        for row, raw in wanted:
            order.append(row)
            yield raw

    others = 0
    for index, found in enumerate(in_threads(in_order(), lambda raw: decode(raw, *shape))):
        if isinstance(found, Corrupt):
            raise TaskError(f"task.dataset: an image cannot be decoded ({found}); repair it, or set task.skip_corrupt = true.")
        pixels, resized = found
        split, place = places[order[index]]
        arrays[split][place] = pixels
        others += resized
    if len(order) != count:
        raise TaskError(f"task.dataset: its {part} part has {len(order):,} images for {count:,} labels.")
    return others


def _unreadable(source: Source, parts: Mapping[Split, Any]) -> dict[Split, frozenset[int]]:
    """Return the rows of each part that cannot be decoded."""
    found: dict[Split, frozenset[int]] = {}
    for part in parts:
        tried = in_threads(source.images(part), lambda raw: decode(raw, 1, 8, 8) is None)
        found[part] = frozenset(row for row, result in enumerate(tried) if isinstance(result, Corrupt))
    return found


def _check_room(folder: Path, count: int, shape: tuple[int, int, int]) -> None:
    needed, free = count * shape[0] * shape[1] * shape[2], shutil.disk_usage(folder).free
    if needed + SPARE > free:
        raise TaskError(
            f"task.dataset: {count:,} images of {shape[1]} x {shape[2]} take {needed / 2**30:,.1f} GiB in the cache "
            f"{folder.parent}, where {free / 2**30:,.1f} GiB are free; set a smaller task.image_size, or task.train_share."
        )


def _statistics(images: np.ndarray) -> tuple[list[float], list[float]]:
    """Return mean and standard deviation of each channel in 0..1, from counts of the 256 values: exact, in little memory."""
    import numpy as np

    channels = images.shape[1]
    counts = np.zeros((channels, 256), "int64")
    step = max(1, (16 << 20) // max(1, images[0].size))
    for start in range(0, len(images), step):
        for channel in range(channels):
            counts[channel] += np.bincount(images[start : start + step, channel].ravel(), minlength=256)
    values = np.arange(256) / 255
    total = counts.sum(1)
    mean = counts @ values / total
    std = np.sqrt(((values[None] - mean[:, None]) ** 2 * counts).sum(1) / total)
    return [round(float(v), 4) for v in mean], [round(float(max(v, 1e-3)), 4) for v in std]


def _notes(left_out: int, others: int, count: int, shape: tuple[int, int, int]) -> list[str]:
    notes = []
    if left_out:
        notes.append(f"{left_out:,} images that cannot be decoded were left out")
    if others:
        notes.append(f"{others:,} of {count:,} images had another size and were resized to {shape[1]} x {shape[2]} pixels")
    return notes


def _printable(name: str) -> str:
    """Return the name made safe for prompts: the author of the data set is not trusted."""
    return "".join(c if c.isprintable() else " " for c in name)[:60]

"""The data of a seed's own task: checked, kept on the trusted side, and handed out without the targets."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sandbox.data import SPLITS, Split
from sandbox.data.files import written_at_once
from sandbox.sandbox import TaskError

if TYPE_CHECKING:
    import numpy as np

BARE = ""
"""The name of an array that was given alone, not in a dict."""


def place(number: int) -> str:
    """The name of an array that was given at this place of a tuple."""
    return f"({number})"


NOISE_BYTES = 8 << 20
"""Largest size in bytes of all stand-in arrays together."""
NOISE_ROWS = 1024

Arrays = Mapping[str, "np.ndarray"]


@dataclass(frozen=True)
class Part:
    """Rows that are predicted in one process, which gets no inputs of other parts."""

    inputs: Arrays
    targets: np.ndarray

    @property
    def rows(self) -> int:
        return len(self.targets)


@dataclass(frozen=True)
class Splits:
    """The arrays of all splits."""

    train: Arrays
    parts: Mapping[Split, tuple[Part, ...]]
    """The parts of validation and test."""
    stand_in: tuple[Arrays, Arrays]
    """(train, inputs) for the smoke stage: of the same form as the data, but without content to learn."""

    @classmethod
    def read(cls, data: Any, example: Any, where: str) -> Splits:
        """Check the results of `data()` and, if it exists, `example()`. Raises TaskError."""
        if not isinstance(data, dict) or set(data) != set(SPLITS):
            raise TaskError(f"data() of {where} must return a dict with the keys {', '.join(SPLITS)}.")
        train = _arrays(data["train"], f"data()['train'] of {where}")
        parts: dict[Split, tuple[Part, ...]] = {
            split: tuple(_parts(data[split], f"data()[{split!r}] of {where}")) for split in SPLITS if split != "train"
        }
        if example is None:
            stand_in = _noise(train), _noise(parts["validation"][0].inputs)
        elif isinstance(example, tuple | list) and len(example) == 2:
            stand_in = (
                _arrays(example[0], f"example()[0] of {where}"),
                _arrays(example[1], f"example()[1] of {where}"),
            )
        else:
            raise TaskError(f"example() of {where} must return two things: arrays like train, and arrays like inputs.")
        _rows(stand_in[1], f"the stand-in inputs of {where}")
        return cls(train, parts, stand_in)

    def targets(self) -> np.ndarray:
        """All targets of validation, part after part."""
        return _joined(self.parts["validation"])

    def sealed_targets(self) -> np.ndarray:
        """Those of the test split. Nothing but a confirmation may call this: see docs/confirmation.md."""
        return _joined(self.parts["test"])

    @property
    def digest(self) -> str:
        """Return a digest of every value, so that another data set under the same name is noticed."""
        named: dict[str, Arrays] = {"train": self.train}
        for split, parts in self.parts.items():
            for number, part in enumerate(parts):
                named |= {f"{split}/{number}": part.inputs, f"{split}/{number}/targets": {BARE: part.targets}}
        return _digest(named)

    def files(self, cache: Path) -> tuple[Mapping[str, Path], Mapping[str, Path]]:
        """Write, once, the `.npy` files for the stages fit (`train`) and smoke (the stand-ins); return them by input name."""
        tables = {"train": self.train, "example": self.stand_in[0], "inputs": self.stand_in[1]}
        folder = cache / f"own-{_digest(tables)[:32]}"
        if not folder.is_dir():
            _write(folder, tables)
        places = {table: {name: folder / f"{table}.{i}.npy" for i, name in enumerate(arrays)} for table, arrays in tables.items()}
        fit = {f"train/{name}": path for name, path in places["train"].items()}
        smoke = {f"train/{name}": path for name, path in places["example"].items()}
        return fit, smoke | {f"inputs/{name}": path for name, path in places["inputs"].items()}


def _joined(parts: Sequence[Part]) -> np.ndarray:
    import numpy as np

    return np.concatenate([part.targets for part in parts])


def _digest(tables: Mapping[str, Arrays]) -> str:
    digest = hashlib.sha256()
    for table, arrays in tables.items():
        for name, values in arrays.items():
            digest.update(f"{table}/{name} {values.dtype} {values.shape}\0".encode())
            digest.update(values.tobytes())
    return digest.hexdigest()


def _write(folder: Path, tables: Mapping[str, Arrays]) -> None:
    import numpy as np

    with written_at_once(folder) as temporary:
        for table, arrays in tables.items():
            for i, values in enumerate(arrays.values()):
                np.save(temporary / f"{table}.{i}.npy", values)


def _arrays(value: Any, where: str) -> dict[str, np.ndarray]:
    """Return a dict of arrays; a single array gets the name `BARE`."""
    import numpy as np

    if isinstance(value, tuple) and value and all(hasattr(one, "shape") for one in value):
        value = {place(number): one for number, one in enumerate(value)}
    given = value if isinstance(value, dict) else {BARE: value}
    if not given or not all(isinstance(name, str) for name in given):
        raise TaskError(f"{where} must be an array, a tuple of arrays, or a dict of arrays by name.")
    arrays = {}
    for name, values in given.items():
        array = _array(values)
        if array is None or not array.ndim:
            raise TaskError(f"{where}{f'[{name!r}]' if name else ''} must be an array of numbers with at least one axis.")
        arrays[name] = np.ascontiguousarray(array)
    return arrays


def _array(value: Any) -> np.ndarray | None:
    """What is given as an array: one of numpy or torch, or lists and tuples of numbers; None for anything else."""
    import numpy as np

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            array = np.asarray(value)
    except Exception:  # whatever numpy or the value's own conversion raises, such as that of lists of several lengths
        return None
    return None if array.dtype.hasobject else array


def _parts(value: Any, where: str) -> Iterator[Part]:
    listed = _listed(value)
    if not listed:
        raise TaskError(f"{where} is empty.")
    for number, pair in enumerate(listed):
        called = f"{where}, part {number + 1}," if len(listed) > 1 else where
        if not isinstance(pair, tuple) or len(pair) != 2:
            raise TaskError(f"{called} must be (inputs, targets), or a list of such pairs.")
        inputs, targets = _arrays(pair[0], f"the inputs of {called}"), _array(pair[1])
        rows = _rows(inputs, f"the inputs of {called}")
        if targets is None or not targets.ndim or len(targets) != rows:
            raise TaskError(f"the targets of {called} must be an array with one entry for each of the {rows} rows of inputs.")
        yield Part(inputs, targets)


def _listed(value: Any) -> list[Any]:
    """The pairs of a split: a list or a tuple of pairs, or one pair, which may be a list of two arrays too."""
    if not isinstance(value, list | tuple):
        return [value]
    if value and all(isinstance(one, tuple | list) and len(one) == 2 and all(map(_is_table, one)) for one in value):
        return [tuple(one) for one in value]
    if isinstance(value, tuple) or (len(value) == 2 and not isinstance(value[0], tuple)):
        return [tuple(value)]
    return value


def _is_table(value: Any) -> bool:
    """Whether a value is an array, or several: no list of plain numbers, which a pair of lists could be made of."""
    several = isinstance(value, tuple) and all(hasattr(one, "shape") for one in value)
    return several or hasattr(value, "shape") or isinstance(value, dict)


def _rows(inputs: Arrays, where: str) -> int:
    """Return the number of rows. Raises TaskError if it differs between arrays, or is less than two."""
    counts = {len(values) for values in inputs.values()}
    if len(counts) != 1 or min(counts) < 2:
        raise TaskError(f"{where} must all have the same number of rows, at least two; they have {sorted(counts)}.")
    return counts.pop()


def _noise(arrays: Arrays) -> dict[str, np.ndarray]:
    """Return a few rows of the same types and shapes, drawn uniformly between the extreme values of each array."""
    import numpy as np

    rng = np.random.default_rng(0)
    row_bytes = sum(values[:1].nbytes for values in arrays.values()) or 1
    rows = max(2, min(NOISE_ROWS, NOISE_BYTES // row_bytes))
    made = {}
    for name, values in arrays.items():
        shape = (min(rows, len(values)), *values.shape[1:])
        kind, known = values.dtype.newbyteorder("="), values
        if kind.kind == "f":
            known = values[np.isfinite(values)]
        if kind.kind in "iub" and known.size:
            made[name] = rng.integers(known.min(), known.max(), shape, kind, endpoint=True)
        elif kind.kind == "f" and known.size:
            made[name] = rng.uniform(float(known.min()), float(known.max()), shape).astype(kind)
        else:
            made[name] = np.zeros(shape, kind)
    return made

"""Parquet files as the hub has them: an image column of encoded bytes, and a label column. The only user of pyarrow."""

from __future__ import annotations

import json
from collections.abc import Hashable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from sandbox.data.dataset import DataRequest, Split
from sandbox.data.decoding import Corrupt, Raw, shape_of
from sandbox.data.files import fingerprint
from sandbox.sandbox import TaskError

BATCH = 256
"""Rows read at a time."""
SAMPLED_BATCHES = 16
_IMAGE_NAMES, _LABEL_NAMES = ("image", "img"), ("label", "labels")


class ParquetFiles:
    """A `Source`."""

    def __init__(
        self, folder: Path, parts: Mapping[Split, Sequence[str]], request: DataRequest, cache: Path, about: str
    ) -> None:
        """Raises TaskError for a file that is not parquet, or for ambiguous columns."""
        self.about = about
        self._folder, self._parts = folder, parts
        paths = [path for files in parts.values() for path in files]
        self.key = fingerprint(folder, paths, cache)
        schema = self._open(paths[0]).schema_arrow
        features = _features(schema)
        self._image = _chosen("image", request.image_column, schema, _image_columns(self._open(paths[0]), features), _IMAGE_NAMES)
        self._label = _chosen("label", request.label_column, schema, _label_columns(schema, features), _LABEL_NAMES)
        for path in paths[1:]:
            other = self._open(path).schema_arrow
            for column in (self._image, self._label):
                if column not in other.names or other.field(column).type != schema.field(column).type:
                    raise TaskError(f"task.dataset: {path} has no column {column!r} like that of {paths[0]}.")
        named = features.get(self._label, {}).get("names")
        self.class_names: Sequence[str] = tuple(map(str, named)) if isinstance(named, list) else ()

    def labels(self) -> Mapping[Split, Sequence[Hashable]]:
        return {part: [value for path in paths for value in self._labels_of(path)] for part, paths in self._parts.items()}

    def images(self, part: Split) -> Iterator[Raw]:
        for path in self._parts[part]:
            row = 0
            for batch in self._open(path).iter_batches(BATCH, columns=[self._image]):
                for value in batch.column(0):
                    yield f"{path}, row {row}", _bytes(value)
                    row += 1

    def sample(self) -> Iterator[Raw]:
        groups = []
        for path in self._parts["train"]:
            groups += [(path, group) for group in range(self._open(path).num_row_groups)]
        for path, group in groups[:: max(1, len(groups) // SAMPLED_BATCHES)]:
            batches = self._open(path).iter_batches(BATCH, row_groups=[group], columns=[self._image])
            for batch in batches:
                yield from ((path, _bytes(value)) for value in batch.column(0))
                break

    def _labels_of(self, path: str) -> list[Any]:
        column = self._open(path).read(columns=[self._label]).column(0)
        return list(column.to_pylist())

    def _open(self, path: str) -> Any:
        import pyarrow
        import pyarrow.parquet

        try:
            return pyarrow.parquet.ParquetFile(self._folder / path, memory_map=True)
        except (pyarrow.ArrowInvalid, OSError) as error:
            raise TaskError(f"task.dataset: {path} is not a parquet file that can be read: {error}.") from None


def _features(schema: Any) -> Mapping[str, Mapping[str, Any]]:
    """Return the descriptions of the columns that the library `datasets` stores in the file."""
    try:
        described = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        return {name: feature for name, feature in described.items() if isinstance(feature, dict)}
    except (KeyError, TypeError, ValueError, AttributeError):
        return {}


def _image_columns(file: Any, features: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return the columns described as images; without descriptions, those whose first value is an image."""
    described = [name for name, feature in features.items() if feature.get("_type") == "Image"]
    if described:
        return described
    found = []
    for field in file.schema_arrow:
        if not _may_hold_bytes(field.type):
            continue
        first = next(file.iter_batches(1, columns=[field.name]), None)
        if first is None or not len(first):
            continue
        try:
            shape_of(("", _bytes(first.column(0)[0])))
        except Corrupt:
            continue
        found.append(field.name)
    return found


def _label_columns(schema: Any, features: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return the columns described as classes; without descriptions, those of whole numbers and texts."""
    import pyarrow

    described = [name for name, feature in features.items() if feature.get("_type") == "ClassLabel"]
    if described:
        return described
    types = pyarrow.types
    kinds = (types.is_integer, types.is_string, types.is_large_string, types.is_dictionary, types.is_boolean)
    return [field.name for field in schema if any(kind(field.type) for kind in kinds)]


def _chosen(what: str, named: str | None, schema: Any, found: Sequence[str], common: Sequence[str]) -> str:
    """Return the column that the user named, or the only plausible one. Raises TaskError."""
    if named is not None:
        if named not in schema.names:
            raise TaskError(f"task.{what}_column: there is no column {named!r}; there are {', '.join(schema.names)}.")
        return named
    for name in common:
        if name in found:
            return name
    if len(found) == 1:
        return found[0]
    problem = "several columns could be" if found else "no column can be told to be"
    listed = ", ".join(found or schema.names)
    raise TaskError(f"task.dataset: {problem} the {what}: {listed}; name it as task.{what}_column.")


def _may_hold_bytes(kind: Any) -> bool:
    import pyarrow

    types = pyarrow.types
    if types.is_struct(kind):
        index = kind.get_field_index("bytes")
        return index >= 0 and _may_hold_bytes(kind.field(index).type)
    return bool(types.is_binary(kind) or types.is_large_binary(kind))


def _bytes(value: Any) -> bytes:
    """Return the bytes of a cell (bytes, or a struct with a field `bytes`). An empty cell gives none, which counts as corrupt."""
    found = value.as_py()
    if isinstance(found, Mapping):
        found = found.get("bytes")
    return found if isinstance(found, bytes) else b""

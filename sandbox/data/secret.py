"""The secret that every order is drawn from which a candidate can see: how a data set is stored, and the rows of a prediction.

If an order followed from a constant, a row's position would tell its index in the published data, and with it its label. The
secret lies in the cache folder, which no sandbox can read, so that two runs with the same seed on one machine stay equal. A run
records the secret that it began with, and its later processes go on with that one, on other machines too.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sandbox.isolation import levels
from sandbox.sandbox import TaskError

if TYPE_CHECKING:
    import numpy as np

FILE = "secret"
"""The file in the cache folder."""
KEY = "secret"
"""The key of `[task]` in which a run keeps it."""
_SIZE = 16
"""Bytes."""


@dataclass(frozen=True)
class Secret:
    """Draws orders that nobody can foresee who does not have its text."""

    text: str
    """Hexadecimal digits."""

    @classmethod
    def of(cls, kept: object, cache: Path) -> Secret:
        """The secret that a run has kept; for a new run (None), that of the cache folder, which is drawn if it has none.

        Raises TaskError for a text of another form, OSError if the folder cannot be read or written.
        """
        if kept is None:
            return cls(_of_folder(cache))
        if not isinstance(kept, str) or not re.fullmatch(r"[0-9a-f]{32,128}", kept):
            raise TaskError(f"task.{KEY} is drawn for a run and kept by it: leave it out.")
        return cls(kept)

    @property
    def fingerprint(self) -> str:
        """Eight digits that tell two secrets apart and tell nothing of either."""
        return self._digest("fingerprint")[:4].hex()

    def permutation(self, count: int, *about: str | bytes) -> np.ndarray:
        """Return a random order of `count` rows, int64 (count,): the same for the same secret and the same `about`."""
        found: np.ndarray = self.generator(*about).permutation(count)
        return found

    def generator(self, *about: str | bytes) -> Any:
        """Return a `numpy.random.Generator` for this purpose."""
        import numpy as np

        return np.random.default_rng(int.from_bytes(self._digest(*about), "little"))

    def _digest(self, *about: str | bytes) -> bytes:
        parts = [part.encode() if isinstance(part, str) else part for part in about]
        message = b"".join(len(part).to_bytes(8, "little") + part for part in parts)
        return hmac.digest(bytes.fromhex(self.text), message, hashlib.sha256)


def _of_folder(cache: Path) -> str:
    path = cache / FILE
    with suppress(FileNotFoundError):
        return _read(path)
    cache.mkdir(parents=True, exist_ok=True)
    levels.conceal(cache)
    with tempfile.NamedTemporaryFile("w", dir=cache, prefix=f".{FILE}-") as file:  # only its owner may read it
        file.write(os.urandom(_SIZE).hex())
        file.flush()
        with suppress(FileExistsError):  # another process was faster
            os.link(file.name, path)
    return _read(path)


def _read(path: Path) -> str:
    text = path.read_text(encoding="ascii", errors="replace").strip()
    if not re.fullmatch(r"[0-9a-f]{32,128}", text):
        raise TaskError(f"{path} is damaged: remove it, so that another one is drawn.")
    levels.conceal(path.parent)
    return text

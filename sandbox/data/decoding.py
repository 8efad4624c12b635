"""Decodes image files to uint8 arrays, in several threads and in bounded memory."""

from __future__ import annotations

import io
import itertools
import os
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from sandbox.sandbox import TaskError

if TYPE_CHECKING:
    import numpy as np

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "PPM")
"""The formats that are decoded; an image in any other format counts as corrupt."""
SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm"})
MAX_PIXELS = 64_000_000
"""Largest number of pixels before resizing: a larger image is a mistake, or an attempt to fill the memory."""
CHUNK = 64
"""Images that one thread decodes at a time."""
_GREY = frozenset({"1", "L", "LA", "I", "F", "I;16", "I;16B", "I;16L", "I;16N"})

Raw = tuple[str, Any]
"""The place of an image, for messages, and its encoded bytes, or its pixels as uint8 (C, H, W)."""


class Corrupt(Exception):
    """An image cannot be decoded. The message names the image and the reason."""


def shape_of(raw: Raw) -> tuple[int, int, int]:
    """Return (channels, height, width), from the header alone if possible. Raises Corrupt."""
    where, data = raw
    if not isinstance(data, bytes | bytearray | memoryview):
        return tuple(data.shape)
    with _open_image(where, data) as image:
        return _channels(image), image.height, image.width


def common_shape(sample: Iterable[Raw]) -> tuple[int, int, int]:
    """Return (channels, height, width): the most common size, in colour if any image is. Skips images that cannot be read.

    Raises TaskError if none can be read.
    """
    sizes: Counter[tuple[int, int]] = Counter()
    channels = 1
    reason: Corrupt | None = None
    for raw in sample:
        try:
            depth, height, width = shape_of(raw)
        except Corrupt as error:
            reason = reason or error
            continue
        sizes[height, width] += 1
        channels = max(channels, depth)
    if not sizes:
        raise TaskError(f"task.dataset: no image can be decoded; the first is {reason}.")
    height, width = max(sizes, key=lambda size: (sizes[size], size))
    return channels, height, width


def decode(raw: Raw, channels: int, height: int, width: int) -> tuple[np.ndarray, bool]:
    """Decode to uint8 (channels, height, width), bilinearly resized; also whether it was resized. Raises Corrupt."""
    import numpy as np

    where, data = raw
    if not isinstance(data, bytes | bytearray | memoryview):
        if data.shape == (channels, height, width):
            return np.asarray(data), False
        data = _as_file(data)
    from PIL import Image

    with _open_image(where, data) as image:
        resized = image.size != (width, height)
        try:
            shown: Any = image
            if image.mode.startswith("I;16"):  # Pillow would cut such values off at 255
                shown = Image.fromarray((np.asarray(image, dtype="uint16") >> 8).astype("uint8"))
            shown = shown.convert("L" if channels == 1 else "RGB")
            if resized:
                shown = shown.resize((width, height), Image.Resampling.BILINEAR)
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            raise Corrupt(f"{where}: {error}") from None
        pixels = np.asarray(shown, dtype="uint8")
    return (pixels[None] if channels == 1 else pixels.transpose(2, 0, 1)), resized


def in_threads(images: Iterable[Raw], work: Callable[[Raw], Any]) -> Iterator[Any]:
    """Yield the result of `work`, or the Corrupt that it raised, for each image in order; few images are in memory at a time."""

    def chunk(raws: list[Raw]) -> list[Any]:
        done: list[Any] = []
        for raw in raws:
            try:
                done.append(work(raw))
            except Corrupt as error:
                done.append(error)
        return done

    threads = min(16, len(os.sched_getaffinity(0)))
    pending: deque[Future[list[Any]]] = deque()
    source = iter(images)
    with ThreadPoolExecutor(threads, thread_name_prefix="decoding") as pool:
        while raws := list(itertools.islice(source, CHUNK)):
            pending.append(pool.submit(chunk, raws))
            if len(pending) > 2 * threads:
                yield from pending.popleft().result()
        while pending:
            yield from pending.popleft().result()


def _as_file(pixels: np.ndarray) -> bytes:
    """Encode uint8 (C, H, W) as an image file, to be converted like any other."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(pixels[0] if len(pixels) == 1 else pixels.transpose(1, 2, 0)).save(buffer, "PNG")
    return buffer.getvalue()


def _open_image(where: str, data: Any) -> Any:
    from PIL import Image, UnidentifiedImageError

    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
    except UnidentifiedImageError:
        raise Corrupt(f"{where}: not an image of a known format ({len(data):,} bytes)") from None
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise Corrupt(f"{where}: {error}") from None
    if image.width * image.height > MAX_PIXELS:
        raise Corrupt(f"{where}: {image.width} x {image.height} pixels are more than {MAX_PIXELS:,}")
    return image


def _channels(image: Any) -> int:
    if image.mode == "P":  # a palette may hold greys alone
        colours = image.getpalette() or []
        return 1 if colours[0::3] == colours[1::3] == colours[2::3] else 3
    return 1 if image.mode in _GREY else 3

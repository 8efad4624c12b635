"""Bodies of HTTP answers are read up to a limit, whatever they unpack to: 400 KiB of gzip can hold gigabytes."""

from __future__ import annotations

import zlib
from collections.abc import AsyncIterator
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import httpx

MOST_BYTES = 8 << 20
"""Of a body, as it is sent and as it unpacks; the longest answers of models have less than a tenth of it."""
_PIECE = 1 << 16
_CODINGS = "gzip, deflate"


async def ask_for_known_codings(request: httpx.Request) -> None:
    """Let the server pack its answer only in ways that can be unpacked bit by bit. A hook of httpx for requests."""
    request.headers["Accept-Encoding"] = _CODINGS


async def cap(response: httpx.Response) -> None:
    """Have the body read up to `MOST_BYTES`, and unpacked on the way. A hook of httpx for responses, before the body is read.

    Reading raises httpx.DecodingError for a longer body, and for one that is packed otherwise or several times over.
    """
    kind = _capped_stream()
    if not isinstance(response.stream, kind):
        codings = [word.strip().lower() for word in response.headers.get("content-encoding", "").split(",")]
        response.stream = kind(response.stream, [word for word in codings if word not in ("", "identity")])
        response.headers.pop("content-encoding", None)
        response.headers.pop("content-length", None)


def cap_transport(kind: Any) -> None:
    """The same for every client over this class of transports, which a library makes itself. Does it once."""
    send = kind.handle_async_request
    if hasattr(send, "is_capped"):
        return

    async def handle_async_request(self: Any, request: httpx.Request) -> httpx.Response:
        await ask_for_known_codings(request)
        response: httpx.Response = await send(self, request)
        await cap(response)
        return response

    handle_async_request.is_capped = True  # type: ignore[attr-defined]
    kind.handle_async_request = handle_async_request


@cache
def _capped_stream() -> Any:
    """The class of the unpacked body of a stream. Made when it is first needed, since importing httpx takes time."""
    import httpx

    class Capped(httpx.AsyncByteStream):
        def __init__(self, stream: httpx.AsyncByteStream, codings: list[str]) -> None:
            self._stream, self._codings = stream, codings

        async def __aiter__(self) -> AsyncIterator[bytes]:
            if len(self._codings) > 1 or self._codings[:1] not in ([], ["gzip"], ["x-gzip"], ["deflate"]):
                raise httpx.DecodingError(f"the body is packed as {', '.join(self._codings)[:60]}, not as {_CODINGS}")
            unpack = _Unpacked(self._codings[0]) if self._codings else None
            sent = given = 0
            async for data in self._stream:
                sent += len(data)
                for piece in unpack.pieces(data) if unpack else (data,):
                    given += len(piece)
                    if max(sent, given) > MOST_BYTES:
                        raise httpx.DecodingError(f"the body has more than {MOST_BYTES >> 20} MiB")
                    yield piece

        async def aclose(self) -> None:
            await self._stream.aclose()

    return Capped


class _Unpacked:
    """Unpacks one coding, in pieces of at most `_PIECE` bytes."""

    def __init__(self, coding: str) -> None:
        self._is_deflate, self._decoder = coding == "deflate", zlib.decompressobj(47)  # gzip or zlib, by its first bytes

    def pieces(self, data: bytes) -> Any:
        """Raises httpx.DecodingError."""
        first = self._is_deflate
        self._is_deflate = False
        while data and not self._decoder.eof:
            try:
                piece = self._decoder.decompress(data, _PIECE)
            except zlib.error as error:
                if not first:
                    import httpx

                    raise httpx.DecodingError(f"the body cannot be unpacked: {error}") from None
                first, self._decoder = False, zlib.decompressobj(-15)  # some servers leave the header of zlib out
                continue
            data = self._decoder.unconsumed_tail
            yield piece

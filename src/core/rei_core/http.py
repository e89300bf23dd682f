"""What the clients of foreign HTTP services have in common: bounded reading, and no trust in types.

A foreign answer takes the memory of its bound and no more, whatever it claims to be. So it is
unpacked here, a bounded piece at a time: httpx unpacks whatever has come at once, in as many layers
as the answer names, and then a kilobyte on the wire is gigabytes in the process.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator
from typing import Any, Final

import httpx

from rei_core.addresses import LOOKS_LIKE, is_web_address
from rei_core.errors import ConfigurationError

Json = dict[str, Any]

ACCEPT_ENCODING: Final = "gzip"
"""What `read_body` can unpack: to be asked for by every client that reads with it."""
NODES_MAX: Final = 200_000
"""Of one JSON answer. An empty list takes three bytes on the wire and seventy in the process; a page
of a hundred payments has some thousands, and a picture is one node, however large."""
PIECE_BYTES_MAX: Final = 256 * 1024
"""Unpacked at a time: a kilobyte on the wire may be a megabyte."""
_GZIP: Final = 16 + zlib.MAX_WBITS


def checked_url(base_url: str, *, setting: str) -> str:
    """The address without a slash at its end; raises `ConfigurationError` for what is none."""
    if not is_web_address(base_url):
        raise ConfigurationError(setting, "is no address", LOOKS_LIKE)
    return base_url.rstrip("/")


async def read_body(response: httpx.Response, *, bytes_max: int) -> tuple[bytearray, bool]:
    """(the body of a streamed answer, unpacked, up to `bytes_max`; whether that is all of it)

    Raises `httpx.DecodingError` for a compression that was not asked for, is broken or ends early.
    """
    gzip = _gzip_of(response.headers.get("content-encoding", ""))
    body = bytearray()
    assert isinstance(response.stream, httpx.AsyncByteStream)
    async for chunk in response.stream:  # as it came over the wire
        for piece in gzip.unpack(chunk) if gzip else (chunk,):
            body += piece
            if len(body) > bytes_max:
                del body[bytes_max:]  # no second copy
                return body, False
    if gzip is not None and not gzip.ended:
        raise httpx.DecodingError("the compressed answer ends early")
    return body, True


class _Gzip:
    """Unpacks gzip, no more of it than is asked for."""

    def __init__(self) -> None:
        self._zlib = zlib.decompressobj(_GZIP)
        self._begun = False

    def unpack(self, chunk: bytes) -> Iterator[bytes]:
        """What the chunk holds, in pieces of `PIECE_BYTES_MAX` at the most."""
        self._begun = self._begun or chunk != b""
        full = True
        while chunk or full:
            try:
                piece = self._zlib.decompress(chunk, PIECE_BYTES_MAX)
            except zlib.error as error:
                raise httpx.DecodingError("the compression is broken") from error
            if self._zlib.unused_data:  # zlib would go on collecting it
                raise httpx.DecodingError("the compressed answer goes on behind its end")
            yield piece
            chunk, full = self._zlib.unconsumed_tail, len(piece) == PIECE_BYTES_MAX

    @property
    def ended(self) -> bool:
        return self._zlib.eof or not self._begun


def _gzip_of(encoding: str) -> _Gzip | None:
    """What unpacks an answer of this Content-Encoding; None if it is not packed."""
    match encoding.strip().lower():
        case "" | "identity":
            return None
        case "gzip" | "x-gzip":
            return _Gzip()
    raise httpx.DecodingError("the answer is compressed in a way that was not asked for")


def object_of(body: bytes | bytearray) -> Json | None:
    """The JSON object in a body; None if there is none, or one of more than `NODES_MAX` nodes."""
    # Before each node but the first of a list or an object stands a comma.
    if sum(body.count(mark) for mark in (b",", b"[", b"{")) > NODES_MAX:
        return None
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def dict_of(value: Any) -> Json:
    """The value if it is an object, else an empty one."""
    return value if isinstance(value, dict) else {}


def list_of(value: Any) -> list[Any]:
    """The value if it is a list, else an empty one."""
    return value if isinstance(value, list) else []


def text_of(value: Any) -> str:
    """The value if it is a text, else an empty one."""
    return value if isinstance(value, str) else ""


def without_secret(text: str, secret: str, *, mask: str) -> str:
    """The text with the secret masked, also where the text's end has cut it."""
    masked = text.replace(secret, mask) if secret else text
    for length in range(len(secret) - 1, 3, -1):
        if masked.endswith(secret[:length]):
            return masked[:-length] + mask
    return masked

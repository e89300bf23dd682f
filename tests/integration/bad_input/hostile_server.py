"""A server that answers every request with what no honest one sends: endless, packed, or untrue.

It speaks HTTP by hand: an honest framework would not let it lie. The first two parts of the path
name who calls and what they get: `/{caller}/{answer}/…`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import zlib
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager
from functools import cache
from itertools import chain, repeat

import zstandard

PIECE = b" " * 65_536
GIGABYTE = 1024**3
PIECES = GIGABYTE // len(PIECE)
BODY_BYTES = 60 * 1024 * 1024
"""Of an answer that stays below the largest bound, and does its harm when it is read."""
DRIP_SECONDS = 1.0
START = b"HTTP/1.1 200 OK\r\n"
GZIP_OF_TWO_BYTES = zlib.compress(b"{}", wbits=16 + zlib.MAX_WBITS)


@cache
def _deflated() -> bytes:
    """16 MiB of spaces as one piece of a deflate stream, which may be repeated."""
    made = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    return made.compress(PIECE * 256) + made.flush(zlib.Z_FULL_FLUSH)


def _gzipped(deflated: Iterable[bytes]) -> Iterator[bytes]:
    yield b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"
    yield from deflated


@cache
def _packed_twice() -> bytes:
    """A gigabyte in some kilobytes."""
    return zlib.compress(b"".join(_gzipped([_deflated()] * 64)), 9, wbits=16 + zlib.MAX_WBITS)


@cache
def _zstd() -> bytes:
    made = zstandard.ZstdCompressor(level=1).compressobj()
    return b"".join([*(made.compress(PIECE * 256) for _ in range(64)), made.flush()])


def _head(*lines: str) -> bytes:
    return "\r\n".join(
        ["HTTP/1.1 200 OK", "Content-Type: application/json", *lines, "", ""]
    ).encode()


def _chunked(pieces: Iterable[bytes]) -> Iterator[bytes]:
    yield _head("Transfer-Encoding: chunked")
    for piece in pieces:
        yield f"{len(piece):x}\r\n".encode() + piece + b"\r\n"
    yield b"0\r\n\r\n"


def _plain(body: bytes) -> Iterator[bytes]:
    yield _head(f"Content-Length: {len(body)}")
    for start in range(0, len(body), 2**20):
        yield body[start : start + 2**20]


def _encoded(encoding: str, pieces: Iterable[bytes]) -> Iterator[bytes]:
    return chain([_head(f"Content-Encoding: {encoding}", "Connection: close")], pieces)


# Named, and made when one is asked for.
ANSWERS: dict[str, Callable[[], Iterable[bytes]]] = {
    "a gigabyte": lambda: chain([_head(f"Content-Length: {GIGABYTE}")], repeat(PIECE, PIECES)),
    "a gigabyte in chunks": lambda: _chunked(repeat(PIECE, PIECES)),
    "no end": lambda: chain([_head("Connection: close")], repeat(PIECE)),
    "gzip": lambda: _encoded("gzip", _gzipped(repeat(_deflated(), 64))),
    "gzip in gzip": lambda: _encoded("gzip, gzip", [_packed_twice()]),
    "deflate": lambda: _encoded("deflate", repeat(_deflated(), 64)),
    "zstd": lambda: _encoded("zstd", [_zstd()]),
    "gzip with a tail": lambda: _encoded("gzip", chain([GZIP_OF_TWO_BYTES], repeat(PIECE))),
    "headers without end": lambda: chain([START], repeat(b"X-A: b\r\n" * 8_192)),
    "a header without end": lambda: chain([START, b"X-A: "], repeat(b"b" * 65_536)),
    "more than it said": lambda: chain([_head("Content-Length: 2"), b"{}"], repeat(PIECE, PIECES)),
    "less than it said": lambda: [_head("Content-Length: 1000", "Connection: close"), b"{}"],
    "many nodes": lambda: _plain(b'{"a":[' + b"[]," * (BODY_BYTES // 3) + b"[]]}"),
    "wide characters": lambda: _plain('{"a":"😀'.encode() + b"x" * BODY_BYTES + b'"}'),
}
DRIP = "a byte a second"
GOOD = "good"


@asynccontextmanager
async def hostile() -> AsyncIterator[str]:
    """Serve until the end of the block; the address."""
    server = await asyncio.start_server(_serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


async def _serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError, asyncio.IncompleteReadError):
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        _method, path, _version = head.split("\r\n", 1)[0].split(" ")
        _, caller, name, rest = path.split("/", 3)
        name = name.replace("%20", " ")
        if name == GOOD or (caller == "telegram-file" and rest.endswith("/getFile")):
            where = {
                "ok": True,
                "result": {"file_id": "f", "file_unique_id": "f", "file_path": "f"},
            }
            await _write(writer, _plain(json.dumps(where).encode()))
        elif name == DRIP:
            await _drip(writer)
        else:
            await _write(writer, ANSWERS[name]())
    writer.close()


async def _write(writer: asyncio.StreamWriter, pieces: Iterable[bytes]) -> None:
    for piece in pieces:
        writer.write(piece)
        await writer.drain()


async def _drip(writer: asyncio.StreamWriter) -> None:
    writer.write(_head("Content-Length: 1000"))
    while not writer.is_closing():
        writer.write(b" ")
        await writer.drain()
        await asyncio.sleep(DRIP_SECONDS)

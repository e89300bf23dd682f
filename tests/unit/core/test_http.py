"""Foreign answers are read up to a bound, however they are packed."""

from __future__ import annotations

import itertools
import json
import tracemalloc
import zlib
from collections.abc import AsyncIterator, Iterable

import httpx
import pytest

from rei_core.http import NODES_MAX, object_of, read_body

MIB = 1024 * 1024
GZIP = 16 + zlib.MAX_WBITS


class Wire(httpx.AsyncByteStream):
    """What comes over the wire, and how much of it was taken."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = pieces
        self.taken = 0

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self._pieces:
            self.taken += 1
            yield piece


async def read(
    pieces: Iterable[bytes], *, encoding: str = "", bytes_max: int = MIB
) -> tuple[bytes, bool]:
    headers = {"content-encoding": encoding} if encoding else {}
    response = httpx.Response(200, headers=headers, stream=Wire(pieces))
    body, whole = await read_body(response, bytes_max=bytes_max)
    return bytes(body), whole


def cut(data: bytes, length: int) -> list[bytes]:
    return [data[start : start + length] for start in range(0, len(data), length)]


async def test_an_endless_answer_is_left_at_the_bound() -> None:
    wire = Wire(itertools.repeat(b"x" * 1_000, 1_000))
    body, whole = await read_body(httpx.Response(200, stream=wire), bytes_max=10_500)
    assert (len(body), whole) == (10_500, False)
    assert wire.taken == 11


@pytest.mark.parametrize("length", [1, 7, 100_000])
@pytest.mark.parametrize("encoding", ["gzip", "x-gzip", " GZIP "])
async def test_what_was_packed_comes_out_whole(length: int, encoding: str) -> None:
    data = b"".join(b"%d," % number for number in range(150_000))
    packed = zlib.compress(data, wbits=GZIP)
    assert await read(cut(packed, length), encoding=encoding) == (data, True)


async def test_an_answer_of_just_the_bound_is_whole() -> None:
    data = b"x" * MIB
    assert await read([data]) == (data, True)
    assert await read([zlib.compress(data, wbits=GZIP)], encoding="gzip") == (data, True)


async def test_nothing_is_nothing_however_it_is_said_to_be_packed() -> None:
    assert await read([], encoding="gzip") == (b"", True)


async def test_a_bomb_is_unpacked_up_to_the_bound() -> None:
    bomb = zlib.compress(bytes(200 * MIB), wbits=GZIP)
    tracemalloc.start()
    try:
        body, whole = await read([bomb], encoding="gzip")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (len(body), whole) == (MIB, False)
    assert peak < 4 * MIB


@pytest.mark.parametrize(
    ("encoding", "pieces"),
    [
        ("gzip, gzip", [zlib.compress(zlib.compress(b"{}", wbits=GZIP), wbits=GZIP)]),
        ("deflate", [zlib.compress(b"{}")]),
        ("br", [b"{}"]),
        ("zstd", [b"{}"]),
        ("gzip", [b"{}"]),
        ("gzip", [zlib.compress(b"{}", wbits=GZIP)[:-1]]),
        ("gzip", [zlib.compress(b"{}", wbits=GZIP), b"more"]),
        ("gzip", [zlib.compress(b"{}", wbits=GZIP)[:-1] + b"\x01"]),
    ],
)
async def test_what_was_not_asked_for_is_not_unpacked(encoding: str, pieces: list[bytes]) -> None:
    with pytest.raises(httpx.DecodingError):
        await read(pieces, encoding=encoding)


@pytest.mark.parametrize("value", [[[]], [{}], [0], {"a": 0}])
def test_json_of_too_many_nodes_is_none(value: object) -> None:
    inner = json.dumps(value)[1:-1]
    many = ",".join([inner] * (NODES_MAX + 1))
    body = f"[{many}]" if isinstance(value, list) else f'{{"a":0,{many}}}'
    assert object_of(f'{{"all": {body}}}'.encode()) is None
    assert object_of(f'{{"all": {body[:1]}{inner}{body[-1]}}}'.encode()) is not None

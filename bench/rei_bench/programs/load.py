"""A load of HTTP requests that costs the machine as little as it can.

Each connection sends its next request as soon as the last one is answered: no more are ever on
their way than there are connections. The bodies differ by a number and nothing else.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Iterator
from typing import cast

import uvloop

from rei_bench.programs import config, tell

HEAD_END = b"\r\n\r\n"
LENGTH = b"content-length:"


class Connection(asyncio.Protocol):
    """One connection; `ended` is set when it has sent its last request."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._answer = bytearray()
        self._transport: asyncio.WriteTransport | None = None
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.WriteTransport", transport)  # uvloop's is no subclass

    def send(self) -> None:
        """Send the next request, or end."""
        assert self._transport is not None
        request = self._load.next_request()
        if request is None:
            self._finish()
            self._transport.close()
            return
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._answer += data
        head, found, body = bytes(self._answer).partition(HEAD_END)
        if not found or len(body) < length_of(head):
            return
        self._answer.clear()
        self._load.answered(head)
        self.send()

    def connection_lost(self, error: Exception | None) -> None:
        if not self.ended.done():
            self._load.failed += 1
        self._finish()

    def _finish(self) -> None:
        if not self.ended.done():
            self.ended.set_result(None)


class Load:
    """What is sent, and what came back."""

    def __init__(self, *, path: str, headers: dict[str, str], body: str, first: int) -> None:
        lines = [f"POST {path} HTTP/1.1", "Host: bench", "Content-Type: application/json"]
        self._head = "\r\n".join([*lines, *(f"{name}: {text}" for name, text in headers.items())])
        self._body = body
        self._numbers: Iterator[int] = itertools.count(first)
        self.until = float("inf")
        self.ok = self.failed = 0

    def next_request(self) -> bytes | None:
        if time.perf_counter() >= self.until:
            return None
        body = self._body.replace("{n}", str(next(self._numbers)))
        return f"{self._head}\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()

    def answered(self, head: bytes) -> None:
        if head.startswith(b"HTTP/1.1 200"):
            self.ok += 1
        else:
            self.failed += 1


def length_of(head: bytes) -> int:
    """The length of the body that follows."""
    for line in head.lower().split(b"\r\n"):
        if line.startswith(LENGTH):
            return int(line.removeprefix(LENGTH))
    return 0


async def main() -> None:
    asked = config()
    load = Load(
        path=asked["path"], headers=asked["headers"], body=asked["body"], first=asked["first"]
    )
    loop = asyncio.get_running_loop()
    connections: list[Connection] = []
    for _ in range(asked["connections"]):
        _, connection = await loop.create_connection(
            lambda: Connection(load), "127.0.0.1", asked["port"]
        )
        connections.append(connection)
    started = time.perf_counter()
    load.until = started + asked["seconds"]
    for connection in connections:
        connection.send()
    await asyncio.gather(*(connection.ended for connection in connections))
    tell("done", ok=load.ok, failed=load.failed, seconds=time.perf_counter() - started)


if __name__ == "__main__":
    uvloop.run(main())

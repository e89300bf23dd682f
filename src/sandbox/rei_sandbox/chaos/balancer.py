"""What a Kubernetes Service does for the bots: each new connection goes to the next that is alive."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from typing import Final, Self

CHUNK_BYTES: Final = 64 * 1024


class Balancer:
    """Passes TCP connections on to `targets` (ports on loopback) in turn."""

    def __init__(self, *, port: int, targets: list[int]) -> None:
        self.port = port
        self._targets = targets
        self._turn = itertools.cycle(range(len(targets)))
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            # Cancelled at the end of the run; asyncio's streams would report that as an error.
            with contextlib.suppress(OSError, asyncio.CancelledError):
                await self._serve(reader, writer)
        finally:
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        target = await self._alive()
        if target is None:
            return
        target_reader, target_writer = target
        try:
            pumps = [
                asyncio.create_task(_pump(reader, target_writer)),
                asyncio.create_task(_pump(target_reader, writer)),
            ]
            await _until_one_ends(pumps)
        finally:
            target_writer.transport.abort()

    async def _alive(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        for _ in self._targets:
            port = self._targets[next(self._turn)]
            with contextlib.suppress(OSError):
                return await asyncio.open_connection("127.0.0.1", port)
        return None


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while chunk := await reader.read(CHUNK_BYTES):
        writer.write(chunk)
        await writer.drain()
    # The other side may still be answering: what it has written must arrive.
    await asyncio.sleep(0)


async def _until_one_ends(pumps: list[asyncio.Task[None]]) -> None:
    """One end gone is both ends gone; what the other still had to say nobody can hear."""
    try:
        await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for pump in pumps:
            pump.cancel()
        await asyncio.gather(*pumps, return_exceptions=True)

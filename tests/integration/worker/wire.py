"""A wire to a server that can be cut, go deaf or go dead, as real networks do."""

from __future__ import annotations

import asyncio
import enum
from typing import Self
from urllib.parse import urlsplit, urlunsplit


class State(enum.Enum):
    """What the wire does with what it is given."""

    OPEN = "open"
    CLOSED = "closed"
    """No connection is taken."""
    DEAF = "deaf"
    """What clients say arrives; no answer comes back."""
    DEAD = "dead"
    """Nothing passes either way, and nobody is told."""


class Wire:
    """Takes connections on a port of its own and passes them on to `url`'s server."""

    def __init__(self, url: str) -> None:
        self._parts = urlsplit(url)
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._deaf_at: bytes | None = None
        self.state = State.OPEN

    @property
    def url(self) -> str:
        """The server's URL by way of the wire."""
        assert self._server is not None
        port = self._server.sockets[0].getsockname()[1]
        user = f"{self._parts.username}@" if self._parts.username else ""
        return urlunsplit(self._parts._replace(netloc=f"{user}127.0.0.1:{port}"))

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._take, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        self.cut()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def go_deaf_at(self, said: bytes) -> None:
        """Let a client say these bytes, and swallow the answer and all that come after it."""
        self._deaf_at = said

    def mend(self) -> None:
        """Reset what hangs, and work again."""
        self.state = State.OPEN
        self.cut()

    def cut(self) -> None:
        """Reset every connection that there is."""
        for writer in self._writers:
            writer.transport.abort()

    async def _take(self, client: asyncio.StreamReader, answer: asyncio.StreamWriter) -> None:
        if self.state is State.CLOSED:
            answer.transport.abort()
            return
        server, ask = await asyncio.open_connection(self._parts.hostname, self._parts.port)
        self._writers |= {answer, ask}
        for reader, writer in ((client, ask), (server, answer)):
            task = asyncio.create_task(self._pass(reader, writer, asks=writer is ask))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _pass(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, asks: bool
    ) -> None:
        passes = {State.OPEN, State.DEAF} if asks else {State.OPEN}
        try:
            while data := await reader.read(65_536):
                if asks and self._deaf_at is not None and self._deaf_at in data:
                    self.state, self._deaf_at = State.DEAF, None
                if self.state in passes:
                    writer.write(data)
                    await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.transport.abort()
            self._writers.discard(writer)

"""Rei as a stranger sees it: the bot's real servers, spoken to byte by byte.

The fixtures are those of the bot's own tests; what is new is a client that sends what a well-bred
one cannot: paths that climb, headers twice, bodies that do not come.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from ..bot_conversation.conftest import rei
from ..bot_process.conftest import stage, telegram

__all__ = ["rei", "stage", "telegram"]

ANSWER_SECONDS_MAX = 30.0


class Line:
    """A raw connection to one of our servers."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def send(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def answer(self) -> bytes:
        """Everything that comes until the server hangs up, status line and all."""
        async with asyncio.timeout(ANSWER_SECONDS_MAX):
            return await self._reader.read(1024 * 1024)

    async def hung_up(self) -> bool:
        """Wait for the server to close, saying nothing or not; by a reset where a byte met its close."""
        async with asyncio.timeout(ANSWER_SECONDS_MAX):
            with contextlib.suppress(ConnectionError):
                while await self._reader.read(65536):
                    pass
        return True


@asynccontextmanager
async def line_to(port: int) -> AsyncIterator[Line]:
    """A connection for the length of the block."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield Line(reader, writer)
    finally:
        writer.transport.abort()


async def ask(
    port: int, target: str, *, method: str = "GET", headers: bytes = b"", body: bytes = b""
) -> tuple[int, bytes]:
    """One request exactly as written; the status and all that came with it."""
    head = f"{method} {target} HTTP/1.1\r\nHost: bot.example.com\r\nConnection: close\r\n".encode()
    length = f"Content-Length: {len(body)}\r\n".encode() if body else b""
    async with line_to(port) as line:
        await line.send(head + headers + length + b"\r\n" + body)
        answer = await line.answer()
    return int(answer.split(b" ", 2)[1]), answer

"""The customer's pictures, fetched from Telegram when their job runs; never more than fits.

Telegram keeps a bot's files for a long but undocumented time, so a file may be gone: that is
`InputLost`, and no repeat brings it back. What a customer sends as a file may be anything under the
name of a picture: it is looked at before the provider is called, and told by its own first bytes.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
from aiogram import Bot
from aiogram.exceptions import (
    ClientDecodeError,
    TelegramAPIError,
    TelegramBadRequest,
    TelegramNotFound,
)

from rei_core.errors import ReiError
from rei_core.images.pictures import NotAPicture, recognise
from rei_core.images.port import InputImage
from rei_core.jobs.model import InputRef

FILE_BYTES_MAX = 20 * 1024 * 1024
"""What Telegram lets a bot download."""
TOTAL_BYTES_MAX = 60 * 1024 * 1024
"""Of one job, so that one customer cannot fill a worker's memory."""
HELD_BYTES_MAX = 256 * 1024 * 1024
"""Of all jobs of a process. A call holds its pictures a second time, as base64."""
FETCH_SECONDS_MAX = 60


class Room:
    """How many bytes of pictures this process holds at a time: a thousand jobs with fourteen photos
    each must not end it. Who does not fit waits, in the order of arrival."""

    def __init__(self, bytes_max: int) -> None:
        self._left = self._bytes_max = bytes_max
        self._turn = asyncio.Lock()
        self._given_back = asyncio.Event()

    @asynccontextmanager
    async def take(self, size_bytes: int) -> AsyncIterator[None]:
        """Hold that many bytes, or all there are, inside the block."""
        size_bytes = min(size_bytes, self._bytes_max)
        if size_bytes > 0:
            async with self._turn:
                while self._left < size_bytes:
                    self._given_back.clear()
                    await self._given_back.wait()
                self._left -= size_bytes
        try:
            yield
        finally:
            self._left += size_bytes
            self._given_back.set()


def size_bytes(refs: tuple[InputRef, ...]) -> int:
    """How much the pictures will take; one that Telegram did not measure counts as the largest."""
    sizes = (ref.size_bytes if ref.size_bytes > 0 else FILE_BYTES_MAX for ref in refs)
    return min(sum(sizes), TOTAL_BYTES_MAX)


class InputLost(ReiError):
    """A picture of the order is gone at Telegram, or too big to fetch."""

    def __init__(self, problem: str) -> None:
        self.problem = problem
        super().__init__(f"an input picture cannot be had: {problem}")


class InputUnusable(ReiError):
    """A file of the order is no picture that any model takes."""

    def __init__(self, problem: str) -> None:
        self.problem = problem
        super().__init__(f"an input picture is none: {problem}")


class InputUnreachable(ReiError):
    """Telegram did not answer; another try may succeed. `retry_after_seconds` is its own wish."""

    def __init__(self, problem: str, *, retry_after_seconds: float | None = None) -> None:
        self.problem = problem
        self.retry_after_seconds = retry_after_seconds
        super().__init__(f"Telegram did not give an input picture: {problem}")


async def fetch(bot: Bot, refs: tuple[InputRef, ...]) -> tuple[InputImage, ...]:
    """Download the pictures one by one.

    Raises `InputLost`, `InputUnusable` or `InputUnreachable`.
    """
    images: list[InputImage] = []
    left = TOTAL_BYTES_MAX
    for ref in refs:
        data = await _fetch_one(bot, ref, bytes_max=min(FILE_BYTES_MAX, left))
        left -= len(data)
        images.append(InputImage(mime_type=await _mime_type_of(data), data=data))
    return tuple(images)


async def _mime_type_of(data: bytes) -> str:
    try:
        return await asyncio.to_thread(recognise, data)
    except NotAPicture as error:
        raise InputUnusable(str(error)) from error


async def _fetch_one(bot: Bot, ref: InputRef, *, bytes_max: int) -> bytes:
    try:
        async with asyncio.timeout(FETCH_SECONDS_MAX):
            file = await bot.get_file(ref.file_id)
            if file.file_path is None:
                raise InputLost("Telegram gave no path")
            return await _download(bot, file.file_path, bytes_max=bytes_max)
    except (TelegramBadRequest, TelegramNotFound) as error:
        raise InputLost(type(error).__name__) from error
    except aiohttp.ClientResponseError as error:
        # The URL holds the bot's token: only the status goes into our texts.
        if error.status in {400, 404, 410}:
            raise InputLost(f"HTTP {error.status}") from None
        raise InputUnreachable(f"HTTP {error.status}") from None
    except TelegramAPIError as error:
        wish = getattr(error, "retry_after", None)
        raise InputUnreachable(type(error).__name__, retry_after_seconds=wish) from error
    except (ClientDecodeError, aiohttp.ClientError, OSError, TimeoutError) as error:
        raise InputUnreachable(type(error).__name__) from None


async def _download(bot: Bot, path: str, *, bytes_max: int) -> bytes:
    url = bot.session.api.file_url(bot.token, path)
    data = bytearray()
    stream = bot.session.stream_content(url, timeout=FETCH_SECONDS_MAX, raise_for_status=True)
    async for chunk in stream:
        data += chunk
        if len(data) > bytes_max:
            raise InputLost(f"more than {bytes_max} bytes")
    return bytes(data)

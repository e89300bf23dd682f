"""Waiting for what other processes do: by looking again and again, until a deadline."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Literal, TypeVar

DEADLINE_SECONDS = 90.0
LOOK_SECONDS = 0.1

Found = TypeVar("Found")
Look = Callable[[], Awaitable[Found | Literal[False] | None]]


async def _nothing() -> str:
    return ""


async def until(
    look: Look[Found],
    *,
    what: str,
    seconds: float = DEADLINE_SECONDS,
    why: Callable[[], Awaitable[str]] = _nothing,
) -> Found:
    """What `look` gives, once that is something. At the deadline the test fails, and `why` tells
    how things stand then."""
    deadline = time.monotonic() + seconds
    while True:
        found = await look()
        if found:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"after {seconds:.0f} s still waiting: {what}\n{await why()}")
        await asyncio.sleep(LOOK_SECONDS)

"""What a broken connection looks like: silence, or an end in the middle.

`hang` and `drop` end the connection without an answer; what they return is only for aiohttp's
signature and never reaches the client.
"""

from __future__ import annotations

import asyncio
import time
from typing import Final

from aiohttp import web

STOPPING: Final = web.AppKey("rei_sandbox_stopping", asyncio.Event)
"""Set when the server goes down, so that hanging requests do not keep it up."""

HANG_SECONDS_MAX: Final = 3600.0
_LOOK_SECONDS: Final = 0.1


async def hang(request: web.Request, *, seconds: float = 0) -> web.Response:
    """Say nothing for `seconds` (0: until the client gives up, an hour at most), then drop."""
    until = time.monotonic() + (seconds or HANG_SECONDS_MAX)
    stopping = request.app[STOPPING]
    while time.monotonic() < until and not stopping.is_set():
        if request.transport is None or request.transport.is_closing():
            break
        await asyncio.sleep(_LOOK_SECONDS)
    return drop(request)


def drop(request: web.Request) -> web.Response:
    """Cut the connection."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response(status=500)


def public_url(request: web.Request, configured: str | None) -> str:
    """The address under which the caller's world reaches us, without a slash at its end."""
    return (configured or f"{request.scheme}://{request.host}").rstrip("/")

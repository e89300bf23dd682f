"""The sandbox as one aiohttp application: all stand-ins, the chat page, and the control of them.

Everything lives in memory and is gone with the process. The parts know nothing of each other but
the faults and the record of calls.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from aiohttp import web

from rei_sandbox import control
from rei_sandbox.calls import Calls
from rei_sandbox.chat import routes as chat_routes
from rei_sandbox.control import SANDBOX, Sandbox
from rei_sandbox.faults import Faults
from rei_sandbox.gemini import routes as gemini_routes
from rei_sandbox.settings import SandboxSettings
from rei_sandbox.telegram import routes as telegram_routes
from rei_sandbox.telegram.flood import FloodLimit
from rei_sandbox.telegram.state import TelegramState
from rei_sandbox.wire import STOPPING
from rei_sandbox.yookassa import pay_page
from rei_sandbox.yookassa import routes as yookassa_routes
from rei_sandbox.yookassa.service import YooKassa
from rei_sandbox.yookassa.store import Clock

REQUEST_BYTES_MAX: Final = 64 * 1024 * 1024
"""Fourteen photos in base64 fit; more than that the real services refuse as well."""

SHUTDOWN_SECONDS: Final = 1.0


@dataclass(frozen=True)
class Running:
    """A sandbox that listens at `url`."""

    url: str
    sandbox: Sandbox


def build_app(
    settings: SandboxSettings, *, now: Clock = lambda: datetime.now(UTC)
) -> web.Application:
    """The whole sandbox; `now` is the clock by which payments expire."""
    app = web.Application(client_max_size=REQUEST_BYTES_MAX)
    faults, calls = Faults(), Calls()
    yookassa = YooKassa(settings=settings, faults=faults, calls=calls, now=now)
    telegram = _telegram(settings, faults)
    app[SANDBOX] = Sandbox(settings, faults, calls, yookassa, telegram)
    app[STOPPING] = asyncio.Event()
    app.on_shutdown.append(_stop)
    app.cleanup_ctx.append(_background)
    control.setup(app)
    yookassa_routes.setup(app, yookassa=yookassa)
    pay_page.setup(app, yookassa=yookassa)
    gemini_routes.setup(app, settings=settings, faults=faults, calls=calls)
    telegram_routes.setup(app, faults=faults, calls=calls, state=telegram)
    chat_routes.setup(app, sandbox=app[SANDBOX])
    return app


@contextlib.asynccontextmanager
async def running(
    settings: SandboxSettings, *, now: Clock = lambda: datetime.now(UTC)
) -> AsyncIterator[Running]:
    """Listen while the block runs; port 0 takes a free one. Raises `OSError` if it is taken."""
    app = build_app(settings, now=now)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=SHUTDOWN_SECONDS)
    await runner.setup()
    try:
        site = web.TCPSite(runner, settings.host, settings.port)
        await site.start()
        host, port = runner.addresses[0][:2]
        shown = f"[{host}]" if ":" in str(host) else host
        yield Running(url=f"http://{shown}:{port}", sandbox=app[SANDBOX])
    finally:
        await runner.cleanup()


def _telegram(settings: SandboxSettings, faults: Faults) -> TelegramState:
    messages_max = settings.telegram_messages_max
    flood = FloodLimit(messages=messages_max) if messages_max else None
    return TelegramState(settings.telegram_bot_token, flood=flood, faults=faults)


async def _stop(app: web.Application) -> None:
    app[STOPPING].set()
    await app[SANDBOX].telegram.close()  # long polls would keep the server up


async def _background(app: web.Application) -> AsyncIterator[None]:
    """Notifications, updates, and payments that expire unasked, as long as the server is up."""
    yookassa = app[SANDBOX].yookassa
    await yookassa.notifier.start()
    expiring = asyncio.create_task(yookassa.keep_expiring())
    yield
    expiring.cancel()
    await asyncio.gather(expiring, return_exceptions=True)
    await yookassa.notifier.close()
    await app[SANDBOX].telegram.close()  # again: a webhook may have been set in the last moment

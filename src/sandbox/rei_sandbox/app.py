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
from importlib import import_module
from importlib.util import find_spec
from typing import Final

from aiohttp import web

from rei_sandbox import control
from rei_sandbox.calls import Calls
from rei_sandbox.control import SANDBOX, Sandbox
from rei_sandbox.faults import Faults
from rei_sandbox.gemini import routes as gemini_routes
from rei_sandbox.settings import SandboxSettings
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
    telegram = _add_telegram(app, faults)
    app[SANDBOX] = Sandbox(settings, faults, calls, yookassa, telegram)
    app[STOPPING] = asyncio.Event()
    app.on_shutdown.append(_stop)
    app.cleanup_ctx.append(_background)
    control.setup(app)
    yookassa_routes.setup(app, yookassa=yookassa)
    pay_page.setup(app, yookassa=yookassa)
    gemini_routes.setup(app, settings=settings, faults=faults, calls=calls)
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


def _add_telegram(app: web.Application, faults: Faults) -> object | None:
    """The Bot API and the chat page, if they are installed; their routes go into `app`."""
    if find_spec("rei_sandbox.telegram.routes") is None:
        return None
    state: object = import_module("rei_sandbox.telegram.state").TelegramState()
    import_module("rei_sandbox.telegram.routes").setup(app, faults=faults, state=state)
    if find_spec("rei_sandbox.chat.routes") is not None:
        chat = import_module("rei_sandbox.chat.routes")
        chat.setup(app, telegram=state, faults=faults)
    return state


async def _stop(app: web.Application) -> None:
    app[STOPPING].set()


async def _background(app: web.Application) -> AsyncIterator[None]:
    """Notifications, and payments that expire unasked, as long as the server is up."""
    yookassa = app[SANDBOX].yookassa
    await yookassa.notifier.start()
    expiring = asyncio.create_task(yookassa.keep_expiring())
    yield
    expiring.cancel()
    await asyncio.gather(expiring, return_exceptions=True)
    await yookassa.notifier.close()

"""Rei's way of an update from HTTP to the handler, without PostgreSQL, Redis and Telegram.

The real HTTP server, webhook, gate, update handler, dispatcher with all its routers, middleware and
metrics; PostgreSQL is a stub that answers at once, the limiter lets everybody pass. The handler of
/ping, the first that is asked, does nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import uvloop
from aiogram import Bot
from aiogram.filters import Command
from aiogram.types import Message
from limits import RateLimitItem

from rei_bench.outside import SECRET, TOKEN
from rei_bench.programs import config, tell
from rei_bot.dispatcher import build_dispatcher
from rei_bot.http import WebhookServer
from rei_bot.metrics import Metrics
from rei_bot.services import Services
from rei_bot.throttle import Throttle
from rei_bot.updates import UpdateHandler
from rei_bot.webhooks import UPDATES_AT_ONCE_MAX, Gate, TelegramWebhook
from rei_core import logs
from rei_core.catalog import load_catalog
from rei_core.db import Pool
from rei_core.payments.service import TopUpTerms
from rei_core.rates import SharedLimiter
from rei_core.settings import TELEGRAM_PATH, BotSettings


class StubConnection:
    """Answers what the way of an update asks, at once."""

    async def fetchval(self, query: str, *arguments: Any) -> int:
        del query, arguments
        return 1  # the claim: ours, the first attempt

    async def fetchrow(self, query: str, *arguments: Any) -> dict[str, Any]:
        del query
        return {
            "id": arguments[0],
            "username": "customer",
            "first_name": "Customer",
            "language": "en",
            "model": None,
            "awaiting": None,
            "banned": False,
            "banned_until": None,
            "ban_reason": None,
            "balance_kopecks": 0,
            "active_jobs": 0,
        }

    async def execute(self, query: str, *arguments: Any) -> str:
        del query, arguments
        return "UPDATE 1"


class StubPool:
    """A pool whose connections are never waited for."""

    @asynccontextmanager
    async def acquire(self, *, timeout: float | None = None) -> AsyncIterator[StubConnection]:  # noqa: ASYNC109 - asyncpg's
        del timeout
        yield StubConnection()


class StubLimiter:
    """Lets everybody pass."""

    async def hit(self, limit: RateLimitItem, *identifiers: str) -> bool:
        del limit, identifiers
        return True


async def ping(message: Message) -> None:
    """Nothing."""
    del message


async def main() -> None:
    logs.configure(level="INFO", log_format="json", component="bot")
    settings = BotSettings.model_validate(
        {
            "database_url": "postgresql://none",
            "BOT_TOKEN": TOKEN,
            "YOOKASSA_SHOP_ID": "bench",
            "YOOKASSA_SECRET_KEY": "bench",
        }
    )
    pool, metrics, bot = cast("Pool", StubPool()), Metrics(), Bot(TOKEN)
    services = Services(
        settings=settings,
        pool=pool,
        catalog=load_catalog(),
        payments=cast("Any", None),
        doorbell=cast("Any", None),
        topup_terms=TopUpTerms(return_url="", description=""),
        metrics=metrics,
    )
    dispatcher = build_dispatcher(services)
    dispatcher.message.register(ping, Command("ping"))
    updates = UpdateHandler(
        bot=bot,
        dispatcher=dispatcher,
        services=services,
        throttle=Throttle(cast("SharedLimiter", StubLimiter()), updates_per_minute_max=60),
    )
    webhook = TelegramWebhook(
        bot=bot,
        secret=SECRET,
        handle=updates.handle,
        metrics=metrics,
        gate=Gate(UPDATES_AT_ONCE_MAX),
    )
    server = WebhookServer({TELEGRAM_PATH: webhook.take})
    await server.start("127.0.0.1", config()["port"])
    tell("ready")
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(main())

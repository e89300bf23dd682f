"""`rei bot` from settings to exit code: everything that is opened here is closed here."""

from __future__ import annotations

from contextlib import AsyncExitStack

from aiogram import Bot
from aiogram.client.telegram import TelegramAPIServer
from aiogram.utils.token import TokenValidationError

from rei_bot.doorbell import TaskiqDoorbell
from rei_bot.metrics import Metrics
from rei_bot.process import BotProcess
from rei_bot.registration import webhook_of
from rei_bot.services import Services
from rei_core import log_levels, logs
from rei_core.catalog import load_catalog
from rei_core.db import close_pool, create_pool
from rei_core.db.migrate import require_schema
from rei_core.payments.receipts import receipt_of
from rei_core.payments.service import TopUpTerms
from rei_core.payments.yookassa import YooKassaClient
from rei_core.process import stop_on_signals
from rei_core.rates import SharedLimiter
from rei_core.reach import RedisPing
from rei_core.settings import BotSettings, no_token
from rei_core.texts import Texts
from rei_telegram.session import BoundedSession, OnCall

TELEGRAM_SECONDS_MAX = 10
"""Shorter than a handler may run, so that Telegram being away is seen as that."""
ANSWER_BYTES_MAX = 16 * 1024 * 1024
"""Of Telegram's: a hundred updates, each with the longest text there can be, are some megabytes."""
STATEMENT_SECONDS_MAX = 8.0
"""All of the bot's statements are short. When the server falls silent, a statement and then the
return of its connection wait for this long, and both have to fit into a handler's time."""


async def main(settings: BotSettings) -> None:
    """Run a bot until SIGTERM or SIGINT; a second signal ends it on the spot."""
    logs.configure(level=settings.log_level, log_format=settings.log_format, component="bot")
    if settings.mode == "webhook":
        webhook_of(settings)  # what is wrong with the settings is said before anything is opened
    catalog = load_catalog(settings.catalog_file)
    database_url = settings.database_url.get_secret_value()
    redis_url = settings.redis_url.get_secret_value()
    await require_schema(database_url)
    metrics = Metrics()
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(
            log_levels.followed(settings.log_levels_dir, process="bot", level=settings.log_level)
        )
        pool = await create_pool(
            database_url,
            application="rei-bot",
            size_max=settings.database_pool_size_max,
            command_timeout_seconds=STATEMENT_SECONDS_MAX,
        )
        stack.push_async_callback(close_pool, pool)
        payments = YooKassaClient(
            shop_id=settings.yookassa_shop_id,
            secret_key=settings.yookassa_secret_key.get_secret_value(),
            base_url=settings.yookassa_api_url,
            on_call=metrics.yookassa.called,
        )
        stack.push_async_callback(payments.aclose)
        doorbell = TaskiqDoorbell(redis_url, metrics=metrics)
        stack.push_async_callback(doorbell.aclose)
        limiter = SharedLimiter(redis_url, name="rei-bot")
        stack.push_async_callback(limiter.aclose)
        redis = RedisPing(redis_url)
        stack.push_async_callback(redis.aclose)
        bot = telegram_bot(settings, on_call=metrics.telegram.called)
        stack.push_async_callback(bot.session.close)
        services = Services(
            settings=settings,
            pool=pool,
            catalog=catalog,
            payments=payments,
            doorbell=doorbell,
            topup_terms=topup_terms(settings),
            metrics=metrics,
        )
        process = BotProcess(bot=bot, services=services, limiter=limiter, redis=redis)
        stop_on_signals(process.stop)
        await process.run()


def telegram_bot(settings: BotSettings, *, on_call: OnCall | None = None) -> Bot:
    """aiogram's client for the Bot API that the settings name."""
    api = TelegramAPIServer.from_base(settings.telegram_api_url)
    session = BoundedSession(
        answer_bytes_max=ANSWER_BYTES_MAX, on_call=on_call, api=api, timeout=TELEGRAM_SECONDS_MAX
    )
    try:
        return Bot(settings.bot_token.get_secret_value(), session=session)
    except TokenValidationError:
        raise no_token() from None


def topup_terms(settings: BotSettings) -> TopUpTerms:
    """What payers and the tax office read; both are in Russia."""
    return TopUpTerms(
        return_url=settings.yookassa_return_url,
        description=Texts("ru").plain("Balance top-up"),
        receipt=receipt_of(settings),
    )

"""`rei worker` from settings to exit code: everything that is opened here is closed here."""

from __future__ import annotations

from contextlib import AsyncExitStack

from aiogram import Bot
from aiogram.client.telegram import TelegramAPIServer
from aiogram.utils.token import TokenValidationError

from rei_core import log_levels, logs
from rei_core.catalog import load_catalog
from rei_core.db import close_pool, create_pool
from rei_core.db.migrate import require_schema
from rei_core.images.gemini import GeminiClient
from rei_core.images.pacing import SharedRate
from rei_core.process import stop_on_signals
from rei_core.settings import WorkerSettings, no_token
from rei_telegram.session import OnCall
from rei_worker.metrics import Metrics
from rei_worker.telegram_session import StrictSession
from rei_worker.worker import Worker


async def main(settings: WorkerSettings) -> None:
    """Run a worker until SIGTERM or SIGINT; a second signal ends it on the spot."""
    logs.configure(level=settings.log_level, log_format=settings.log_format, component="worker")
    catalog = load_catalog(settings.catalog_file)
    database_url = settings.database_url.get_secret_value()
    await require_schema(database_url)
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(
            log_levels.followed(settings.log_levels_dir, process="worker", level=settings.log_level)
        )
        pool = await create_pool(
            database_url, application="rei-worker", size_max=settings.database_pool_size_max - 1
        )
        stack.push_async_callback(close_pool, pool)
        lease_pool = await create_pool(database_url, application="rei-worker-leases", size_max=1)
        stack.push_async_callback(close_pool, lease_pool)
        provider = GeminiClient(
            api_key=settings.gemini_api_key.get_secret_value(),
            base_url=settings.gemini_base_url,
            timeout_seconds=settings.gemini_timeout_seconds,
        )
        stack.push_async_callback(provider.aclose)
        metrics = Metrics()
        bot = telegram_bot(settings, on_call=metrics.telegram.called)
        stack.push_async_callback(bot.session.close)
        rate = SharedRate(
            settings.redis_url.get_secret_value(),
            calls_per_minute_max=settings.provider_calls_per_minute_max,
        )
        stack.push_async_callback(rate.aclose)
        worker = Worker(
            settings=settings,
            pool=pool,
            lease_pool=lease_pool,
            bot=bot,
            provider=provider,
            rate=rate,
            catalog=catalog,
            metrics=metrics,
        )
        stop_on_signals(worker.stop)
        await worker.run()


def telegram_bot(settings: WorkerSettings, *, on_call: OnCall | None = None) -> Bot:
    """aiogram's client for the Bot API that the settings name; raises `ConfigurationError`."""
    api = TelegramAPIServer.from_base(settings.telegram_api_url)
    try:
        session = StrictSession(api=api, on_call=on_call)
        return Bot(settings.bot_token.get_secret_value(), session=session)
    except TokenValidationError:
        raise no_token() from None

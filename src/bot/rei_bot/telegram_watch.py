"""Asks Telegram every minute what waits there for the bot.

A bot that Telegram cannot reach gets no updates, and so seems to have nothing to do: only Telegram
knows. And a bot that cannot reach Telegram makes no calls that could fail, unless it asks.
"""

from __future__ import annotations

import asyncio
from typing import Final, NoReturn

import structlog
from aiogram import Bot

from rei_bot.metrics import Metrics

log = structlog.get_logger()

PERIOD_SECONDS: Final = 60.0


async def watch_telegram(bot: Bot, metrics: Metrics) -> NoReturn:
    """Ask until cancelled. A failure is counted as every call is; the last answer stands."""
    while True:
        try:
            told = await bot.get_webhook_info()
        except Exception as error:
            log.info("telegram not asked", error=type(error).__name__)
        else:
            failed = told.last_error_date
            metrics.waiting(
                told.pending_update_count,
                last_error=0.0 if failed is None else failed.timestamp(),
            )
        await asyncio.sleep(PERIOD_SECONDS)

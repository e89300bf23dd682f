"""The bot's process put together, and the order in which it comes up and goes down.

On the way down: not ready and nothing taken at once; handlers that run end within
`DRAIN_SECONDS`; what does not make it is cancelled and released, and comes again to the next
process. The webhook stays: the other pods live on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import structlog
from aiogram import Bot

from rei_bot.backoff import until_done
from rei_bot.dispatcher import build_dispatcher, publish_commands
from rei_bot.http import Handler, WebhookServer
from rei_bot.polling import Poller
from rei_bot.registration import register, webhook_of
from rei_bot.services import Services
from rei_bot.telegram_watch import watch_telegram
from rei_bot.throttle import Throttle
from rei_bot.updates import UpdateHandler
from rei_bot.webhooks import (
    NOTIFICATIONS_AT_ONCE_MAX,
    UPDATES_AT_ONCE_MAX,
    Gate,
    TelegramWebhook,
    YooKassaWebhook,
)
from rei_core.db import answers
from rei_core.errors import ConfigurationError
from rei_core.process import cancel
from rei_core.rates import SharedLimiter
from rei_core.reach import RedisPing, watch
from rei_core.settings import TELEGRAM_PATH
from rei_http.status import StatusServer, turns

log = structlog.get_logger(__name__)

DRAIN_SECONDS = 25.0
"""As long as a handler may take; Kubernetes kills after 30 seconds by default."""
POLL_AGE_SECONDS_MAX = 150.0
"""The longest that a look at Telegram may take, and some."""


class BotProcess:
    """One bot process. The caller owns what it is given, and closes it."""

    def __init__(
        self,
        *,
        bot: Bot,
        services: Services,
        limiter: SharedLimiter,
        redis: RedisPing,
        drain_seconds: float = DRAIN_SECONDS,
    ) -> None:
        """Raises `ConfigurationError` if the settings do not fit the mode."""
        settings = services.settings
        self._settings = settings
        self._bot = bot
        self._pool = services.pool
        self._redis = redis
        self._metrics = services.metrics
        self._drain_seconds = drain_seconds
        self._stop = asyncio.Event()
        self._stop_by = float("inf")
        self._gates = [Gate(UPDATES_AT_ONCE_MAX), Gate(NOTIFICATIONS_AT_ONCE_MAX)]
        dispatcher = build_dispatcher(services)
        self._allowed_updates = dispatcher.resolve_used_update_types()
        self._updates = UpdateHandler(
            bot=bot,
            dispatcher=dispatcher,
            services=services,
            throttle=Throttle(
                limiter, updates_per_minute_max=settings.updates_per_minute_max
            ),
        )  # fmt: skip
        self._webhook = webhook_of(settings) if settings.mode == "webhook" else None
        self._poller = self._make_poller() if self._webhook is None else None
        self._webhooks = self._make_webhooks(services)
        self._status = self._make_status()

    def _make_poller(self) -> Poller:
        return Poller(
            bot=self._bot,
            handle=self._updates.handle,
            allowed_updates=self._allowed_updates,
            metrics=self._metrics,
        )

    def _make_webhooks(self, services: Services) -> WebhookServer:
        handlers: dict[str, Handler] = {
            "/webhook/yookassa": YooKassaWebhook(
                pool=self._pool,
                provider=services.payments,
                metrics=self._metrics,
                gate=self._gates[1],
                check_sender=self._settings.yookassa_check_sender,
                trusted_proxies=self._settings.trusted_proxies,
            ).take
        }
        if self._webhook is not None:
            handlers[TELEGRAM_PATH] = TelegramWebhook(
                bot=self._bot,
                secret=self._webhook.secret,
                handle=self._updates.handle,
                metrics=self._metrics,
                gate=self._gates[0],
            ).take
        return WebhookServer(handlers)

    def _make_status(self) -> StatusServer:
        return StatusServer(
            pool=self._pool,
            exposition=self._metrics.exposition,
            healthy=self._healthy,
            obstacle=lambda: "stopping" if self._stop.is_set() else "",
        )

    def _healthy(self) -> bool:
        if self._poller is None or self._stop.is_set():
            return True
        return turns(self._poller.ticked_at, seconds_max=POLL_AGE_SECONDS_MAX)

    @property
    def port(self) -> int:
        """The port that takes webhooks."""
        return self._webhooks.port

    def stop(self) -> None:
        """Begin to stop; `run` returns when that is done."""
        if not self._stop.is_set():
            self._stop_by = asyncio.get_running_loop().time() + self._drain_seconds
        self._stop.set()
        for gate in self._gates:
            gate.close()

    async def run(self) -> None:
        """Work until `stop`, then let what runs end."""
        await self._listen()
        background = [
            _spawn(self._metrics.watch_loop(), "lag"),
            _spawn(watch(self._database_answers, self._metrics.database.answered), "database"),
            _spawn(watch(self._redis.answers, self._metrics.redis.answered), "redis"),
            _spawn(watch_telegram(self._bot, self._metrics), "telegram"),
            _spawn(until_done("setMyCommands", lambda: publish_commands(self._bot)), "commands"),
        ]
        if self._webhook is not None:
            background.append(_spawn(until_done("setWebhook", self._register), "webhook"))
        log.info("bot started", mode=self._settings.mode, port=self.port)
        try:
            await self._take_updates()
            log.info("bot stopping")
            await self._drain_requests()
        finally:
            self.stop()
            await cancel(*background)
            await self._webhooks.close()
            await self._status.close()
        log.info("bot stopped")

    async def _database_answers(self) -> bool:
        return await answers(self._pool)

    async def _listen(self) -> None:
        await self._webhooks.start(self._settings.host, self._settings.port)
        try:
            await self._status.start(
                self._settings.host, self._settings.metrics_port, setting="REI_METRICS_PORT"
            )
        except ConfigurationError:
            await self._webhooks.close()
            raise

    async def _take_updates(self) -> None:
        if self._poller is None:
            await self._stop.wait()
        else:
            await self._poller.run(self._stop, drain_seconds=self._drain_seconds)

    async def _drain_requests(self) -> None:
        try:
            async with asyncio.timeout_at(self._stop_by):
                for gate in self._gates:
                    await gate.empty()
        except TimeoutError:
            log.warning("requests cut off")

    async def _register(self) -> None:
        assert self._webhook is not None
        await register(
            self._bot, self._pool, self._webhook, allowed_updates=self._allowed_updates
        )  # fmt: skip


def _spawn(work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
    return asyncio.create_task(work, name=name)

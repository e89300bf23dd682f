"""The bot's HTTP servers: webhooks on one port, health and metrics on another.

Two ports, so that no ingress in front of the first can ever show the second to the world: not by
a rule left out, and not by a trick with the path (docs/adr/0006).

Slow clients: a connection that has not sent a whole request in `IDLE_SECONDS_MAX` is closed,
bodies have their own bounds (see `webhooks`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from http import HTTPStatus

import structlog
from aiohttp import web

from rei_bot.metrics import Metrics
from rei_core.db import Pool, answers
from rei_core.errors import ConfigurationError

log = structlog.get_logger(__name__)

TICK_AGE_SECONDS_MAX = 150.0
"""The longest that a look at Telegram may take, and some."""
IDLE_SECONDS_MAX = 30.0
LINGER_SECONDS_MAX = 2.0
CLOSE_SECONDS_MAX = 2.0

Handler = Callable[[web.Request], Awaitable[web.Response]]


class WebhookServer:
    """What the world may reach: the webhooks, and nothing else."""

    def __init__(self, webhooks: dict[str, Handler]) -> None:
        """`webhooks` by path."""
        app = web.Application(middlewares=[_last_resort])
        for path, handler in webhooks.items():
            app.router.add_post(path, handler)
        self._runner = _runner(app)

    async def start(self, host: str, port: int) -> None:
        """Listen; raises `ConfigurationError` if the port cannot be had."""
        await _listen(self._runner, host, port, setting="REI_PORT")

    @property
    def port(self) -> int:
        """The port that is listened on."""
        return int(self._runner.addresses[0][1])

    async def close(self) -> None:
        """Stop listening; requests still being worked on are cancelled after a moment."""
        await self._runner.cleanup()


class StatusServer:
    """`/healthz` (the loops turn), `/readyz` (the database answers, not stopping), `/metrics`."""

    def __init__(
        self,
        *,
        pool: Pool,
        metrics: Metrics,
        stop: asyncio.Event,
        ticked_at: Callable[[], float] | None,
    ) -> None:
        """`ticked_at` tells when polling last looked at Telegram, if it does."""
        self._pool = pool
        self._metrics = metrics
        self._stop = stop
        self._ticked_at = ticked_at
        app = web.Application(middlewares=[_last_resort])
        app.router.add_get("/healthz", self._healthz)
        app.router.add_get("/readyz", self._readyz)
        app.router.add_get("/metrics", self._exposition)
        self._runner = _runner(app)

    async def start(self, host: str, port: int) -> None:
        """Listen; port 0 means no server. Raises `ConfigurationError` if it cannot be had."""
        if port:
            await _listen(self._runner, host, port, setting="REI_METRICS_PORT")

    async def close(self) -> None:
        """Stop listening."""
        await self._runner.cleanup()

    async def _healthz(self, request: web.Request) -> web.Response:
        """A dead database is no reason to restart a bot: only a loop that stands still is."""
        del request
        if self._ticked_at is None or self._stop.is_set():
            return web.Response(text="ok")
        healthy = asyncio.get_running_loop().time() - self._ticked_at() < TICK_AGE_SECONDS_MAX
        return web.Response(text="ok" if healthy else "stuck", status=200 if healthy else 503)

    async def _readyz(self, request: web.Request) -> web.Response:
        del request
        if self._stop.is_set():
            return web.Response(text="stopping", status=503)
        if not await answers(self._pool):
            return web.Response(text="database unreachable", status=503)
        return web.Response(text="ok")

    async def _exposition(self, request: web.Request) -> web.Response:
        del request
        return web.Response(
            body=self._metrics.exposition(self._pool),
            headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"},
        )


def _runner(app: web.Application) -> web.AppRunner:
    return web.AppRunner(
        app,
        access_log=None,
        keepalive_timeout=IDLE_SECONDS_MAX,
        lingering_time=LINGER_SECONDS_MAX,
        shutdown_timeout=CLOSE_SECONDS_MAX,
    )


async def _listen(runner: web.AppRunner, host: str, port: int, *, setting: str) -> None:
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port, reuse_address=True).start()
    except OSError as error:
        await runner.cleanup()
        raise ConfigurationError(
            setting,
            f"cannot listen on {host}:{port} ({error.strerror or error})",
            "Is another process of Rei there? Stop it, or choose another port",
        ) from error


@web.middleware
async def _last_resort(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """What nobody expected is answered 503, so that its sender repeats it."""
    try:
        return await handler(request)
    except web.HTTPException:
        raise
    except Exception:
        log.exception("request failed", path=request.path[:200])
        return web.Response(text="failed", status=HTTPStatus.SERVICE_UNAVAILABLE)

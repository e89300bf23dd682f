"""Health and metrics on a port of their own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from aiohttp import web

from rei_core.db import Pool, answers
from rei_core.errors import ConfigurationError
from rei_worker.metrics import Metrics

TICK_AGE_SECONDS_MAX = 60.0


class StatusServer:
    """`/healthz` (the loops turn), `/readyz` (the database answers, not draining), `/metrics`."""

    def __init__(
        self,
        *,
        pool: Pool,
        metrics: Metrics,
        ticked_at: Callable[[], float],
        stop: asyncio.Event,
        host: str,
        port: int,
    ) -> None:
        self._pool = pool
        self._metrics = metrics
        self._ticked_at = ticked_at
        self._stop = stop
        self._host = host
        self._port = port
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        """Listen; port 0 means no server. Raises `ConfigurationError` if it cannot be had."""
        if self._port == 0:
            return
        app = web.Application()
        app.router.add_get("/healthz", self._healthz)
        app.router.add_get("/readyz", self._readyz)
        app.router.add_get("/metrics", self._exposition)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, self._host, self._port, reuse_address=True).start()
        except OSError as error:
            await self.close()
            raise ConfigurationError(
                "REI_METRICS_PORT",
                f"cannot listen on {self._host}:{self._port} ({error.strerror or error})",
                "Is another process of Rei there? Stop it, choose another port, or 0 for none",
            ) from error

    async def close(self) -> None:
        """Stop listening."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _healthz(self, request: web.Request) -> web.Response:
        """A dead database is no reason to restart a worker: only loops that stand still are."""
        del request
        age = asyncio.get_running_loop().time() - self._ticked_at()
        # While draining the pump stands still on purpose.
        healthy = self._stop.is_set() or age < TICK_AGE_SECONDS_MAX
        return web.Response(text="ok" if healthy else "stuck", status=200 if healthy else 503)

    async def _readyz(self, request: web.Request) -> web.Response:
        del request
        if self._stop.is_set():
            return web.Response(text="draining", status=503)
        if not await answers(self._pool):
            return web.Response(text="database unreachable", status=503)
        return web.Response(text="ok")

    async def _exposition(self, request: web.Request) -> web.Response:
        del request
        return web.Response(
            body=self._metrics.exposition(self._pool),
            headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"},
        )

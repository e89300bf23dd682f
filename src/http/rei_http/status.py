"""Health and metrics, on a port of their own.

Kubernetes asks for both. No answer tells more than that: who comes here has shown no right to know.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from aiohttp import web

from rei_core.db import Pool, answers
from rei_http.listening import listen, runner_of


class StatusServer:
    """`/healthz` (the loops turn), `/readyz` (nothing is in the way), `/metrics`."""

    def __init__(
        self,
        *,
        pool: Pool,
        exposition: Callable[[Pool], bytes],
        healthy: Callable[[], bool],
        obstacle: Callable[[], str],
    ) -> None:
        """`exposition` is the metrics in Prometheus' text format; `obstacle` says in a word or two
        why there is no work for us now, beside the database, or ""."""
        self._pool = pool
        self._exposition = exposition
        self._healthy = healthy
        self._obstacle = obstacle
        app = web.Application()
        app.router.add_get("/healthz", self._healthz)
        app.router.add_get("/readyz", self._readyz)
        app.router.add_get("/metrics", self._metrics)
        self._runner = runner_of(app)

    async def start(self, host: str, port: int, *, setting: str) -> None:
        """Listen; port 0 means no server. Raises `ConfigurationError` if it cannot be had."""
        if port:
            await listen(self._runner, host, port, setting=setting)

    async def close(self) -> None:
        """Stop listening."""
        await self._runner.cleanup()

    async def _healthz(self, request: web.Request) -> web.Response:
        """A dead database is no reason to restart anything: only a loop that stands still is."""
        del request
        healthy = self._healthy()
        return web.Response(text="ok" if healthy else "stuck", status=200 if healthy else 503)

    async def _readyz(self, request: web.Request) -> web.Response:
        del request
        if obstacle := self._obstacle():
            return web.Response(text=obstacle, status=503)
        if not await answers(self._pool):
            return web.Response(text="database unreachable", status=503)
        return web.Response(text="ok")

    async def _metrics(self, request: web.Request) -> web.Response:
        del request
        return web.Response(
            body=self._exposition(self._pool),
            headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"},
        )


def turns(ticked_at: float, *, seconds_max: float) -> bool:
    """Whether a loop that last turned at `ticked_at`, of the event loop's clock, is one that goes on."""
    return asyncio.get_running_loop().time() - ticked_at < seconds_max

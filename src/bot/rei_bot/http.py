"""The bot's port for webhooks.

Health and metrics (`rei_http.status`) are on another, so that no ingress in front of this one can ever
show them to the world: not by a rule left out, and not by a trick with the path (docs/adr/0006).
Bodies have bounds of their own (see `webhooks`).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from http import HTTPStatus

import structlog
from aiohttp import web

from rei_http.listening import listen, runner_of

log = structlog.get_logger(__name__)

Handler = Callable[[web.Request], Awaitable[web.Response]]


class WebhookServer:
    """What the world may reach: the webhooks, and nothing else."""

    def __init__(self, webhooks: dict[str, Handler]) -> None:
        """`webhooks` by path."""
        app = web.Application(middlewares=[_last_resort])
        for path, handler in webhooks.items():
            app.router.add_post(path, handler)
        self._runner = runner_of(app)

    async def start(self, host: str, port: int) -> None:
        """Listen; raises `ConfigurationError` if the port cannot be had."""
        await listen(self._runner, host, port, setting="REI_PORT")

    @property
    def port(self) -> int:
        """The port that is listened on."""
        return int(self._runner.addresses[0][1])

    async def close(self) -> None:
        """Stop listening; requests still being worked on are cancelled after a moment."""
        await self._runner.cleanup()


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

"""How Rei's servers listen.

Slow clients: a connection that has not sent a whole request in `IDLE_SECONDS_MAX` is closed.
"""

from __future__ import annotations

from aiohttp import web

from rei_core.errors import ConfigurationError

IDLE_SECONDS_MAX = 30.0
LINGER_SECONDS_MAX = 2.0
CLOSE_SECONDS_MAX = 2.0


def runner_of(app: web.Application) -> web.AppRunner:
    """A server of `app` that does not listen yet; its `cleanup` cancels requests after a moment."""
    return web.AppRunner(
        app,
        access_log=None,
        keepalive_timeout=IDLE_SECONDS_MAX,
        lingering_time=LINGER_SECONDS_MAX,
        shutdown_timeout=CLOSE_SECONDS_MAX,
    )


async def listen(runner: web.AppRunner, host: str, port: int, *, setting: str) -> None:
    """Listen; raises `ConfigurationError` for `setting` if the port cannot be had."""
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

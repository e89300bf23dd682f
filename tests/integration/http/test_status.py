"""Health, readiness and metrics, as Kubernetes and Prometheus ask for them."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

import asyncpg
import httpx
import pytest

from rei_core.db import Pool
from rei_core.errors import ConfigurationError
from rei_http.status import StatusServer, turns
from rei_sandbox.services import free_port


def server(
    pool: Pool,
    *,
    healthy: Callable[[], bool] = lambda: True,
    obstacle: Callable[[], str] = lambda: "",
) -> StatusServer:
    return StatusServer(
        pool=pool, exposition=lambda _: b"rei 1\n", healthy=healthy, obstacle=obstacle
    )


async def ask(status: StatusServer, path: str) -> tuple[int, str]:
    """Status and text."""
    port = free_port()
    await status.start("127.0.0.1", port, setting="REI_METRICS_PORT")
    try:
        async with httpx.AsyncClient(trust_env=False) as client:
            answer = await client.get(f"http://127.0.0.1:{port}{path}")
            return answer.status_code, answer.text
    finally:
        await status.close()


@pytest.mark.parametrize(
    ("path", "text"), [("/healthz", "ok"), ("/readyz", "ok"), ("/metrics", "rei 1\n")]
)
async def test_all_is_well(pool: Pool, path: str, text: str) -> None:
    assert await ask(server(pool), path) == (200, text)


async def test_what_stands_still_is_unhealthy(pool: Pool) -> None:
    assert await ask(server(pool, healthy=lambda: False), "/healthz") == (503, "stuck")


async def test_what_is_in_the_way_is_said(pool: Pool) -> None:
    draining = server(pool, obstacle=lambda: "draining")
    assert await ask(draining, "/readyz") == (503, "draining")


async def test_without_the_database_it_is_alive_and_not_ready(database_url: str) -> None:
    pool = await asyncpg.create_pool(database_url, min_size=1, max_size=1)
    await pool.close()
    assert await ask(server(pool), "/healthz") == (200, "ok")
    assert await ask(server(pool), "/readyz") == (503, "database unreachable")


async def test_a_port_that_is_taken_is_named_with_a_remedy(pool: Pool) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(ConfigurationError, match=r"REI_OPERATOR_PORT.*choose another port"):
            await server(pool).start("127.0.0.1", port, setting="REI_OPERATOR_PORT")


async def test_port_0_means_that_nobody_listens(pool: Pool) -> None:
    status = server(pool)
    await status.start("127.0.0.1", 0, setting="REI_METRICS_PORT")
    assert status._runner.addresses == []
    await status.close()


async def test_a_loop_turns_until_it_has_stood_still_for_too_long() -> None:
    now = asyncio.get_running_loop().time()
    assert turns(now - 30, seconds_max=60)
    assert not turns(now - 61, seconds_max=60)

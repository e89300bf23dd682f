"""The queries that scale, on a real Prometheus that scrapes real operators."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import asyncpg

from rei_core.jobs import accept_queries, claim_queries
from rei_core.jobs.model import Order
from rei_sandbox.prometheus import Programs, Prometheus

from .process import OperatorProcess
from .stage import Stage

Scraping = Callable[..., Awaitable[Prometheus]]
Query = Callable[[str], str]


async def orders(stage: Stage, *, count: int, claimed: int) -> None:
    """Jobs, of which some are at work."""
    await stage.customer(7, kopecks=1000)
    async with stage.pool.acquire() as connection, connection.transaction():
        for number in range(count):
            order = Order(
                user_id=7, idempotency_key=f"o-{number}", model="m", prompt="a cat",
                aspect_ratio="1:1", image_size="1K", price_kopecks=1, chat_id=7,
            )  # fmt: skip
            await accept_queries.accept(
                connection, order, active_jobs_max=99, attempts_max=2, deadline_seconds=600
            )
        await claim_queries.claim(
            connection, worker="w", lease_seconds=600, limit=claimed, processing_max=99
        )


async def gives(stage: Stage, server: Prometheus, query: str, expected: list[float]) -> None:
    """Wait until the series that a query gives have these values."""

    async def look() -> bool:
        return await server.ask(query) == expected

    await stage.wait(look, what=f"{query!r} gives {expected}")


def address(operator: OperatorProcess) -> str:
    return operator.url.removeprefix("http://")


async def test_what_postgresql_does_not_tell_is_no_number_and_not_zero(
    stage: Stage, postgres_url: str, scraping: Scraping, scaling_query: Query
) -> None:
    await orders(stage, count=1, claimed=0)
    async with stage.operator() as operator:
        await operator.ready()
        server = await scraping(address(operator))
        await gives(stage, server, scaling_query("workers"), [1])
        maintenance = await asyncpg.connect(postgres_url)
        try:
            await maintenance.execute(f"ALTER DATABASE {stage.database} ALLOW_CONNECTIONS false")
            await maintenance.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = $1 AND application_name = 'rei-operator'",
                stage.database,
            )
            await gives(stage, server, scaling_query("workers"), [])
            await gives(stage, server, "up", [1])
            await maintenance.execute(f"ALTER DATABASE {stage.database} ALLOW_CONNECTIONS true")
        finally:
            await maintenance.close()
        await gives(stage, server, scaling_query("workers"), [1])


async def test_promtool_finds_nothing_wrong_with_what_the_operator_tells(
    stage: Stage, prometheus_programs: Programs
) -> None:
    async with stage.operator() as operator:
        await operator.ready()
        exposition = await operator.metrics()
    promtool = await asyncio.create_subprocess_exec(
        prometheus_programs.promtool, "check", "metrics",
        stdin=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    _, said = await promtool.communicate(exposition.encode())
    assert (promtool.returncode, said.decode()) == (0, "")

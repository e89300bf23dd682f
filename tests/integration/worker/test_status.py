"""Health, readiness and metrics, over HTTP."""

from __future__ import annotations

import asyncio

import aiohttp
import pytest

from rei_core.db import close_pool, create_pool
from rei_core.errors import ConfigurationError
from rei_sandbox.services import free_port

from .conftest import Studio, until
from .wire import State, Wire

TICK_AGE_SECONDS_MAX = "rei_worker.worker.TICK_AGE_SECONDS_MAX"


async def get(port: int, path: str) -> tuple[int, str]:
    """Status and text; (0, "") as long as nobody listens."""
    try:
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"http://127.0.0.1:{port}/{path}") as answer,
        ):
            return answer.status, await answer.text()
    except aiohttp.ClientConnectorError:
        return 0, ""


async def until_answer(port: int, path: str, status: int, text: str) -> None:
    async def answered() -> bool:
        return await get(port, path) == (status, text)

    await until(answered, seconds=40)


async def test_health_and_metrics_are_served(studio: Studio) -> None:
    port = free_port()
    await studio.customer()
    async with studio.working(metrics_port=port):
        await studio.order()
        await studio.until_delivered()
        assert await get(port, "healthz") == (200, "ok")
        assert await get(port, "readyz") == (200, "ok")
        _, text = await get(port, "metrics")
    assert 'rei_worker_jobs_total{end="completed"} 1.0' in text
    assert 'rei_worker_deliveries_total{kind="result",outcome="delivered"} 1.0' in text
    assert 'rei_worker_provider_calls_total{failure="none",outcome="ok"} 1.0' in text
    assert "rei_worker_slots 4.0" in text


async def test_without_its_database_it_is_not_ready_and_still_healthy(studio: Studio) -> None:
    port = free_port()
    async with Wire(studio.database_url) as wire:
        pool = await create_pool(wire.url, application="wired", size_max=4)
        async with studio.working(metrics_port=port, pool=pool):
            await until_answer(port, "readyz", 200, "ok")
            wire.state = State.DEAD
            await until_answer(port, "readyz", 503, "database unreachable")
            assert await get(port, "healthz") == (200, "ok")
            wire.mend()
            await until_answer(port, "readyz", 200, "ok")
        await close_pool(pool)


async def test_while_it_drains_it_is_healthy_and_not_ready(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = free_port()
    await studio.customer()
    studio.provider.gate = asyncio.Event()
    worker = studio.worker(metrics_port=port, drain_seconds=20)
    running = asyncio.create_task(worker.run())
    await studio.order()
    await until(lambda: studio.provider.running == 1)
    worker.stop()
    await until_answer(port, "readyz", 503, "draining")
    monkeypatch.setattr(TICK_AGE_SECONDS_MAX, 0.0)  # the pump stands still, on purpose
    assert await get(port, "healthz") == (200, "ok")
    studio.provider.gate.set()
    await asyncio.wait_for(running, 20)


async def test_a_pump_that_stands_still_is_unhealthy(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(TICK_AGE_SECONDS_MAX, 1.0)
    port = free_port()
    async with studio.working(metrics_port=port, poll_seconds=300):
        await until_answer(port, "healthz", 503, "stuck")


async def test_a_port_that_is_taken_is_named_with_a_remedy(studio: Studio) -> None:
    port = free_port()
    async with studio.working(metrics_port=port):
        await until_answer(port, "readyz", 200, "ok")
        with pytest.raises(ConfigurationError, match=r"REI_METRICS_PORT.*choose another port"):
            await studio.worker(metrics_port=port).run()

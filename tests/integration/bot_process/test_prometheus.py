"""The query that scales bots by their customers, on a real Prometheus that scrapes a real bot."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from rei_sandbox.prometheus import Prometheus

from .conftest import Stage, until


async def test_updates_a_second_are_known_from_the_start_and_not_known_without_bots(
    stage: Stage,
    scraping: Callable[..., Awaitable[Prometheus]],
    scaling_query: Callable[[str], str],
) -> None:
    query = scaling_query("bots-updates")
    await stage.customer()
    async with stage.bot() as rei:
        server = await scraping(rei.status.base_url.netloc.decode())

        async def none_yet() -> bool:
            return await server.ask(query) == [0]

        async def some() -> bool:
            assert await rei.post_update(stage.telegram.message("/ping")) == 200
            [rate] = await server.ask(query)
            return rate > 0

        await until(none_yet)
        await until(some)

    async def unknown() -> bool:
        return await server.ask(query) == []

    await until(unknown)

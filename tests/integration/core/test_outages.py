"""Whatever asyncpg raises when a connection is cut, at whichever moment, is known as an outage."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import asyncpg
import pytest
from sqlalchemy.engine import make_url

from rei_core.db import Connection, Pool, close_pool, create_pool, is_outage
from rei_core.db.address import address_unquoted
from rei_sandbox.chaos.proxy import Cut, PostgresProxy

ROUNDS = 40
WAIT_SECONDS_MAX = 20
COINS = frozenset({"coins"})


@pytest.fixture
async def proxy(database_url: str, pool: Pool) -> AsyncIterator[PostgresProxy]:
    await pool.execute("CREATE TABLE coins (id bigint GENERATED ALWAYS AS IDENTITY, data text)")
    port = make_url(database_url).port
    assert port is not None
    async with PostgresProxy(upstream_port=port).running() as proxy:
        yield proxy


@pytest.fixture
async def cut_pool(proxy: PostgresProxy, database_url: str) -> AsyncIterator[Pool]:
    """A pool whose connections go through the proxy."""
    url = make_url(database_url).set(host="127.0.0.1", port=proxy.port)
    opened = await create_pool(
        url.render_as_string(hide_password=False), application="cut", size_max=4
    )
    yield opened
    await close_pool(opened)


async def one(connection: Connection) -> None:
    await connection.execute("INSERT INTO coins (data) VALUES ($1)", "x")


async def transaction(connection: Connection) -> None:
    async with connection.transaction():
        await one(connection)
        async with connection.transaction():
            await connection.fetchval("SELECT count(*) FROM coins")
        await one(connection)


async def long_answer(connection: Connection) -> None:
    await connection.fetch("SELECT repeat('x', 1000) FROM generate_series(1, 2000)")


async def cursor(connection: Connection) -> None:
    async with connection.transaction():
        async for _ in connection.cursor("SELECT generate_series(1, 300)", prefetch=20):
            pass


WORK: list[Callable[[Connection], Awaitable[None]]] = [one, transaction, long_answer, cursor]


async def worked(pool: Pool, work: Callable[[Connection], Awaitable[None]]) -> Exception | None:
    """What came of doing it, through acquire and release."""
    try:
        async with asyncio.timeout(WAIT_SECONDS_MAX):
            async with pool.acquire() as connection:
                await work(connection)
    except Exception as error:
        return error
    return None


@pytest.mark.parametrize("work", WORK, ids=lambda work: work.__name__)
async def test_a_cut_at_any_moment_is_an_outage(
    proxy: PostgresProxy, cut_pool: Pool, work: Callable[[Connection], Awaitable[None]]
) -> None:
    raised: list[Exception] = []
    for turns in range(ROUNDS):
        tasks = [asyncio.create_task(worked(cut_pool, work)) for _ in range(4)]
        for _ in range(turns):  # a little later in every round: each cut meets another moment
            await asyncio.sleep(0)
        proxy.cut_now()
        raised += [error for error in await asyncio.gather(*tasks) if error is not None]
    assert raised
    assert [error for error in raised if not is_outage(error)] == []


@pytest.mark.parametrize("moment", ["lost_answer", "lost_statement"])
async def test_a_cut_around_a_commit_is_an_outage(
    proxy: PostgresProxy, cut_pool: Pool, moment: str
) -> None:
    for work in (one, transaction):
        proxy.order(Cut(moment, COINS))  # type: ignore[arg-type]
        error = await worked(cut_pool, work)
        assert error is not None
        assert is_outage(error)


@pytest.mark.parametrize("work", WORK, ids=lambda work: work.__name__)
async def test_a_server_process_that_is_ended_under_a_statement_is_an_outage(
    pool: Pool, cut_pool: Pool, work: Callable[[Connection], Awaitable[None]]
) -> None:
    raised: list[Exception] = []
    for turns in range(ROUNDS):
        task = asyncio.create_task(worked(cut_pool, work))
        for _ in range(turns):
            await asyncio.sleep(0)
        await pool.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'cut'"
        )
        error = await task
        raised += [] if error is None else [error]
    assert raised
    assert [error for error in raised if not is_outage(error)] == []


@pytest.mark.parametrize(
    "error",
    [
        asyncpg.InternalClientError("got result for unknown protocol state 3"),
        asyncpg.exceptions.ProtocolError("cannot decode"),
        asyncpg.exceptions.OutdatedSchemaCacheError("the schema has changed"),
        asyncpg.InterfaceError("connection is closed"),
        asyncpg.LockNotAvailableError("later"),
        asyncpg.DeadlockDetectedError("again"),
        ConnectionResetError(),
        TimeoutError(),
    ],
)
def test_what_may_pass(error: Exception) -> None:
    assert is_outage(error)


@pytest.mark.parametrize(
    "error",
    [
        asyncpg.CheckViolationError("balance"),
        asyncpg.DataError("invalid input for query argument $1"),
        asyncpg.exceptions.ClientConfigurationError("invalid address"),
        asyncpg.UndefinedColumnError("x"),
        ValueError("x"),
    ],
)
def test_what_stays(error: Exception) -> None:
    assert not is_outage(error)


async def test_a_value_that_cannot_be_sent_is_no_outage(pool: Pool) -> None:
    with pytest.raises(asyncpg.DataError) as refused:
        await pool.fetchval("SELECT $1::int", "x")
    assert not is_outage(refused.value)


def test_an_address_that_is_none_is_told_by_another_error() -> None:
    from rei_core.errors import ConfigurationError

    with pytest.raises(ConfigurationError), address_unquoted():
        raise asyncpg.exceptions.ClientConfigurationError("postgresql://rei:geheim@host")

"""The proxy's cuts, seen from both sides: what asyncpg sees, and what PostgreSQL has."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest
from sqlalchemy.engine import make_url

from rei_core.db import Pool
from rei_sandbox.chaos.proxy import HELD_BYTES_MAX, Cut, PostgresProxy

DEAD = (asyncpg.PostgresConnectionError, asyncpg.InterfaceError, OSError)
CREATE = "CREATE TABLE coins (id int PRIMARY KEY, data bytea)"
INSERT = "INSERT INTO coins (id) VALUES ($1)"
ASLEEP = "SELECT 1 FROM pg_stat_activity WHERE pid = $1 AND wait_event = 'PgSleep'"
COINS = frozenset({"coins"})


@pytest.fixture
async def proxy(database_url: str, pool: Pool) -> AsyncIterator[PostgresProxy]:
    await pool.execute(CREATE)
    port = make_url(database_url).port
    assert port is not None
    async with PostgresProxy(upstream_port=port).running() as proxy:
        yield proxy


@pytest.fixture
async def client(
    proxy: PostgresProxy, database_url: str
) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    connection = await connect(proxy, database_url)
    yield connection
    connection.terminate()


async def connect(
    proxy: PostgresProxy, database_url: str
) -> asyncpg.Connection[asyncpg.Record]:  # fmt: skip
    url = make_url(database_url).set(host="127.0.0.1", port=proxy.port)
    return await asyncpg.connect(url.render_as_string(hide_password=False), timeout=10)


async def coins(pool: Pool) -> list[int]:
    return [row["id"] for row in await pool.fetch("SELECT id FROM coins ORDER BY id")]


async def test_everything_passes_through_with_no_cut_ordered(
    client: asyncpg.Connection[asyncpg.Record], pool: Pool
) -> None:
    picture = b"\x00\xff" * (2 * 1024 * 1024)
    await client.execute("INSERT INTO coins VALUES ($1, $2)", 1, picture)
    assert await client.fetchval("SELECT data FROM coins") == picture
    with pytest.raises(asyncpg.UniqueViolationError):
        await client.execute(INSERT, 1)
    async with client.transaction():
        await client.execute(INSERT, 2)
    assert await coins(pool) == [1, 2]


async def test_an_implicit_commit_happened_and_its_client_saw_a_dead_connection(
    proxy: PostgresProxy, client: asyncpg.Connection[asyncpg.Record], pool: Pool
) -> None:
    proxy.order(Cut("lost_answer", COINS))
    with pytest.raises(DEAD):
        await client.execute(INSERT, 1)
    assert client.is_closed()
    assert await coins(pool) == [1]
    assert proxy.made == {"lost_answer": 1}
    assert proxy.waiting == 0


async def test_an_explicit_commit_happened_and_its_client_saw_a_dead_connection(
    proxy: PostgresProxy, client: asyncpg.Connection[asyncpg.Record], pool: Pool
) -> None:
    proxy.order(Cut("lost_answer", COINS))
    transaction = client.transaction()
    await transaction.start()
    await client.execute(INSERT, 1)
    await client.fetchval("SELECT count(*) FROM coins")
    with pytest.raises(DEAD):
        await transaction.commit()
    assert await coins(pool) == [1]
    assert proxy.made == {"lost_answer": 1}


async def test_a_statement_that_was_lost_on_its_way_changed_nothing(
    proxy: PostgresProxy, client: asyncpg.Connection[asyncpg.Record], pool: Pool
) -> None:
    proxy.order(Cut("lost_statement", COINS))
    with pytest.raises(DEAD):
        await client.execute(INSERT, 1)
    # The server has to notice that its client is gone; until then the row is only locked.
    await pool.execute(INSERT, 1)
    assert await coins(pool) == [1]
    assert proxy.made == {"lost_statement": 1}


async def test_a_commit_that_was_lost_on_its_way_is_rolled_back(
    proxy: PostgresProxy, client: asyncpg.Connection[asyncpg.Record], pool: Pool
) -> None:
    proxy.order(Cut("lost_statement", COINS))
    with pytest.raises(DEAD):
        async with client.transaction():
            await client.execute(INSERT, 1)
    await pool.execute(INSERT, 1)
    assert await coins(pool) == [1]


async def test_only_a_transaction_that_writes_to_the_named_tables_is_cut(
    proxy: PostgresProxy, client: asyncpg.Connection[asyncpg.Record], pool: Pool
) -> None:
    await client.execute("CREATE TABLE notes (id int)")
    proxy.order(Cut("lost_answer", COINS))
    await client.execute("INSERT INTO notes VALUES (1)")
    await client.fetch("SELECT * FROM coins")
    assert proxy.waiting == 1
    with pytest.raises(DEAD):
        await client.execute("UPDATE coins SET id = id")
    assert await coins(pool) == []


async def test_what_failed_or_was_rolled_back_is_no_commit_and_the_cut_waits_on(
    proxy: PostgresProxy, client: asyncpg.Connection[asyncpg.Record], pool: Pool
) -> None:
    await pool.execute(INSERT, 1)
    proxy.order(Cut("lost_answer", COINS))
    with pytest.raises(asyncpg.UniqueViolationError):
        await client.execute(INSERT, 1)
    with pytest.raises(asyncpg.UniqueViolationError):
        async with client.transaction():
            await client.execute(INSERT, 1)
    assert await client.fetchval("SELECT 7") == 7
    assert proxy.made == {}
    assert proxy.waiting == 1
    with pytest.raises(DEAD):
        await client.execute(INSERT, 2)
    assert await coins(pool) == [1, 2]


async def test_an_answer_too_long_to_hold_is_passed_on_and_the_cut_waits_on(
    proxy: PostgresProxy, client: asyncpg.Connection[asyncpg.Record], pool: Pool
) -> None:
    proxy.order(Cut("lost_answer", COINS))
    size = 2 * HELD_BYTES_MAX
    returned = await client.fetchval(
        "INSERT INTO coins VALUES (1, $1) RETURNING data", b"x" * size
    )  # fmt: skip
    assert len(returned) == size
    assert proxy.waiting == 1
    assert await coins(pool) == [1]


async def test_many_clients_at_once_are_cut_as_often_as_ordered(
    proxy: PostgresProxy, database_url: str, pool: Pool
) -> None:
    for moment in ("lost_answer", "lost_statement") * 5:
        proxy.order(Cut(moment, COINS))

    async def spend(number: int) -> bool:
        connection = await connect(proxy, database_url)
        try:
            await connection.execute(INSERT, number)
        except DEAD:
            return False
        else:
            return True
        finally:
            connection.terminate()

    heard = await asyncio.gather(*(spend(number) for number in range(20)))
    assert heard.count(False) == 10
    # Those that heard of it are there, and five more that did not.
    there = set(await coins(pool))
    assert {number for number, ok in enumerate(heard) if ok} < there
    assert len(there) == 15


async def test_a_network_that_breaks_cuts_everybody(
    proxy: PostgresProxy, client: asyncpg.Connection[asyncpg.Record], pool: Pool
) -> None:
    waiting = asyncio.ensure_future(client.fetchval("SELECT pg_sleep(60)"))
    async with asyncio.timeout(10):
        while not await pool.fetchval(ASLEEP, client.get_server_pid()):  # noqa: ASYNC110 - no event
            await asyncio.sleep(0.01)
    assert proxy.cut_now() == 1
    with pytest.raises(DEAD):
        await waiting


async def test_with_the_server_away_a_client_is_told_at_once(database_url: str) -> None:
    async with PostgresProxy(upstream_port=1).running() as proxy:
        with pytest.raises(DEAD):
            await connect(proxy, database_url)

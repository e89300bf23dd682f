"""kill -9 of the embedded PostgreSQL: all of it is gone, and the next start finds what was there."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest

from rei_sandbox.services import Postgres

CLIENTS = 12
ROUNDS = 5


@pytest.fixture
async def postgres(stage_folder: Path) -> AsyncIterator[Postgres]:
    server = Postgres(stage_folder)
    await asyncio.to_thread(server.start)
    yield server
    await asyncio.to_thread(server.stop)


def runs(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


async def test_no_backend_outlives_a_kill_and_what_was_committed_is_there_again(
    postgres: Postgres,
) -> None:
    first = await asyncpg.connect(postgres.url())
    await first.execute("CREATE TABLE coins (round int)")
    await first.close()
    for number in range(ROUNDS):
        clients = [await asyncpg.connect(postgres.url()) for _ in range(CLIENTS)]
        await clients[0].execute("INSERT INTO coins VALUES ($1)", number)
        rows = await clients[0].fetch("SELECT pid FROM pg_stat_activity")
        backends = {row["pid"] for row in rows}
        assert len(backends) > CLIENTS
        assert all(runs(pid) for pid in backends)
        postgres.kill()
        assert not [pid for pid in backends if runs(pid)]
        await asyncio.to_thread(postgres.start)
        for client in clients:
            client.terminate()
    last = await asyncpg.connect(postgres.url())
    rounds = [row["round"] for row in await last.fetch("SELECT round FROM coins ORDER BY round")]
    await last.close()
    assert rounds == list(range(ROUNDS))


async def test_a_server_that_is_gone_can_be_killed_again(postgres: Postgres) -> None:
    postgres.kill()
    postgres.kill()
    await asyncio.to_thread(postgres.start)
    connection = await asyncpg.connect(postgres.url())
    assert await connection.fetchval("SELECT 1") == 1
    await connection.close()

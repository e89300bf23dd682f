"""The servers that all contenders share: one PostgreSQL with real fdatasync, one Redis.

Each contender gets a database of its own, copied anew from a template for each round, so that
nobody pays for the rows of those who were there before.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import tempfile
from collections.abc import Iterator
from pathlib import Path

from rei_core.db import create_pool
from rei_core.db.migrate import migrate
from rei_core.errors import ReiError
from rei_core.ledger.audit import audit
from rei_sandbox.services import Postgres, Redis

USERS = 100_000
BALANCE_KOPECKS = 10**12
"""Enough for every order of a run."""

_USERS_SQL = f"""
INSERT INTO users (id, username, first_name, seen_at)
SELECT n, 'user' || n, 'User', now() FROM generate_series(1, {USERS}) AS n;
INSERT INTO balances (user_id, balance_kopecks)
SELECT n, {BALANCE_KOPECKS} FROM generate_series(1, {USERS}) AS n;
INSERT INTO transfers (kind, ref_type, ref_id, user_id, debit_account, credit_account,
                       amount_kopecks, balance_after_kopecks)
SELECT 'adjustment', 'operation', 'bench-' || n, n, 'adjustments', 'user',
       {BALANCE_KOPECKS}, {BALANCE_KOPECKS}
FROM generate_series(1, {USERS}) AS n;
"""


class BenchError(ReiError):
    """A contender did not do what it was measured for: its figure would be worth nothing."""


class Stage:
    """PostgreSQL, Redis, databases and a folder for logs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.postgres = Postgres(folder / "servers")
        self.redis = Redis(folder / "servers" / "redis")
        self._numbers = itertools.count()

    def start(self) -> None:
        self.postgres.start()
        self.redis.start()
        self.postgres.psql("CREATE DATABASE bench_empty")
        asyncio.run(migrate(self.url("bench_empty")))
        self.postgres.psql("CREATE DATABASE bench_users TEMPLATE bench_empty")
        self.postgres.psql(_USERS_SQL, database="bench_users")
        # Not the empty tables: PostgreSQL would believe that they stay so, and plan to read all of a
        # queue that grows by thousands a second. A new shop's tables have no statistics either.
        self.postgres.psql(
            "VACUUM (ANALYZE, FREEZE) users, balances, transfers", database="bench_users"
        )

    def stop(self) -> None:
        self.redis.stop()
        self.postgres.stop()

    def url(self, database: str) -> str:
        return self.postgres.url(database)

    @contextlib.contextmanager
    def database(self, template: str = "bench_users") -> Iterator[str]:
        """A copy of a template, gone afterwards; copying ends with a checkpoint."""
        name = f"bench_{next(self._numbers)}"
        self.postgres.psql(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY = FILE_COPY")
        try:
            yield name
        finally:
            self.postgres.psql(f"DROP DATABASE {name} WITH (FORCE)")

    def number(self, sql: str, *, database: str) -> int:
        """The one integer that a query gives."""
        return int(self.postgres.psql(sql, database=database))

    def flush_redis(self) -> None:
        """Forget what the last contender left in Redis."""
        import redis  # noqa: PLC0415

        with redis.Redis.from_url(self.redis.url) as client:
            client.flushall()

    def audit(self, database: str) -> None:
        """Speed bought with a kopeck is no speed: raises `BenchError` for any violation."""

        async def check() -> None:
            pool = await create_pool(
                self.url(database), application="bench", size_max=1, command_timeout_seconds=600
            )
            try:
                async with pool.acquire() as connection:
                    report = await audit(connection)
            finally:
                await pool.close()
            if report.violations:
                raise BenchError(f"the ledger does not balance: {report.violations[0]}")

        asyncio.run(check())


@contextlib.contextmanager
def started_stage() -> Iterator[Stage]:
    """The servers, up, in a folder that is removed at the end."""
    with tempfile.TemporaryDirectory(prefix="rei-bench-", ignore_cleanup_errors=True) as folder:
        stage = Stage(Path(folder))
        try:
            stage.start()
            yield stage
        finally:
            stage.stop()

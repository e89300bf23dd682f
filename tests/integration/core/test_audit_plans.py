"""The audit right after a mass refund, when the statistics are those of before it."""

from __future__ import annotations

from typing import Any

from rei_core.db import Pool
from rei_core.ledger.audit import INVARIANTS, audit

JOBS = 2_000

# As a sweep finds them; the statistics are taken now, and autovacuum does not renew them.
AT_WORK = """
ALTER TABLE jobs SET (autovacuum_enabled = off);
ALTER TABLE transfers SET (autovacuum_enabled = off);
INSERT INTO users (id) VALUES (1);
INSERT INTO balances (user_id, balance_kopecks, active_jobs) VALUES (1, 0, {jobs});
INSERT INTO transfers (kind, ref_type, ref_id, user_id, debit_account, credit_account,
                       amount_kopecks, balance_after_kopecks)
VALUES ('adjustment', 'operation', 'gift', 1, 'adjustments', 'user', {jobs}, {jobs});
INSERT INTO jobs (user_id, idempotency_key, status, model, prompt, aspect_ratio, image_size,
                  price_kopecks, attempt, attempts_max, deadline_at, chat_id, started_at, lease_until)
SELECT 1, n, 'processing', 'm', 'p', '1:1', '1K', 1, 1, 2, now(), 1, now(), now()
FROM generate_series(1, {jobs}) AS n;
INSERT INTO transfers (kind, ref_type, ref_id, user_id, debit_account, credit_account,
                       amount_kopecks, balance_after_kopecks)
SELECT 'hold', 'job', id::text, 1, 'user', 'held', 1, {jobs} - row_number() OVER (ORDER BY id)
FROM jobs
ORDER BY jobs.id;
ANALYZE;
"""
SWEPT = """
UPDATE jobs
SET status = 'failed', finished_at = now(), lease_until = NULL, error_code = 'timeout';
INSERT INTO transfers (kind, ref_type, ref_id, user_id, debit_account, credit_account,
                       amount_kopecks, balance_after_kopecks)
SELECT 'release', 'job', id::text, 1, 'held', 'user', 1, row_number() OVER (ORDER BY id)
FROM jobs
ORDER BY jobs.id;
UPDATE balances SET balance_kopecks = {jobs}, active_jobs = 0;
"""


class Explaining:
    """A connection that keeps the plan of each query that looks for violations."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self.plans: list[str] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    async def fetch(self, sql: str, *arguments: Any) -> Any:
        if "subject" in sql:
            self.plans.append(await explained(self._connection, sql, *arguments))
        return await self._connection.fetch(sql, *arguments)


async def explained(connection: Any, sql: str, *arguments: Any) -> str:
    rows = await connection.fetch(f"EXPLAIN {sql}", *arguments)
    return "\n".join(row[0] for row in rows)


async def test_nothing_is_compared_row_by_row_whatever_the_statistics_say(pool: Pool) -> None:
    await pool.execute(AT_WORK.format(jobs=JOBS))
    await pool.execute(SWEPT.format(jobs=JOBS))
    async with pool.acquire() as connection:
        usual = [await explained(connection, sql) for sql in INVARIANTS.values()]
        assert any("Nested Loop" in plan for plan in usual), "nothing is shown by what follows"
        watched: Any = Explaining(connection)
        report = await audit(watched)
    assert report.consistent
    assert report.transfers_examined == 2 * JOBS + 1
    assert len(watched.plans) == len(INVARIANTS)
    assert not [plan for plan in watched.plans if "Nested Loop" in plan]


async def test_what_comes_after_the_audit_is_planned_as_ever(pool: Pool) -> None:
    async with pool.acquire() as connection:
        await audit(connection)
        assert await connection.fetchval("SHOW enable_nestloop") == "on"

"""The SQL of the reports. A person asks now and then: sums over days may read their whole table."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

import asyncpg

from rei_core.admin.reports import (
    Ban,
    Day,
    Glance,
    JobsReport,
    JobSum,
    LastRun,
    PaymentLine,
    PaymentsReport,
    PaymentSum,
    TopUser,
    UserReport,
    Waiting,
)
from rei_core.db import Connection
from rei_core.errors import UserUnknown
from rei_core.images.circuits import open_circuits
from rei_core.jobs import read_queries as jobs
from rei_core.jobs.claim_queries import job_of
from rei_core.jobs.model import Job, JobStatus
from rei_core.ledger import queries as ledger
from rei_core.payments.model import PaymentStatus
from rei_core.trail import queries as trail
from rei_core.users import queries as users

# What waits is asked by partial indexes that hold no more than it.
GLANCE = """
SELECT
    (SELECT count(*) FROM jobs
     WHERE status = 'queued' AND finished_at IS NULL AND deadline_at < now()) AS overdue,
    (SELECT count(*) FROM users) AS customers,
    (SELECT count(*) FROM users
     WHERE banned_at IS NOT NULL AND coalesce(banned_until > now(), true)) AS banned
"""

WAITING = """
SELECT count(*) AS count,
       coalesce(extract(epoch FROM now() - min({since})), 0)::float8 AS oldest_seconds
FROM {table}
WHERE {condition}
"""
# A payment that YooKassa never heard of has nothing to wait for: the customer did not get a page.
PAYMENTS_WAITING = WAITING.format(
    table="payments", since="created_at", condition="status = 'pending'"
)
REFUNDS_WAITING = WAITING.format(
    table="payment_refunds", since="created_at", condition="status = 'pending'"
)
DELIVERIES_WAITING = WAITING.format(
    table="deliveries", since="created_at", condition="status = 'pending'"
)

DAY = """
WITH paid AS (
    SELECT count(*) AS payments, coalesce(sum(amount_kopecks), 0)::bigint AS paid_kopecks
    FROM payments
    WHERE settled_at > now() - interval '1 day'
), ended AS (
    SELECT count(*) FILTER (WHERE status = 'completed') AS jobs_completed,
           count(*) FILTER (WHERE status = 'failed') AS jobs_failed,
           coalesce(sum(price_kopecks) FILTER (WHERE status = 'completed'), 0)::bigint
               AS sold_kopecks
    FROM jobs
    WHERE finished_at > now() - interval '1 day'
)
SELECT * FROM paid, ended
"""

LAST_RUNS = """
SELECT DISTINCT ON (kind)
       kind, finished_at, error,
       extract(epoch FROM now() - finished_at)::float8 AS age_seconds,
       status = 'succeeded' AND coalesce(detail -> 'violation_counts', '{}') = '{}' AS ok,
       coalesce(detail ->> 'verified', '') <> '' AS verified
FROM maintenance_runs
WHERE finished_at IS NOT NULL
ORDER BY kind, finished_at DESC
"""


async def glance(connection: Connection) -> Glance:
    """The whole shop in one snapshot."""
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        row = await connection.fetchrow(GLANCE)
        day = await connection.fetchrow(DAY)
        assert row is not None
        assert day is not None
        return Glance(
            queue=await jobs.queue_state(connection),
            paused=tuple(await open_circuits(connection)),
            payments=await _waiting(connection, PAYMENTS_WAITING),
            refunds=await _waiting(connection, REFUNDS_WAITING),
            deliveries=await _waiting(connection, DELIVERIES_WAITING),
            day=Day(**dict(day)),
            runs=tuple(LastRun(**dict(run)) for run in await connection.fetch(LAST_RUNS)),
            **dict(row),
        )


async def _waiting(connection: Connection, sql: str) -> Waiting:
    row = await connection.fetchrow(sql)
    assert row is not None
    return Waiting(**dict(row))


BANS = """
SELECT source, reason, expires_at, created_at
FROM user_bans
WHERE user_id = $1
ORDER BY created_at DESC, source
"""


async def bans_of(connection: Connection, user_id: int) -> list[Ban]:
    """Every ban of a user, expired ones too."""
    return [Ban(**dict(row)) for row in await connection.fetch(BANS, user_id)]


USER_SUMS = """
SELECT u.created_at, u.seen_at,
       coalesce(sum(t.amount_kopecks) FILTER (WHERE t.kind = 'topup'), 0)::bigint AS paid_kopecks,
       coalesce(sum(t.amount_kopecks) FILTER (WHERE t.kind = 'capture'), 0)::bigint
           AS spent_kopecks
FROM users AS u
LEFT JOIN transfers AS t ON t.user_id = u.id
WHERE u.id = $1
GROUP BY u.id
"""


async def user_report(connection: Connection, user_id: int, *, limit: int) -> UserReport:
    """Everything about a customer, `limit` lines of each list; raises `UserUnknown`."""
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        user = await users.find(connection, user_id)
        sums = await connection.fetchrow(USER_SUMS, user_id)
        if user is None or sums is None:
            raise UserUnknown(user_id)
        return UserReport(
            user=user,
            bans=tuple(await bans_of(connection, user_id)),
            transfers=tuple(await ledger.statement(connection, user_id, limit=limit)),
            jobs=tuple(await jobs.history(connection, user_id, limit=limit)),
            payments=tuple(await latest_payments(connection, user_id=user_id, limit=limit)),
            actions=tuple(await trail.log(connection, user_id=user_id, limit=limit)),
            **dict(sums),
        )


_PAYMENT_LINES = """
SELECT id, user_id, amount_kopecks, status, provider_payment_id, created_at,
       (SELECT coalesce(sum(r.amount_kopecks), 0)::bigint
        FROM payment_refunds AS r
        WHERE r.payment_id = p.id AND r.status <> 'failed') AS refunded_kopecks
FROM payments AS p
"""
LATEST_PAYMENTS = f"""
{_PAYMENT_LINES}
WHERE ($1::bigint IS NULL OR user_id = $1)
  AND ($2::timestamptz IS NULL OR created_at > $2)
ORDER BY created_at DESC, id
LIMIT $3
"""


async def latest_payments(
    connection: Connection,
    *,
    user_id: int | None = None,
    since: datetime | None = None,
    limit: int,
) -> list[PaymentLine]:
    """The newest payments first."""
    rows = await connection.fetch(LATEST_PAYMENTS, user_id, since, limit)
    return [_payment_line(row) for row in rows]


# By our id or by YooKassa's, which is what its profile and the customer's receipt show.
FIND_PAYMENT = f"""
{_PAYMENT_LINES}
WHERE id::text = $1 OR provider_payment_id = $1
"""


async def find_payment(connection: Connection, name: str) -> PaymentLine | None:
    """The payment of this id, ours or YooKassa's."""
    row = await connection.fetchrow(FIND_PAYMENT, name)
    return None if row is None else _payment_line(row)


def _payment_line(row: asyncpg.Record) -> PaymentLine:
    values = dict(row)
    return PaymentLine(
        **values | {"id": UUID(str(values["id"])), "status": PaymentStatus(values["status"])}
    )


SINCE = "SELECT now() - make_interval(days => $1)"

PAYMENT_SUMS = """
SELECT status, count(*) AS count, sum(amount_kopecks)::bigint AS total_kopecks,
       round(avg(amount_kopecks))::bigint AS mean_kopecks
FROM payments
WHERE created_at > $1 AND ($2::bigint IS NULL OR user_id = $2)
GROUP BY status
ORDER BY status
"""

REFUND_SUMS = """
SELECT count(*) AS refunds, coalesce(sum(r.amount_kopecks), 0)::bigint AS refunded_kopecks
FROM payment_refunds AS r
JOIN payments AS p ON p.id = r.payment_id
WHERE r.status = 'succeeded' AND r.finished_at > $1 AND ($2::bigint IS NULL OR p.user_id = $2)
"""


async def payments_report(
    connection: Connection, *, days: int, user_id: int | None, limit: int
) -> PaymentsReport:
    """The payments that were begun in the last days, of one user or of all."""
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        since: datetime = await connection.fetchval(SINCE, days)
        sums = await connection.fetch(PAYMENT_SUMS, since, user_id)
        refunds = await connection.fetchrow(REFUND_SUMS, since, user_id)
        assert refunds is not None
        latest = await latest_payments(connection, user_id=user_id, since=since, limit=limit)
    return PaymentsReport(
        days=days,
        sums=tuple(
            PaymentSum(**dict(row) | {"status": PaymentStatus(row["status"])}) for row in sums
        ),
        latest=tuple(latest),
        **dict(refunds),
    )


JOB_SUMS = """
SELECT model, status, count(*) AS count, sum(price_kopecks)::bigint AS price_kopecks,
       avg(extract(epoch FROM finished_at - started_at)) FILTER (WHERE status = 'completed')::float8
           AS mean_seconds
FROM jobs
WHERE created_at > $1 AND ($2::bigint IS NULL OR user_id = $2)
GROUP BY model, status
ORDER BY model, status
"""

LATEST_JOBS = """
SELECT *
FROM jobs
WHERE created_at > $1 AND ($2::bigint IS NULL OR user_id = $2)
ORDER BY id DESC
LIMIT $3
"""


async def jobs_report(
    connection: Connection, *, days: int, user_id: int | None, limit: int
) -> JobsReport:
    """The jobs that were ordered in the last days, of one user or of all."""
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        since: datetime = await connection.fetchval(SINCE, days)
        sums = await connection.fetch(JOB_SUMS, since, user_id)
        rows = await connection.fetch(LATEST_JOBS, since, user_id, limit)
    latest: list[Job] = [job_of(row) for row in rows]
    return JobsReport(
        days=days,
        sums=tuple(JobSum(**dict(row) | {"status": JobStatus(row["status"])}) for row in sums),
        latest=tuple(latest),
    )


# What was captured was spent: a hold may come back.
TOP = """
SELECT u.id AS user_id, u.username, spent.jobs, spent.spent_kopecks, b.balance_kopecks
FROM (
    SELECT user_id, count(*) AS jobs, sum(amount_kopecks)::bigint AS spent_kopecks
    FROM transfers
    WHERE kind = 'capture' AND created_at > now() - make_interval(days => $1)
    GROUP BY user_id
    ORDER BY spent_kopecks DESC, user_id
    LIMIT $2
) AS spent
JOIN users AS u ON u.id = spent.user_id
JOIN balances AS b ON b.user_id = u.id
ORDER BY spent.spent_kopecks DESC, u.id
"""


async def top_users(connection: Connection, *, days: int, limit: int) -> list[TopUser]:
    """Who has spent most on pictures in the last days."""
    return [TopUser(**dict(row)) for row in await connection.fetch(TOP, days, limit)]

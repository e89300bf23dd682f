"""A million jobs and five million transfers in the tables, against none."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial

from rei_bench import orders, pgbench
from rei_bench.figures import Bound
from rei_bench.pgbench import script_of
from rei_bench.plan import Case, Contender, Row, Sample, Scale, Wanted
from rei_bench.queues import place_orders
from rei_bench.stage import USERS, BenchError, Stage
from rei_core.db import create_pool
from rei_core.jobs import claim_queries, end_queries, read_queries
from rei_core.jobs.claim_queries import CLAIM, CLAIM_LOCK, CLAIM_LOCK_KEY
from rei_core.jobs.model import Output

JOBS_OF_A_USER = 10
SAMPLE_USERS = 1_000
"""Those who have a history in the empty tables too, or reading it would be reading nothing."""
QUEUED = 50
CLIENTS = 8
EMPTY, FULL = "empty tables", "full tables"

# What ten orders of each user leave: each is a top-up, two corrections, a charge and a capture.
# In the order of time, so that a user's rows lie far from each other, as they do in life; the
# balances follow in closed form, and the audit agrees.
_STEPS = 5
_GAIN = 8_700
_FILL_SQL = f"""
INSERT INTO jobs (user_id, idempotency_key, status, model, prompt, aspect_ratio, image_size,
                  price_kopecks, attempt, attempts_max, deadline_at, chat_id, created_at,
                  started_at, finished_at)
SELECT 1 + n % {{users}}, 'bench-' || n, 'completed', '{orders.MODEL}',
       '{orders.TEXTS["prompt"]}', '1:1', '1K', {orders.PRICE_KOPECKS}, 1, 4,
       now(), 1 + n % {{users}}, now(), now(), now()
FROM generate_series(0, {{users}} * {JOBS_OF_A_USER} - 1) AS n
ORDER BY n;

INSERT INTO payments (id, user_id, amount_kopecks, status, request_key, provider_payment_id,
                      chat_id, settled_at)
SELECT md5('bench-' || n)::uuid, 1 + n % {{users}}, 10000, 'succeeded', 'bench-' || n, 'bench-' || n,
       1 + n % {{users}}, now()
FROM generate_series(0, {{users}} * {JOBS_OF_A_USER} - 1) AS n
ORDER BY n;

INSERT INTO transfers (kind, ref_type, ref_id, user_id, debit_account, credit_account,
                       amount_kopecks, balance_after_kopecks)
SELECT step.kind, step.ref_type,
       CASE step.ref_type
           WHEN 'payment' THEN md5('bench-' || job)::uuid::text
           WHEN 'operation' THEN 'bench-' || step.number || '-' || job
           ELSE (job + 1)::text
       END,
       1 + job % {{users}}, step.debit, step.credit, step.amount,
       {{before}} + job / {{users}} * {_GAIN} + step.after
FROM (
    SELECT n % {{users}} + n / ({{users}} * {_STEPS}) * {{users}} AS job,
           n / {{users}} % {_STEPS} AS number,
           n
    FROM generate_series(0, {{users}}::bigint * {JOBS_OF_A_USER * _STEPS} - 1) AS n
) AS row
JOIN (VALUES
    (0, 'topup', 'payment', 'payments', 'user', 10000, 10000),
    (1, 'adjustment', 'operation', 'adjustments', 'user', 100, 10100),
    (2, 'adjustment', 'operation', 'adjustments', 'user', 100, 10200),
    (3, 'hold', 'job', 'user', 'held', {orders.PRICE_KOPECKS}, {_GAIN}),
    (4, 'capture', 'job', 'held', 'revenue', {orders.PRICE_KOPECKS}, {_GAIN})
) AS step (number, kind, ref_type, debit, credit, amount, after) USING (number)
ORDER BY n;

UPDATE balances
SET balance_kopecks = balance_kopecks + {_GAIN * JOBS_OF_A_USER}
WHERE user_id <= {{users}};
"""

_CLAIM = f"""
\\set key {CLAIM_LOCK_KEY}
\\set jobs 10
\\set lease 30
\\set processing_max 1000000
BEGIN;
{script_of(CLAIM_LOCK, ("key",))};
{script_of(CLAIM, ("jobs", "worker", "lease", "processing_max"))};
ROLLBACK;
"""
_HISTORY = f"""
\\set user random(1, {{users}})
\\set limit 5
{script_of(read_queries.HISTORY, ("user", "before", "limit"))};
"""
_PLACE = f"""
\\set job {{last}} - random(0, {QUEUED - 1})
{script_of(read_queries.PLACE, ("job",))};
"""


@contextlib.contextmanager
def cases(stage: Stage, scale: Scale) -> Iterator[Sequence[Case]]:
    seconds = scale.pick(quick=1, full=3)
    users = scale.pick(quick=USERS // 20, full=USERS)
    with stage.database() as empty, stage.database() as full:
        _fill(stage, empty, users=SAMPLE_USERS)
        _fill(stage, full, users=users)
        for database in (empty, full):
            place_orders(stage, database, count=QUEUED)
            stage.postgres.psql("VACUUM ANALYZE", database=database)
        stage.postgres.psql("CHECKPOINT")

        def case(name: str, measure: Callable[..., Sample]) -> Case:
            return Case(
                name=name,
                contenders=(
                    Contender(EMPTY, partial(measure, stage, empty, SAMPLE_USERS, seconds)),
                    Contender(FULL, partial(measure, stage, full, users, seconds)),
                ),
                wanted=(Wanted(FULL, EMPTY, Bound(1.3, at_most=True)),),
            )

        yield [
            case("history, five newest jobs", _history),
            case("place in the queue", _place),
            case("claim ten jobs", _claim),
            case("accept, claim, complete: the accept", partial(_life, "accept")),
            case("accept, claim, complete: the claim", partial(_life, "claim")),
            Case(
                name="ledger audit (for information)",
                contenders=(
                    Contender(EMPTY, partial(_audit, stage, empty)),
                    Contender(FULL, partial(_audit, stage, full)),
                ),
                wanted=(),
            ),
        ]


def _fill(stage: Stage, database: str, *, users: int) -> None:
    before = stage.number("SELECT min(balance_kopecks) FROM balances", database=database)
    stage.postgres.psql(_FILL_SQL.format(users=users, before=before), database=database)
    stage.postgres.psql("VACUUM ANALYZE", database=database)
    stage.audit(database)


def _milliseconds(load: pgbench.Load) -> Sample:
    """What one operation costs: with more clients than cores the machine is always busy."""
    return Sample(load.latency_ms)


def _history(stage: Stage, database: str, users: int, seconds: int) -> Sample:
    script = _HISTORY.format(users=users).replace(":before", "NULL")
    return _milliseconds(
        pgbench.run(stage, script, database=database, clients=CLIENTS, seconds=seconds)
    )


def _place(stage: Stage, database: str, users: int, seconds: int) -> Sample:
    del users
    last = stage.number("SELECT max(id) FROM jobs WHERE status = 'queued'", database=database)
    return _milliseconds(
        pgbench.run(
            stage, _PLACE.format(last=last), database=database, clients=CLIENTS, seconds=seconds
        )
    )


def _claim(stage: Stage, database: str, users: int, seconds: int) -> Sample:
    """Claimed and rolled back, so that every claim finds the same queue."""
    del users
    return _milliseconds(
        pgbench.run(
            stage,
            _CLAIM,
            database=database,
            clients=1,
            seconds=seconds,
            texts={"worker": "bench"},
        )
    )


def _life(what: str, stage: Stage, database: str, users: int, seconds: int) -> Sample:
    """Jobs from their acceptance to their end, one after the other; the mean time of one step."""
    del users
    return Sample(1000 * asyncio.run(_mean_seconds(stage, database, seconds))[what])


async def _mean_seconds(stage: Stage, database: str, seconds: int) -> dict[str, float]:
    spent = {"accept": 0.0, "claim": 0.0}
    pool = await create_pool(stage.url(database), application="bench", size_max=1)
    until, lives, user_id = time.monotonic() + seconds, 0, QUEUED
    try:
        async with pool.acquire() as connection:
            while time.monotonic() < until:
                user_id = user_id % USERS + 1
                began = time.perf_counter()
                await orders.accept_one(connection, user_id)
                accepted = time.perf_counter()
                async with connection.transaction():
                    [job] = await claim_queries.claim(
                        connection, worker="bench", lease_seconds=30, limit=1, processing_max=1000
                    )
                claimed = time.perf_counter()
                output = Output("image/png", 8, 8, b"picture")
                if not await end_queries.complete(
                    connection, job.id, attempt=job.attempt, output=output
                ):
                    raise BenchError(f"job {job.id} could not be completed")
                spent["accept"] += accepted - began
                spent["claim"] += claimed - accepted
                lives += 1
    finally:
        await pool.close()
    return {step: total / lives for step, total in spent.items()}


def _audit(stage: Stage, database: str) -> Sample:
    began = time.perf_counter()
    stage.audit(database)
    return Sample(1000 * (time.perf_counter() - began))


ROW = Row(
    key="full_tables",
    title="A million jobs in the tables",
    unit="ms",
    better="less",
    text=(
        f"{USERS * JOBS_OF_A_USER:,} jobs, {USERS:,} users and "
        f"{USERS * JOBS_OF_A_USER * _STEPS:,} transfers, written with all triggers and constraints, "
        f"in the order of time, against tables that hold the jobs of {SAMPLE_USERS:,} users (a history "
        f"has to be there to be read). {QUEUED} jobs wait in both. History and place are read by "
        f"pgbench from {CLIENTS} connections, histories of users drawn from all that have one; claims "
        "are made by pgbench and rolled back; then single jobs are accepted, claimed and completed "
        "through Rei's own functions, commits and all. The time of the audit is for information."
    ),
    cases=cases,
)

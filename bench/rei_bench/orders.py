"""The order that is placed over and over, in Rei's own statements and in those of the others."""

from __future__ import annotations

import uuid

from rei_bench.pgbench import script_of
from rei_bench.stage import USERS, BenchError
from rei_core.db import Connection
from rei_core.jobs.accept_queries import ACCEPT, accept
from rei_core.jobs.model import Order, Outcome

MODEL = "gemini-3.1-flash-image"
PRICE_KOPECKS = 1500
ATTEMPTS_MAX = 4
DEADLINE_SECONDS = 3600
ACTIVE_JOBS_MAX = 1_000_000_000
"""No limit: the hot user has them all."""

TEXTS = {
    "model": MODEL,
    "prompt": "A cat in a spacesuit, watercolour",
    "ratio": "1:1",
    "size": "1K",
    "inputs": "[]",
}
HOT_USER = 1

_SET = f"""
\\set user {{user}}
\\set key random(1, 9000000000000000000)
\\set price {PRICE_KOPECKS}
\\set message 1
\\set active_max {ACTIVE_JOBS_MAX}
\\set attempts {ATTEMPTS_MAX}
\\set deadline {DEADLINE_SECONDS}
"""
_NAMES = (
    "user", "key", "model", "prompt", "ratio", "size", "price", "inputs", "user", "message",
    "active_max", "attempts", "deadline",
)  # fmt: skip

_JOB_COLUMNS = (
    "user_id, idempotency_key, model, prompt, aspect_ratio, image_size, price_kopecks, inputs, "
    "chat_id, progress_message_id, attempts_max, deadline_at"
)
_JOB_VALUES = (
    ":key, :model, :prompt, :ratio, :size, :price, :inputs, :user, :message, :attempts, "
    "now() + make_interval(secs => :deadline)"
)
_TRANSFER_COLUMNS = (
    "kind, ref_type, ref_id, user_id, debit_account, credit_account, amount_kopecks, "
    "balance_after_kopecks"
)

# The least that charges and queues: the same rows and indexes, and nothing is asked or answered.
_LEAST = f"""
WITH charged AS (
    UPDATE balances
    SET balance_kopecks = balance_kopecks - :price, active_jobs = active_jobs + 1
    WHERE user_id = :user
    RETURNING user_id, balance_kopecks
), job AS (
    INSERT INTO jobs ({_JOB_COLUMNS})
    SELECT user_id, {_JOB_VALUES}
    FROM charged
    RETURNING id
), held AS (
    INSERT INTO transfers ({_TRANSFER_COLUMNS})
    SELECT 'hold', 'job', job.id::text, charged.user_id, 'user', 'held', :price,
           charged.balance_kopecks
    FROM job, charged
)
SELECT id AS job FROM job"""

# What one writes first: look, insert, charge, note it down.
_NAIVE = f"""
BEGIN;
SELECT balance_kopecks AS balance FROM balances WHERE user_id = :user FOR UPDATE \\gset
INSERT INTO jobs ({_JOB_COLUMNS}) VALUES (:user, {_JOB_VALUES}) RETURNING id AS job \\gset
UPDATE balances
SET balance_kopecks = balance_kopecks - :price, active_jobs = active_jobs + 1
WHERE user_id = :user;
INSERT INTO transfers ({_TRANSFER_COLUMNS})
VALUES ('hold', 'job', :job, :user, 'user', 'held', :price, :balance::bigint - :price::bigint);
COMMIT;
"""


def setting(*, hot: bool) -> str:
    """The variables of one order, of the hot user or of any of them."""
    return _SET.format(user=str(HOT_USER) if hot else f"random(1, {USERS})")


def ours(*, hot: bool) -> str:
    """Rei's own ACCEPT."""
    return f"{setting(hot=hot)}{script_of(ACCEPT, _NAMES)};\n"


def least(*, hot: bool) -> str:
    """The same writes in one statement written by hand."""
    return f"{setting(hot=hot)}{_LEAST.strip()};\n"


def least_keeping_job(*, hot: bool) -> str:
    """The same, with the job's id in `:job` for what follows."""
    return f"{setting(hot=hot)}{_LEAST.strip()} \\gset\n"


def naive(*, hot: bool) -> str:
    """Four statements in a transaction."""
    return setting(hot=hot) + _NAIVE


_TAKE = """
UPDATE jobs
SET status = 'processing', attempt = attempt + 1, worker = 'bench', started_at = now(),
    lease_until = now() + interval '30 seconds'
WHERE id = :job;
"""
_END = f"""
WITH ended AS (
    UPDATE jobs
    SET status = 'completed', finished_at = now(), lease_until = NULL
    WHERE id = :job
    RETURNING id, user_id, price_kopecks
), account AS (
    UPDATE balances AS b
    SET active_jobs = active_jobs - 1
    FROM ended
    WHERE b.user_id = ended.user_id
    RETURNING b.balance_kopecks
), captured AS (
    INSERT INTO transfers ({_TRANSFER_COLUMNS})
    SELECT 'capture', 'job', ended.id::text, ended.user_id, 'held', 'revenue',
           ended.price_kopecks, account.balance_kopecks
    FROM ended, account
), stored AS (
    INSERT INTO job_outputs (job_id, mime_type, width, height, size_bytes, sha256, data)
    SELECT id, 'image/png', 8, 8, 75, '\\x00'::bytea, decode(repeat('00', 75), 'hex') FROM ended
)
INSERT INTO deliveries (kind, ref_id, user_id, chat_id)
SELECT 'result', id::text, user_id, user_id FROM ended;
"""


def whole_life() -> str:
    """Three commits: a job accepted, taken, and ended, with the least SQL that does it."""
    return least_keeping_job(hot=False) + _TAKE + _END


async def accept_one(connection: Connection, user_id: int) -> int:
    """A new order of this user's, through `accept()`; the job's id.

    Raises `BenchError` if it is refused. There is no message to show its progress in.
    """
    order = Order(
        user_id=user_id,
        idempotency_key=uuid.uuid4().hex,
        model=MODEL,
        prompt=TEXTS["prompt"],
        aspect_ratio=TEXTS["ratio"],
        image_size=TEXTS["size"],
        price_kopecks=PRICE_KOPECKS,
        chat_id=user_id,
    )
    acceptance = await accept(
        connection,
        order,
        active_jobs_max=ACTIVE_JOBS_MAX,
        attempts_max=ATTEMPTS_MAX,
        deadline_seconds=DEADLINE_SECONDS,
    )
    if acceptance.outcome is not Outcome.ACCEPTED or acceptance.job_id is None:
        raise BenchError(f"order refused: {acceptance.outcome}")
    return acceptance.job_id

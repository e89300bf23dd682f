"""Accepting an order: one statement, one round trip, all or nothing.

Guarantees: one job per (user, idempotency key); never a charge without a job or a job without
a charge; never more active jobs than allowed; never a balance below zero.

How it stays exact under concurrency: `account` locks the user's balance row. A statement sees
other tables as they were when it began, but a row it had to wait for is read again as it is
*after* the wait. So everything that decides is on that row: the balance and the counter of
active jobs. The one thing read from an old snapshot is "was this key used before?"; the unique
constraint catches what it missed, and `accept` asks again.
"""

from __future__ import annotations

from rei_core.db import Connection
from rei_core.jobs.model import Acceptance, Order, Outcome

ACCEPT = """
WITH known AS (
    SELECT id, price_kopecks
    FROM jobs
    WHERE user_id = $1 AND idempotency_key = $2
), account AS MATERIALIZED (
    SELECT user_id, balance_kopecks, active_jobs
    FROM balances
    WHERE user_id = $1
    FOR UPDATE
), verdict AS MATERIALIZED (
    SELECT a.user_id,
           CASE
               WHEN EXISTS (SELECT FROM known) THEN 'duplicate'
               WHEN u.banned_at IS NOT NULL AND coalesce(u.banned_until > now(), true)
                   THEN 'banned'
               WHEN EXISTS (
                   SELECT FROM circuits
                   WHERE name IN ('provider', 'model:' || $3) AND opened_at IS NOT NULL
               ) THEN 'provider_paused'
               WHEN a.active_jobs >= $11 THEN 'too_many_active'
               WHEN a.balance_kopecks < $7 THEN 'insufficient_funds'
               ELSE 'accepted'
           END AS outcome,
           a.balance_kopecks
    FROM account AS a
    JOIN users AS u ON u.id = a.user_id
), job AS (
    INSERT INTO jobs (user_id, idempotency_key, model, prompt, aspect_ratio, image_size,
                      price_kopecks, inputs, chat_id, progress_message_id,
                      attempts_max, deadline_at)
    SELECT user_id, $2, $3, $4, $5, $6, $7, $8, $9, $10, $12,
           now() + make_interval(secs => $13)
    FROM verdict
    WHERE outcome = 'accepted'
    ON CONFLICT ON CONSTRAINT jobs_key_once DO NOTHING
    RETURNING id, user_id, price_kopecks
), charged AS (
    UPDATE balances AS b
    SET balance_kopecks = b.balance_kopecks - job.price_kopecks,
        active_jobs = b.active_jobs + 1
    FROM job
    WHERE b.user_id = job.user_id
    RETURNING b.balance_kopecks
), held AS (
    INSERT INTO transfers (kind, ref_type, ref_id, user_id, debit_account, credit_account,
                           amount_kopecks, balance_after_kopecks)
    SELECT 'hold', 'job', job.id::text, job.user_id, 'user', 'held',
           job.price_kopecks, charged.balance_kopecks
    FROM job, charged
)
SELECT verdict.outcome,
       coalesce(charged.balance_kopecks, verdict.balance_kopecks) AS balance_kopecks,
       coalesce(job.id, known.id) AS job_id
FROM verdict
LEFT JOIN job ON true
LEFT JOIN charged ON true
LEFT JOIN known ON true
"""


async def accept(
    connection: Connection,
    order: Order,
    *,
    active_jobs_max: int,
    attempts_max: int,
    deadline_seconds: float,
) -> Acceptance:
    """Charge and queue an order, or say why not. Commit, then ring the doorbell."""
    inputs = [
        {"file_id": i.file_id, "mime_type": i.mime_type, "size_bytes": i.size_bytes}
        for i in order.inputs
    ]
    arguments = (
        order.user_id, order.idempotency_key, order.model, order.prompt, order.aspect_ratio,
        order.image_size, order.price_kopecks, inputs, order.chat_id, order.progress_message_id,
        active_jobs_max, attempts_max, deadline_seconds,
    )  # fmt: skip
    row = await connection.fetchrow(ACCEPT, *arguments)
    if row is not None and row["job_id"] is None:
        # Refused, or stopped by the unique key: perhaps because another copy of this very order
        # was committed after this statement began. A new snapshot shows it, and a second click
        # is then answered with the job of the first instead of "insufficient funds".
        row = await connection.fetchrow(ACCEPT, *arguments)
    if row is None:
        return Acceptance(Outcome.USER_UNKNOWN, balance_kopecks=0)
    return Acceptance(Outcome(row["outcome"]), row["balance_kopecks"], job_id=row["job_id"])

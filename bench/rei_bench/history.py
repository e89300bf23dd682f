"""What a shop of some years leaves in its tables: finished jobs, and all that came with them.

Every job was begun by three updates, charged, captured, and its picture delivered. The rows are of
all ages, the oldest first, `DAYS` slices of a day each; a policy that keeps a day less removes the
next slice. Prompts and Telegram's file ids differ, as in life: a dump is not all repetition.
"""

from __future__ import annotations

from rei_bench import orders
from rei_bench.stage import BALANCE_KOPECKS, USERS, Stage

DAYS = 100
YOUNGEST_DAYS = 100
UPDATES_OF_A_JOB = 3
ROWS_OF_A_JOB = UPDATES_OF_A_JOB + 2
"""The updates, the job and its delivery: what a retention counts. The output goes with the job."""

_AGE = f"now() - make_interval(secs => 86400.0 * ({YOUNGEST_DAYS} + ({{jobs}} - n) * {DAYS}.0 / {{jobs}}))"

_FILL_SQL = f"""
SET synchronous_commit = off;

INSERT INTO telegram_updates (update_id, handled_at, received_at)
SELECT n * {UPDATES_OF_A_JOB} + step, at, at
FROM (SELECT n, {_AGE} AS at FROM generate_series(0, {{jobs}} - 1) AS n) AS job,
     generate_series(1, {UPDATES_OF_A_JOB}) AS step
ORDER BY n, step;

INSERT INTO jobs (user_id, idempotency_key, status, model, prompt, aspect_ratio, image_size,
                  price_kopecks, attempt, attempts_max, deadline_at, chat_id, created_at,
                  started_at, finished_at)
SELECT 1 + n % {USERS}, 'draft:-' || n, 'completed', '{orders.MODEL}',
       '{orders.TEXTS["prompt"]}, ' || encode(sha512(n::text::bytea), 'hex'), '1:1', '1K',
       {orders.PRICE_KOPECKS}, 1, 4, at, 1 + n % {USERS}, at, at, at
FROM (SELECT n, {_AGE} AS at FROM generate_series(0, {{jobs}} - 1) AS n) AS job
ORDER BY n;

INSERT INTO transfers (kind, ref_type, ref_id, user_id, debit_account, credit_account,
                       amount_kopecks, balance_after_kopecks, created_at)
SELECT step.kind, 'job', job.id::text, job.user_id, step.debit, step.credit, job.price_kopecks,
       {BALANCE_KOPECKS} - job.price_kopecks * ((job.id - first.id) / {USERS} + 1), job.finished_at
FROM jobs AS job,
     (SELECT min(id) AS id FROM jobs) AS first,
     (VALUES (1, 'hold', 'user', 'held'), (2, 'capture', 'held', 'revenue'))
         AS step (number, kind, debit, credit)
ORDER BY job.id, step.number;

UPDATE balances
SET balance_kopecks = balance_kopecks - spent.kopecks
FROM (SELECT user_id, sum(price_kopecks)::bigint AS kopecks FROM jobs GROUP BY user_id) AS spent
WHERE balances.user_id = spent.user_id;

INSERT INTO job_outputs (job_id, mime_type, width, height, size_bytes, sha256, photo_file_id,
                         document_file_id, stored_at)
SELECT id, 'image/png', 1024, 1024, 1500000, sha256(id::text::bytea),
       translate(encode(sha512(('photo-' || id)::bytea), 'base64'), E'\n', ''),
       translate(encode(sha512(('document-' || id)::bytea), 'base64'), E'\n', ''), finished_at
FROM jobs
ORDER BY id;

INSERT INTO deliveries (kind, ref_id, user_id, chat_id, status, attempt, message_id, created_at,
                        finished_at)
SELECT 'result', jobs.id::text, user_id, chat_id, 'delivered', 1, jobs.id, finished_at, finished_at
FROM jobs
ORDER BY jobs.id;
"""


def fill(stage: Stage, database: str, *, jobs: int) -> None:
    """Write the history of so many jobs; ends with the ledger audit."""
    stage.postgres.psql(_FILL_SQL.format(jobs=jobs), database=database)
    stage.postgres.psql("VACUUM (ANALYZE, FREEZE)", database=database)
    stage.audit(database)

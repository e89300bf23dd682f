"""A hundred thousand jobs that hang, ended and refunded by a StuckJobPolicy."""

from __future__ import annotations

import contextlib
import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial

from rei_bench import customers, history, orders, psql
from rei_bench.figures import Bound
from rei_bench.pgbench import script_of
from rei_bench.plan import Case, Contender, Row, Sample, Scale, Wanted
from rei_bench.policies import Ran, run_policy
from rei_bench.stage import USERS, BenchError, Stage
from rei_core.jobs.end_queries import FAIL_STUCK
from rei_core.maintenance.resources.jobs import StuckJobPolicySpec
from rei_core.maintenance.stuck_jobs.queries import PROCESSING

JOBS_OF_A_USER = 2
OLD_OF_A_JOB = 2
"""Finished jobs beside each that hangs: with none, the planner would expect every job to hang."""
TIMEOUT_SECONDS = 900
USUAL = StuckJobPolicySpec(period_seconds=60).batch_size
BATCHES = (USUAL, 1_000)
LIMIT = "limit (one statement for all, psql)"
SAME = "the same SQL (psql)"
OURS = "Rei's StuckJobPolicy"

# Jobs that were charged and taken, and whose workers have hung ever since; a customer's second job
# follows when everybody has the first.
_FILL_SQL = f"""
INSERT INTO jobs (user_id, idempotency_key, status, model, prompt, aspect_ratio, image_size,
                  price_kopecks, attempt, attempts_max, deadline_at, chat_id, created_at,
                  started_at, lease_until, worker)
SELECT 1 + n % {{users}}, 'stuck-' || n, 'processing', '{orders.MODEL}',
       '{orders.TEXTS["prompt"]}', '1:1', '1K', {orders.PRICE_KOPECKS}, 1, 4,
       now(), 1 + n % {{users}}, now() - interval '1 hour',
       now() - interval '1 hour', now() + interval '1 hour', 'bench'
FROM generate_series(0, {{users}} * {JOBS_OF_A_USER} - 1) AS n
ORDER BY n;

UPDATE balances
SET balance_kopecks = balance_kopecks - {orders.PRICE_KOPECKS * JOBS_OF_A_USER},
    active_jobs = {JOBS_OF_A_USER}
WHERE user_id <= {{users}};

INSERT INTO transfers (kind, ref_type, ref_id, user_id, debit_account, credit_account,
                       amount_kopecks, balance_after_kopecks)
SELECT 'hold', 'job', id::text, user_id, 'user', 'held', price_kopecks,
       balance_kopecks
           + price_kopecks * ({JOBS_OF_A_USER} - row_number() OVER (PARTITION BY user_id ORDER BY id))
FROM jobs
JOIN balances USING (user_id)
WHERE status = 'processing'
ORDER BY jobs.id;
"""

# What hangs is found by the sweep's own query, and ended by its own statement, as many at a time.
FIRST = f"""
\\set after 0
\\set timeout {TIMEOUT_SECONDS}
\\set by_model '\\'{{}}\\''
{psql.prepared("fail_stuck", FAIL_STUCK, "bigint[]", "float8", "jsonb")}
"""
BATCH = f"""
BEGIN;
SELECT array_agg(id) AS ids, max(id) AS after
FROM ({script_of(PROCESSING, ("after", "timeout", "by_model", "limit"))}) AS page \\gset
EXECUTE fail_stuck(:'ids', :timeout, :by_model);
COMMIT;
"""

# The least that ends and refunds: the same rows and indexes, all in one transaction, so that no
# customer of them can order meanwhile.
_LEAST = f"""
WITH ended AS (
    UPDATE jobs
    SET status = 'failed', finished_at = now(), lease_until = NULL, error_code = 'timeout'
    WHERE status = 'processing' AND started_at < now() - interval '{TIMEOUT_SECONDS} s'
    RETURNING id, user_id, chat_id, price_kopecks
), repaid AS (
    UPDATE balances AS b
    SET balance_kopecks = b.balance_kopecks + sums.kopecks, active_jobs = active_jobs - sums.jobs
    FROM (
        SELECT user_id, sum(price_kopecks)::bigint AS kopecks, count(*)::integer AS jobs
        FROM ended
        GROUP BY user_id
    ) AS sums
    WHERE b.user_id = sums.user_id
    RETURNING b.user_id, b.balance_kopecks, sums.kopecks
), released AS (
    INSERT INTO transfers (kind, ref_type, ref_id, user_id, debit_account, credit_account,
                           amount_kopecks, balance_after_kopecks)
    SELECT 'release', 'job', id::text, user_id, 'held', 'user', price_kopecks,
           balance_kopecks - kopecks + sum(price_kopecks) OVER (PARTITION BY user_id ORDER BY id)
    FROM ended
    JOIN repaid USING (user_id)
)
INSERT INTO deliveries (kind, ref_id, user_id, chat_id)
SELECT 'job_failed', id::text, user_id, chat_id
FROM ended;
"""


@contextlib.contextmanager
def cases(stage: Stage, scale: Scale) -> Iterator[Sequence[Case]]:
    users = scale.pick(quick=4_000, full=USERS // JOBS_OF_A_USER)
    alone_seconds = scale.pick(quick=1, full=15)
    with stage.database() as template:
        history.fill(stage, template, jobs=OLD_OF_A_JOB * users * JOBS_OF_A_USER)
        stage.postgres.psql(_FILL_SQL.format(users=users), database=template)
        stage.postgres.psql("VACUUM (ANALYZE, FREEZE)", database=template)
        stage.audit(template)
        sweep = _Sweep(stage, template, jobs=users * JOBS_OF_A_USER)
        yield [
            *(_case(sweep, batch) for batch in BATCHES),
            customers.case(
                f"p99 of {customers.ORDERS_PER_SECOND} orders a second",
                alone=lambda: sweep.noticed(lambda database: time.sleep(alone_seconds)),
                psql=lambda: sweep.noticed(partial(sweep.run_psql, batch=USUAL)),
                rei=lambda: sweep.noticed(partial(sweep.run, batch=USUAL)),
            ),
        ]


def _case(sweep: _Sweep, batch: int) -> Case:
    return Case(
        name=f"{sweep.jobs:,} jobs, {batch:,} a transaction",
        contenders=(
            Contender(LIMIT, lambda: sweep.measured(sweep.at_once)),
            Contender(SAME, lambda: sweep.measured(partial(sweep.by_psql, batch=batch))),
            Contender(OURS, lambda: sweep.measured(partial(sweep.by_rei, batch=batch))),
        ),
        wanted=(Wanted(OURS, SAME, Bound(0.7)),),
    )


class _Sweep:
    """The same jobs, swept by each in a copy of its own."""

    def __init__(self, stage: Stage, template: str, *, jobs: int) -> None:
        self.jobs = jobs
        self._stage = stage
        self._template = template

    def measured(self, sweep: Callable[[str], float]) -> Sample:
        """Jobs a second, with nothing beside it."""
        with self._stage.database(self._template) as database:
            seconds = sweep(database)
            self._check(database)
        return Sample(self.jobs / seconds, {"seconds": seconds})

    def noticed(self, work: Callable[[str], Ran | None]) -> Sample:
        """The p99 of orders while `work` goes on in their database."""
        with self._stage.database(self._template) as database:
            sample = customers.orders_beside(self._stage, database, lambda: work(database))
            self._stage.audit(database)
        return sample

    def by_rei(self, database: str, *, batch: int) -> float:
        return self.run(database, batch=batch).seconds

    def run(self, database: str, *, batch: int) -> Ran:
        """One run of the policy."""
        spec = {
            "periodSeconds": 60,
            "timeoutSeconds": TIMEOUT_SECONDS,
            "batchSize": batch,
            "maxPerRun": self.jobs,
        }
        return run_policy(self._stage, "StuckJobPolicy", spec, database=database)

    def by_psql(self, database: str, *, batch: int) -> float:
        batches = itertools.repeat(BATCH, -(-self.jobs // batch))
        lines = itertools.chain([FIRST, f"\\set limit {batch}\n"], batches)
        return psql.run(self._stage, lines, database=database)

    def run_psql(self, database: str, *, batch: int) -> None:
        self.by_psql(database, batch=batch)

    def at_once(self, database: str) -> float:
        return psql.run(self._stage, [_LEAST], database=database)

    def _check(self, database: str) -> None:
        """No job is left, and every kopeck is where it belongs."""
        sql = "SELECT count(*) FROM jobs WHERE status = 'failed'"
        ended = self._stage.number(sql, database=database)
        if ended != self.jobs:
            raise BenchError(f"{ended} of {self.jobs} jobs were ended")
        self._stage.audit(database)


ROW = Row(
    key="stuck_jobs",
    title="Ending and refunding jobs that hang",
    unit="jobs/s",
    better="more",
    text=(
        f"{USERS:,} jobs of {USERS // JOBS_OF_A_USER:,} customers have been processing for an hour, beside "
        f"{OLD_OF_A_JOB * USERS:,} that ended long ago. Rei's is "
        "one run of a StuckJobPolicy as the operator carries it out (run row, lease, count with each "
        "batch), in a process of its own. psql runs the very texts of Rei's queries in as many "
        "transactions: it finds a batch, ends it, and asks nothing more. The limit is one statement "
        "written by hand that ends and refunds all of them in one transaction, in which no customer "
        "of them could order. Afterwards all jobs must have failed, and the audit must pass. Beside "
        f"it {customers.ORDERS_PER_SECOND} orders a second are placed through `accept()` by customers "
        "drawn from all; an order's time begins when it was due."
    ),
    cases=cases,
)

"""A job that costs nothing, from the order to its end."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from functools import partial

from rei_bench import orders, pgbench
from rei_bench.children import program
from rei_bench.figures import Bound
from rei_bench.plan import Case, Contender, Row, Sample, Scale, Wanted
from rei_bench.queues import peer_queue
from rei_bench.stage import Stage

OURS = "Rei (ledger, PostgreSQL)"
TASKIQ = "bare taskiq (Redis)"
PROCRASTINATE = "procrastinate (PostgreSQL)"
LIMIT = "limit (the same commits, pgbench)"
CLIENTS = 8
CONCURRENCY = 64
CONNECTIONS = CLIENTS + 9
"""Of Rei's two processes together; as many does the limit get."""


@contextlib.contextmanager
def cases(stage: Stage, scale: Scale) -> Iterator[Sequence[Case]]:
    ours = scale.pick(quick=300, full=4_000)
    taskiq = scale.pick(quick=1_000, full=12_000)
    procrastinate = scale.pick(quick=200, full=1_500)
    seconds = scale.pick(quick=1, full=4)
    yield [
        Case(
            name="no-op job",
            contenders=(
                Contender(LIMIT, partial(_limit, stage, seconds)),
                Contender(TASKIQ, partial(_peer, stage, "taskiq", taskiq)),
                Contender(PROCRASTINATE, partial(_peer, stage, "procrastinate", procrastinate)),
                Contender(OURS, partial(_ours, stage, ours)),
            ),
            wanted=(
                Wanted(OURS, LIMIT, Bound(0.40)),
                Wanted(OURS, PROCRASTINATE, Bound(3)),
            ),
        )
    ]


def _limit(stage: Stage, seconds: int) -> Sample:
    with stage.database() as database:
        load = pgbench.run(
            stage,
            orders.whole_life(),
            database=database,
            clients=CONNECTIONS,
            seconds=seconds,
            texts=orders.TEXTS,
        )
        stage.audit(database)
    return Sample(load.per_second)


def _peer(stage: Stage, name: str, count: int) -> Sample:
    with (
        peer_queue(stage, name) as queue,
        queue.working(concurrency=CONCURRENCY, count=count) as worker,
    ):
        worker.told("ready")
        with queue.enqueuing("noop", count=count, clients=CLIENTS) as producer:
            began = producer.told("started")["at"]
            done = worker.told("done")["at"]
    return Sample(count / (done - began))


def _ours(stage: Stage, count: int) -> Sample:
    stage.flush_redis()
    with stage.database() as database:
        where = {"database_url": stage.url(database), "redis_url": stage.redis.url}
        with program(stage, "work", **where, concurrency=CONCURRENCY, count=count) as worker:
            worker.told("ready")
            with program(
                stage, "accept", **where, clients=CLIENTS, count=count, hot=False
            ) as producer:
                began = producer.told("started")["at"]
                placed = producer.told("done")["at"]
            done = worker.told("done")["at"]
        stage.audit(database)
    return Sample(
        count / (done - began),
        {
            "placed_per_second": count / (placed - began),
        },
    )


ROW = Row(
    key="end_to_end",
    title="A no-op job end to end, with the ledger",
    unit="jobs/s",
    better="more",
    text=(
        f"One process places orders from {CLIENTS} clients while another works on them, up to "
        f"{CONCURRENCY} at a time; measured from the first order to the last end. Rei: `accept()` and "
        "the real doorbell on one side; the real doorbell, pump, lease keeper and job runner on the "
        "other, with a provider that returns a tiny picture at once, in the process, and without "
        "sending anything to Telegram. Each job is charged, claimed, stored, captured, and its "
        "delivery queued. The peers' jobs do nothing at all: bare taskiq has no ledger, and its "
        "Redis keeps nothing on disk. The limit does what Rei writes with the least SQL, in three "
        f"commits a job, from {CONNECTIONS} connections; Rei claims many jobs in one commit."
    ),
    cases=cases,
)

"""Accepting a job: charge and queue."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from rei_bench import orders, pgbench
from rei_bench.children import program
from rei_bench.figures import Bound
from rei_bench.plan import Case, Contender, Row, Sample, Scale, Wanted
from rei_bench.stage import USERS, BenchError, Stage

LIMIT = "limit (one CTE, pgbench)"
NAIVE = "naive, four statements (pgbench)"
OURS = "Rei's SQL (pgbench)"
PYTHON = "Rei's `accept` (Python)"
CLIENTS = (1, 4, 16, 64)
WARM_SECONDS = 1


@contextlib.contextmanager
def cases(stage: Stage, scale: Scale) -> Iterator[Sequence[Case]]:
    seconds = scale.pick(quick=1, full=2)
    yield [
        _case(stage, clients=clients, seconds=seconds, hot=hot)
        for hot in (False, True)
        for clients in CLIENTS
    ]


def _case(stage: Stage, *, clients: int, seconds: int, hot: bool) -> Case:
    def generated(script: Callable[..., str], *, audited: bool = False) -> Callable[[], Sample]:
        return lambda: _generated(
            stage, script(hot=hot), clients=clients, seconds=seconds, audited=audited
        )

    whole = 0.80 if hot else 0.70
    return Case(
        name=f"{'one hot user' if hot else f'{USERS:,} users'}, {clients} at a time",
        contenders=(
            Contender(LIMIT, generated(orders.least)),
            Contender(NAIVE, generated(orders.naive)),
            Contender(OURS, generated(orders.ours, audited=True)),
            Contender(PYTHON, lambda: _by_python(stage, clients=clients, seconds=seconds, hot=hot)),
        ),
        wanted=(
            Wanted(OURS, LIMIT, Bound(whole)),
            Wanted(PYTHON, LIMIT, Bound(0.50)),
        ),
    )


def _generated(stage: Stage, script: str, *, clients: int, seconds: int, audited: bool) -> Sample:
    def run(seconds: int) -> pgbench.Load:
        return pgbench.run(
            stage, script, database=database, clients=clients, seconds=seconds, texts=orders.TEXTS
        )

    with stage.database() as database:
        first = run(WARM_SECONDS)
        _analyze(stage, database)
        load = run(seconds)
        _check(stage, database, first.transactions + load.transactions)
        if audited:
            stage.audit(database)
        return Sample(load.per_second, {"latency_ms": load.latency_ms})


def _by_python(stage: Stage, *, clients: int, seconds: int, hot: bool) -> Sample:
    def run(seconds: int) -> Any:
        with program(
            stage,
            "accept",
            database_url=stage.url(database),
            clients=clients,
            seconds=seconds,
            hot=hot,
        ) as child:
            return child.told("done")

    with stage.database() as database:
        first = run(WARM_SECONDS)
        _analyze(stage, database)
        done = run(seconds)
        _check(stage, database, first["orders"] + done["orders"])
        stage.audit(database)
        per_second = done["orders"] / done["seconds"]
        return Sample(per_second, {"latency_ms": 1000 * clients / per_second})


def _analyze(stage: Stage, database: str) -> None:
    """As autovacuum does within a minute of a shop's first orders. Without, all sides would be measured
    with plans for a table of which nothing is known."""
    stage.postgres.psql("ANALYZE", database=database)


def _check(stage: Stage, database: str, orders_placed: int) -> None:
    jobs = stage.number("SELECT count(*) FROM jobs", database=database)
    if jobs != orders_placed:
        raise BenchError(f"{orders_placed} orders placed, {jobs} jobs found")


ROW = Row(
    key="accept",
    title="Accept a job: charge and queue",
    unit="orders/s",
    better="more",
    text=(
        "One order: look at the idempotency key, the ban, the circuit breakers, the limit of active "
        "jobs and the balance; then charge, and write the job and the transfer. Rei does it in "
        "one statement; pgbench runs the very text of "
        "`rei_core.jobs.accept_queries.ACCEPT`, the Python row goes through `accept()` and asyncpg "
        "with as many connections as clients, in one process. The limit is a hand-written CTE with "
        "the same writes into the same tables that asks nothing; the naive way is `SELECT … FOR "
        "UPDATE`, two `INSERT`s and an `UPDATE` in a transaction, which asks nothing either. Every "
        "round begins with an empty queue, a second of orders and an ANALYZE, and Rei's end with the "
        "ledger audit."
    ),
    cases=cases,
)

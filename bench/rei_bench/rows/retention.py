"""Five million old rows, removed by a JobRetentionPolicy."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence

from rei_bench import customers, history, psql
from rei_bench.figures import Bound
from rei_bench.plan import Case, Contender, Row, Sample, Scale, Wanted
from rei_bench.policies import Ran, run_policy
from rei_bench.stage import BenchError, Stage
from rei_core.maintenance.resources.jobs import JobRetentionPolicySpec
from rei_core.maintenance.retention.service import sorts

SAME = "the same SQL (psql)"
OURS = "Rei's JobRetentionPolicy"
USUAL = JobRetentionPolicySpec(period_seconds=60)
DAYS_AT_ONCE = 8
"""What one turn removes: after the usual three rounds nearly all of it is gone."""

_ROWS = """
SELECT (SELECT count(*) FROM telegram_updates) + (SELECT count(*) FROM jobs)
     + (SELECT count(*) FROM deliveries)
"""
_TYPES = ("integer", "timestamptz", "bigint", "integer", "boolean", "text", "text")


@contextlib.contextmanager
def cases(stage: Stage, scale: Scale) -> Iterator[Sequence[Case]]:
    jobs = scale.pick(quick=20_000, full=1_000_000)
    alone_seconds = scale.pick(quick=1, full=15)
    with stage.database() as database:
        history.fill(stage, database, jobs=jobs)
        shop = _Shop(stage, database)
        yield [
            Case(
                name=f"{jobs * history.ROWS_OF_A_JOB:,} rows, no pauses",
                contenders=(Contender(SAME, shop.by_psql), Contender(OURS, shop.by_rei)),
                wanted=(Wanted(OURS, SAME, Bound(0.7)),),
            ),
            customers.case(
                f"p99 of {customers.ORDERS_PER_SECOND} orders a second, "
                f"pauses of {USUAL.pause_milliseconds} ms",
                alone=lambda: shop.noticed(lambda: time.sleep(alone_seconds)),
                psql=lambda: shop.noticed(shop.paused_psql),
                rei=lambda: shop.noticed(lambda: shop.run(paused=True)),
            ),
        ]


class _Shop:
    """One set of tables, from which all take turns to remove the oldest days."""

    def __init__(self, stage: Stage, database: str) -> None:
        self._stage = stage
        self._database = database
        self._keep_days = history.YOUNGEST_DAYS + history.DAYS

    def by_psql(self) -> Sample:
        return self._measured(self.remove_by_psql)

    def by_rei(self) -> Sample:
        sample = self._measured(lambda: self.run().seconds)
        self.check()
        return sample

    def _measured(self, remove: Callable[[], float]) -> Sample:
        before = self._stage.number(_ROWS, database=self._database)
        seconds = remove()
        removed = before - self._stage.number(_ROWS, database=self._database)
        if removed <= 0:
            raise BenchError("nothing was removed")
        return Sample(removed / seconds, {"rows": float(removed), "seconds": seconds})

    def noticed(self, work: customers.Work) -> Sample:
        """The p99 of orders while `work` goes on in their database."""
        return customers.orders_beside(self._stage, self._database, work)

    def check(self) -> None:
        """Every kopeck is where it belongs, though its job may be gone."""
        self._stage.postgres.psql("ANALYZE", database=self._database)  # as autovacuum does
        self._stage.audit(self._database)

    def run(self, *, paused: bool = False) -> Ran:
        """The next days, through the policy."""
        days = self._next()
        spec = {
            "periodSeconds": 60,
            **_kept(days),
            "pauseMilliseconds": USUAL.pause_milliseconds if paused else 0,
        }
        return run_policy(self._stage, "JobRetentionPolicy", spec, database=self._database)

    def paused_psql(self) -> None:
        """As the policy does it by default."""
        self.remove_by_psql(paused=True)

    def remove_by_psql(self, *, paused: bool = False) -> float:
        """The next days, by the policy's own statements; the seconds it took."""
        rows = DAYS_AT_ONCE * self._rows_of_a_day()
        lines = script(days=self._next(), rows=rows, paused=paused)
        return psql.run(self._stage, lines, database=self._database)

    def _rows_of_a_day(self) -> int:
        return self._stage.number(_ROWS, database=self._database) // (
            self._keep_days - history.YOUNGEST_DAYS
        )

    def _next(self) -> int:
        self._keep_days -= DAYS_AT_ONCE
        if self._keep_days < history.YOUNGEST_DAYS:
            raise BenchError("everything has been removed: measure fewer rounds")
        return self._keep_days


_WHAT = ("completed", "failed", "cancelled", "outputs", "updates", "drafts", "deliveries", "runs")


def _kept(days: int) -> dict[str, int]:
    """Everything is kept for so many days."""
    return {f"{what}Days": days for what in _WHAT}


def script(*, days: int, rows: int, paused: bool) -> Iterator[str]:
    """Batch after batch of each sort, from where the last one ended, until there is no more."""
    spec = JobRetentionPolicySpec.of({"periodSeconds": 60, **_kept(days)})
    pause = f"SELECT pg_sleep({USUAL.pause_milliseconds / 1000});\n" if paused else ""
    for number, sort in enumerate(sorts(spec)):
        name = f"sort_{number}"
        yield psql.prepared(name, sort.sql, *_TYPES[: 5 + len(sort.extra)])
        extra = "".join(f", '{text}'" for text in sort.extra)
        yield f"\\set last_at ''\n\\set last_id {-(2**63)}\n\\set more true\n"
        batch = (
            f"\\if :more\n{pause}EXECUTE {name}({sort.days}, nullif(:'last_at', '')::timestamptz, "
            f":'last_id', {spec.batch_size}, false{extra}) \\gset\n"
            # What was NULL is not set any more.
            "\\if :{?last_at}\n\\else\n\\set last_at ''\n\\endif\n\\endif\n"
        )
        # A few more than needed: those that find nothing left are passed over.
        for _ in range(2 * rows // spec.batch_size + 10):
            yield batch


ROW = Row(
    key="retention",
    title="Removing what is old",
    unit="rows/s",
    better="more",
    text=(
        "Five million old rows (a million jobs, as many deliveries, three million updates), beside two "
        "million transfers that stay; the jobs' million outputs go with them and are not counted. All "
        f"take turns on the same tables, oldest first, {DAYS_AT_ONCE} percent of the rows at a time; after "
        "three rounds nearly all is gone. Rei's is one run of a JobRetentionPolicy as the operator "
        f"carries it out, with its default batches of {USUAL.batch_size:,} rows; psql runs the very texts "
        "of its queries in the same batches. For the throughput neither pauses; for what customers "
        "notice both pause after each batch as the policy does by default. After each of Rei's turns "
        "the audit must pass."
    ),
    cases=cases,
)

"""What customers notice of work that goes on beside them: the time of their orders."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from rei_bench.children import program
from rei_bench.figures import Bound, percentile
from rei_bench.plan import Case, Contender, Sample, Wanted
from rei_bench.policies import Ran
from rei_bench.stage import BenchError, Stage

ORDERS_PER_SECOND = 50
WARM_SECONDS = 1.0
ALONE = "orders, nothing beside them"
BESIDE_PSQL = "orders beside the same SQL (psql)"
BESIDE_REI = "Rei: orders beside its policy"
WANTED = Wanted(BESIDE_REI, ALONE, Bound(1.5, at_most=True))

Work = Callable[[], Ran | None]
"""What goes on beside the orders; a run tells by itself when it did, without its process's start."""


def orders_beside(stage: Stage, database: str, work: Work) -> Sample:
    """The p99, in milliseconds, of the orders that were due while `work` was at it."""
    url = stage.url(database)
    with program(stage, "paced", database_url=url, per_second=ORDERS_PER_SECOND) as child:
        child.told("started")
        time.sleep(WARM_SECONDS)
        began = time.time()
        ran = work()
        ended = time.time()
        child.ask_to_end()
        orders = child.told("done")["orders"]
    if ran is not None:
        began, ended = ran.began, ran.ended
    return _sample([took for due, took in orders if began <= due <= ended], ended - began)


def _sample(milliseconds: Sequence[float], seconds: float) -> Sample:
    if not milliseconds:
        raise BenchError(f"no order came in {seconds:.1f} s")
    return Sample(
        percentile(milliseconds, 0.99),
        {
            "p50_ms": percentile(milliseconds, 0.5),
            "longest_ms": max(milliseconds),
            "orders": float(len(milliseconds)),
            "seconds": seconds,
        },
    )


def case(
    name: str, *, alone: Callable[[], Sample], psql: Callable[[], Sample], rei: Callable[[], Sample]
) -> Case:  # fmt: skip
    """The p99 of orders with nothing beside them, beside psql, and beside Rei's policy."""
    return Case(
        name=name,
        contenders=(
            Contender(ALONE, alone),
            Contender(BESIDE_PSQL, psql),
            Contender(BESIDE_REI, rei),
        ),
        wanted=(WANTED,),
        unit="ms",
    )

"""A thousand calls of five seconds in one worker process."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from functools import partial

import httpx

from rei_bench.children import peak_megabytes, peer
from rei_bench.figures import Bound
from rei_bench.outside import Outside, gauge, metrics_url, outside, worker
from rei_bench.plan import Case, Contender, Row, Sample, Scale, Wanted
from rei_bench.queues import peer_queue, place_orders
from rei_bench.stage import BenchError, Stage

CALLS = 1_000
IDEAL = "ideal (nothing but the calls)"
OURS = "Rei's worker"
PEERS = ("taskiq", "saq", "arq", "procrastinate")
DONE_SECONDS_MAX = 120.0
LOOK_SECONDS = 0.1


@contextlib.contextmanager
def cases(stage: Stage, scale: Scale) -> Iterator[Sequence[Case]]:
    seconds = scale.pick(quick=2, full=5)
    with outside(stage) as world:
        yield [
            Case(
                name=f"{CALLS:,} calls of {seconds} s",
                contenders=(
                    Contender(IDEAL, lambda: Sample(CALLS / seconds)),
                    *(
                        Contender(f"bare {client}", partial(_floor, stage, world, client, seconds))
                        for client in ("httpx", "aiohttp")
                    ),
                    *(
                        Contender(name, partial(_peer, stage, world, name, seconds))
                        for name in PEERS
                    ),
                    Contender(OURS, partial(_ours, stage, world, seconds)),
                ),
                wanted=(
                    Wanted(OURS, IDEAL, Bound(0.95)),
                ),
            )
        ]  # fmt: skip


def _sample(world: Outside, done_at: float, *, lag_seconds: float, megabytes: float) -> Sample:
    calls = world.calls()
    if len(calls.ended) < CALLS:
        raise BenchError(f"{len(calls.ended)} calls made, {CALLS} wanted")
    seconds = done_at - calls.began[0]
    return Sample(
        CALLS / seconds,
        {
            "seconds": seconds,
            "calls_made": len(calls.began),
            "all_calls_begun_after_seconds": calls.began[-1] - calls.began[0],
            "peak_megabytes": megabytes,
            "longest_loop_lag_seconds": lag_seconds,
        },
    )


def _floor(stage: Stage, world: Outside, client: str, seconds: int) -> Sample:
    world.reset(seconds=seconds)
    with peer(
        stage, "aiohttp", "floor", url=world.url, count=CALLS, **{"with": client}
    ) as child:  # fmt: skip
        done = child.told("done")
    return _sample(
        world, done["at"], lag_seconds=done["lag_seconds"], megabytes=done["peak_megabytes"]
    )


def _peer(stage: Stage, world: Outside, name: str, seconds: int) -> Sample:
    world.reset(seconds=seconds)
    with peer_queue(stage, name) as queue:
        queue.enqueue("call", count=CALLS)
        with queue.working(concurrency=CALLS, count=CALLS, url=world.url) as child:
            done = child.told("done")
    return _sample(
        world, done["at"], lag_seconds=done["lag_seconds"], megabytes=done["peak_megabytes"]
    )


def _ours(stage: Stage, world: Outside, seconds: int) -> Sample:
    world.reset(seconds=seconds)
    stage.flush_redis()
    settings = {"REI_CONCURRENCY": str(CALLS)}
    with stage.database() as database:
        place_orders(stage, database, count=CALLS)
        with worker(
            stage, world, database=database, name="worker", settings=settings
        ) as process:  # fmt: skip
            process.start(wait=False)
            lag = _until_completed(stage, database, metrics_url(process))
            assert process.pid is not None
            megabytes = peak_megabytes(process.pid)
        done_at = float(
            stage.postgres.psql(
                "SELECT extract(epoch FROM max(finished_at)) FROM jobs", database=database
            )
        )
        stage.audit(database)
    if len(world.calls().began) != CALLS:
        raise BenchError("a call was made twice, and the provider is paid for each")
    return _sample(world, done_at, lag_seconds=lag, megabytes=megabytes)


def _until_completed(stage: Stage, database: str, metrics: str) -> float:
    """Wait until the last job is completed; the longest lag that the worker told meanwhile."""
    lag, deadline = 0.0, time.monotonic() + DONE_SECONDS_MAX
    unfinished = "SELECT count(*) FROM jobs WHERE status <> 'completed'"
    while stage.number(unfinished, database=database) > 0:
        if time.monotonic() > deadline:
            raise BenchError(f"not completed in {DONE_SECONDS_MAX:g} s")
        time.sleep(LOOK_SECONDS)
        with contextlib.suppress(httpx.HTTPError):  # not up yet, or too busy to answer
            lag = max(lag, gauge(metrics, "rei_worker_event_loop_lag_seconds"))
    return lag


ROW = Row(
    key="many_calls",
    title="A thousand provider calls in one worker process",
    unit="jobs/s",
    better="more",
    text="",
    cases=cases,
)

"""A second worker joins while a hundred jobs wait."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from functools import partial

from rei_bench.children import Child
from rei_bench.figures import Bound, ideal_seconds
from rei_bench.outside import Calls, Outside, outside, worker
from rei_bench.plan import Case, Contender, Row, Sample, Scale, Wanted
from rei_bench.queues import peer_queue, place_orders
from rei_bench.stage import BenchError, Stage

JOBS = 100
SLOTS = 5
IDEAL = "perfect split"
OURS = "Rei"
TASKIQ = "taskiq's default"
SAQ = "SAQ"
ENDED_SECONDS_MAX = 120.0
LOOK_SECONDS = 0.05


@contextlib.contextmanager
def cases(stage: Stage, scale: Scale) -> Iterator[Sequence[Case]]:
    seconds = 1.0 if not scale.quick else 0.5
    with outside(stage) as world:
        yield [
            Case(
                name=f"{JOBS} jobs of {seconds:g} s, {SLOTS} slots a worker",
                contenders=(
                    Contender(IDEAL, lambda: Sample(1)),
                    Contender(TASKIQ, partial(_peer, stage, world, "taskiq", seconds)),
                    Contender(SAQ, partial(_peer, stage, world, "saq", seconds)),
                    Contender(OURS, partial(_ours, stage, world, seconds)),
                ),
                wanted=(Wanted(OURS, IDEAL, Bound(1.1, at_most=True)),),
            )
        ]


def _peer(stage: Stage, world: Outside, name: str, seconds: float) -> Sample:
    world.reset(seconds=seconds)

    def working() -> AbstractContextManager[Child]:
        return queue.working(concurrency=SLOTS, count=JOBS, url=world.url)

    with peer_queue(stage, name) as queue, working() as first:
        first.told("ready")
        queue.enqueue("call", count=JOBS)
        _until(world, lambda calls: len(calls.began) > 0)
        with working() as second:
            joined_at = second.told("ready")["at"]
            calls = _until(world, lambda calls: len(calls.ended) >= JOBS)
    return _sample(calls, joined_at, seconds)


def _ours(stage: Stage, world: Outside, seconds: float) -> Sample:
    world.reset(seconds=seconds)
    stage.flush_redis()
    settings = {"REI_CONCURRENCY": str(SLOTS)}
    with (
        stage.database() as database,
        worker(stage, world, database=database, name="first", settings=settings) as first,
        worker(stage, world, database=database, name="second", settings=settings) as second,
    ):
        first.start()
        place_orders(stage, database, count=JOBS)
        _until(world, lambda calls: len(calls.began) > 0)
        second.start()
        joined_at = time.time()
        calls = _until(world, lambda calls: len(calls.ended) >= JOBS)
    return _sample(calls, joined_at, seconds)


def _until(world: Outside, condition: Callable[[Calls], bool]) -> Calls:
    deadline = time.monotonic() + ENDED_SECONDS_MAX
    while not condition(calls := world.calls()):
        if time.monotonic() > deadline:
            raise BenchError(f"{len(calls.ended)} of {JOBS} jobs ended in {ENDED_SECONDS_MAX:g} s")
        time.sleep(LOOK_SECONDS)
    return calls


def _sample(calls: Calls, joined_at: float, seconds: float) -> Sample:
    """The time from the joining to the last end, in times of the perfect split's."""
    began = [at for at in calls.began if at < joined_at]
    busy = [at + seconds - joined_at for at in began if at + seconds > joined_at]
    waiting = JOBS - len(began)
    if waiting <= 0:
        raise BenchError("nothing was left for the second worker")
    ideal = ideal_seconds(
        busy=busy, free=2 * SLOTS - len(busy), waiting=waiting, seconds=seconds
    )  # fmt: skip
    took = calls.ended[-1] - joined_at
    return Sample(took / ideal, {"seconds": took, "ideal_seconds": ideal, "waiting": waiting})


ROW = Row(
    key="second_worker",
    title="A second worker joins with a hundred jobs queued",
    unit="times the perfect split",
    better="less",
    text=(
        f"A worker with {SLOTS} slots is up, {JOBS} jobs are queued (each one HTTP call), and as soon "
        "as the first call has begun a second worker is started. From the moment it says that it is "
        "ready, what was still waiting could be done by both in the time of the perfect split, which "
        "is computed from what waited and what ran in that moment; jobs cannot be cut. taskiq's "
        "stream broker takes up to a hundred entries into one process, so its second worker finds "
        "nothing to do. Rei's are the real worker processes."
    ),
    cases=cases,
)

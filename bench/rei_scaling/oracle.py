"""The least that the orders of a scenario could have waited, and the least that this could cost.

It knows every order and how long its picture will take. It may order a pod before the order comes
that needs it, fill pods to the last slot whichever they are, and let one go in the moment in which
it is not needed. It may not have more pods than the ceiling allows, pays for a pod from its order
on, start-up and stop included, takes orders in turn, interrupts none, and never goes below one pod.

So no autoscaler can make customers wait less, and none that makes them wait as little can do it for
less: both are bounds. That they are reachable is not said.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence

from rei_scaling.arrivals import Order
from rei_scaling.figures import Outcome
from rei_scaling.policy import World

PODS_MIN = 1

Interval = tuple[float, float]


def oracle(
    orders: Sequence[Order], world: World, *, until: float
) -> tuple[Outcome, list[Interval]]:
    """The outcome, and from when to when each of its pods is there."""
    starts = _starts(orders, slots=world.slots * world.pods_max)
    pods = [
        interval
        for level in range(world.pods_max)
        for interval in _kept(level, orders, starts, world, until=until)
    ]
    outcome = Outcome(
        queued=tuple(start - order.at for order, start in zip(orders, starts, strict=True)),
        waited=tuple(
            start + order.seconds - order.at for order, start in zip(orders, starts, strict=True)
        ),
        pod_seconds=sum(end - begin for begin, end in pods),
    )
    return outcome, pods


def _starts(orders: Sequence[Order], *, slots: int) -> list[float]:
    """When each is begun if all slots that there may be are always there."""
    free: list[float] = [0.0] * slots
    starts = []
    for order in orders:
        start = max(order.at, heapq.heappop(free))
        heapq.heappush(free, start + order.seconds)
        starts.append(start)
    return starts


def _kept(
    level: int, orders: Sequence[Order], starts: Sequence[float], world: World, *, until: float
) -> Iterator[Interval]:
    """From when to when the pod number `level` is there: while more jobs run than those before it
    can take, and through gaps in which going and coming back would cost more."""
    if level < PODS_MIN:
        yield 0.0, until
        return
    begun: float | None = None
    ended = 0.0
    for begin, end in _busy(level * world.slots, orders, starts):
        ordered = max(0.0, begin - world.start_seconds)
        if begun is None:
            begun = ordered
        elif ordered > ended:
            yield begun, ended
            begun = ordered
        ended = end + world.stop_seconds
    if begun is not None:
        yield begun, ended


def _busy(more_than: int, orders: Sequence[Order], starts: Sequence[float]) -> Iterator[Interval]:
    """When more than so many jobs run at once."""
    changes = [(start, 1) for start in starts]
    changes += [
        (start + order.seconds, -1) for order, start in zip(orders, starts, strict=True)
    ]  # fmt: skip
    running, begun = 0, 0.0
    for at, change in sorted(changes):
        running += change
        if change > 0 and running == more_than + 1:
            begun = at
        elif change < 0 and running == more_than:
            yield begun, at

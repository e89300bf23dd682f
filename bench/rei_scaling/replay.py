"""Orders, queue, pods and autoscaler, event by event.

The workers are as Rei's: whoever has a free slot takes the oldest order, at once, and which of those
it is, is chance. The numbers go the way they go in a cluster, each step at its own pace and with its
own phase: the operator counts, Prometheus scrapes, the HPA asks (with at least one pod KEDA asks
Prometheus whenever the HPA does). A pod that is let go takes nothing more, and is there, and paid for,
until its last job has ended. Which one is let go is decided as in a ReplicaSet: one that has not
started, then the one of the lowest deletion cost, then chance; the costs are written as the operator
writes them, by its own code.
"""

from __future__ import annotations

import heapq
import random
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rei_core.jobs.read_queries import MEAN_OF_JOBS
from rei_operator.deletion_costs import changes
from rei_scaling.arrivals import Order
from rei_scaling.figures import Outcome
from rei_scaling.hpa import Autoscaler
from rei_scaling.policy import Policy, World


@dataclass(slots=True, eq=False)
class Pod:
    """A worker's."""

    name: str
    ordered_at: float
    ready: bool = False
    leaving: bool = False
    running: int = 0
    cost: int = 0


@dataclass(frozen=True, slots=True)
class Moment:
    """How things stood, for a picture of it."""

    at: float
    pods: int
    """Those that are there, starting and leaving ones too."""
    queued: int
    running: int


@dataclass(frozen=True, slots=True)
class Numbers:
    """The queue as it was counted."""

    due: int = 0
    processing: int = 0
    mean_seconds: float | None = None


class Replay:
    """One replay; `run` it once."""

    def __init__(
        self, orders: Sequence[Order], policy: Policy, world: World, *, until: float, seed: int = 0
    ) -> None:
        self._orders = orders
        self._policy = policy
        self._world = world
        self._until = until
        self._dice = random.Random(seed)
        self._now = 0.0
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._number = 0
        self._queue: deque[Order] = deque()
        self._pods: list[Pod] = []
        self._made = 0
        self._replicas = policy.pods_min
        self._recent: deque[float] = deque(maxlen=MEAN_OF_JOBS)
        self._counted = self._scraped = Numbers()
        self._queued: list[float] = []
        self._waited: list[float] = []
        self._pod_seconds = 0.0
        self._taken_busy = 0
        self.moments: list[Moment] = []
        self._autoscaler = Autoscaler(
            target=policy.target(world),
            replicas_min=policy.pods_min,
            replicas_max=world.pods_max,
            behavior=policy.behavior,
        )

    def run(self) -> Outcome:
        """Replay all of it."""
        for _ in range(self._replicas):
            self._start_pod(ready=True)
        self._every(self._policy.count_seconds, self._count)
        self._every(self._policy.scrape_seconds, self._scrape)
        self._every(self._policy.sync_seconds, self._sync)
        if self._policy.marks_busy:
            self._every(self._policy.cost_seconds, self._mark)
        for order in self._orders:
            self._work_until(order.at)
            self._queue.append(order)
            self._take()
        self._work_until(self._until)
        assert len(self._waited) == len(self._orders), "the time was too short for all orders"
        for pod in self._pods:
            self._pod_seconds += self._until - pod.ordered_at
        return Outcome(
            queued=tuple(self._queued),
            waited=tuple(self._waited),
            pod_seconds=self._pod_seconds,
            taken_busy=self._taken_busy,
        )

    def _work_until(self, moment: float) -> None:
        while self._events and self._events[0][0] <= moment:
            self._now, _, happens = heapq.heappop(self._events)
            happens()
        self._now = moment

    def _at(self, moment: float, happens: Callable[[], None]) -> None:
        self._number += 1  # equal moments in the order in which they were planned
        heapq.heappush(self._events, (moment, self._number, happens))

    def _every(self, seconds: float, happens: Callable[[], None]) -> None:
        def again() -> None:
            happens()
            self._at(self._now + seconds, again)

        self._at(self._dice.uniform(0, seconds), again)

    # The work

    def _take(self) -> None:
        while self._queue:
            free = [
                pod
                for pod in self._pods
                if pod.ready and not pod.leaving and pod.running < self._world.slots
            ]
            if not free:
                return
            self._begin(self._queue.popleft(), self._dice.choice(free))

    def _begin(self, order: Order, pod: Pod) -> None:
        pod.running += 1
        self._queued.append(self._now - order.at)
        self._at(self._now + order.seconds, lambda: self._end(order, pod))

    def _end(self, order: Order, pod: Pod) -> None:
        pod.running -= 1
        self._waited.append(self._now - order.at)
        self._recent.append(order.seconds)
        if pod.leaving and pod.running == 0:
            self._leave(pod)
        self._take()

    # The pods

    def _start_pod(self, *, ready: bool = False) -> None:
        self._made += 1
        pod = Pod(f"pod-{self._made}", self._now, ready=ready)
        self._pods.append(pod)
        if not ready:
            self._at(self._now + self._world.start_seconds, lambda: self._is_ready(pod))

    def _is_ready(self, pod: Pod) -> None:
        if not pod.leaving:
            pod.ready = True
            self._take()

    def _let_go(self, count: int) -> None:
        staying = [pod for pod in self._pods if not pod.leaving]
        staying.sort(key=lambda pod: (pod.ready, pod.cost, self._dice.random()))
        for pod in staying[:count]:
            pod.leaving = True
            self._taken_busy += pod.running
            if pod.running == 0:
                self._leave(pod)

    def _leave(self, pod: Pod) -> None:
        self._pods.remove(pod)
        self._pod_seconds += self._now + self._world.stop_seconds - pod.ordered_at

    # The autoscaler, and what it goes by

    def _count(self) -> None:
        mean = sum(self._recent) / len(self._recent) if self._recent else None
        self._counted = Numbers(len(self._queue), self._running(), mean)

    def _scrape(self) -> None:
        self._scraped = self._counted

    def _sync(self) -> None:
        seen = self._scraped
        usage = self._policy.signal(
            due=seen.due, processing=seen.processing, mean_seconds=seen.mean_seconds
        )
        wanted = self._autoscaler.sync(self._now, usage=usage, replicas=self._replicas)
        if wanted < self._replicas:
            self._let_go(self._replicas - wanted)
        for _ in range(wanted - self._replicas):
            self._start_pod()
        self._replicas = wanted
        self.moments.append(
            Moment(self._now, len(self._pods), len(self._queue), self._running())
        )  # fmt: skip

    def _mark(self) -> None:
        running = {pod.name: pod.running for pod in self._pods if pod.running}
        by_name = {pod.name: pod for pod in self._pods}
        for name, cost in changes(running, {pod.name: pod.cost for pod in self._pods}).items():
            by_name[name].cost = cost

    def _running(self) -> int:
        return sum(pod.running for pod in self._pods)

"""The work queue: each resource by itself, one at a time, and again when its time has come.

Guarantees: a resource is never worked on twice at once; what wakes it meanwhile is not lost, and
makes one more round, not many; one that fails comes back after a delay that doubles, whatever
wakes it meanwhile, unless it has really changed; one that waits costs nothing but a place in a heap.
Nothing is remembered that cannot be found out again: after a restart everything is looked at once.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol

import structlog

log = structlog.get_logger(__name__)

BACKOFF_SECONDS: Final = 1.0
BACKOFF_SECONDS_MAX: Final = 300.0
DRAIN_SECONDS: Final = 20.0
TICK_SECONDS_MAX: Final = 5.0
"""The loop turns at least so often, so that it can be seen whether it does."""


class Key(NamedTuple):
    """Who: kind, namespace, name."""

    kind: str
    namespace: str
    name: str


class Clock(Protocol):
    """Seconds that only grow, and a way to wait for them."""

    def now(self) -> float: ...

    async def wait(self, changed: asyncio.Event, until: float) -> None:
        """Return when `changed` is set, or at `until`."""
        ...


class LoopClock:
    """The event loop's own clock."""

    def now(self) -> float:
        return asyncio.get_running_loop().time()

    async def wait(self, changed: asyncio.Event, until: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout_at(until):
                await changed.wait()


@dataclass
class _State:
    due_at: float | None = None
    working: bool = False
    failures: int = 0
    woken: bool = False


Reconcile = Callable[[Key], Awaitable[float | None]]
"""Work on a resource; the seconds after which to look again, None for when it changes."""


class Reconciler:
    """Runs `reconcile` for every key that is woken or due, `concurrency_max` at a time."""

    def __init__(
        self,
        reconcile: Reconcile,
        *,
        clock: Clock,
        concurrency_max: int,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._reconcile = reconcile
        self._clock = clock
        self._concurrency_max = concurrency_max
        self._jitter = jitter
        self._states: dict[Key, _State] = {}
        self._heap: list[tuple[float, int, Key]] = []
        self._numbers = itertools.count()
        self._changed = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._stopping = False
        self.ticked_at = clock.now()

    @property
    def known(self) -> int:
        """How many resources wait for their time or are worked on."""
        return len(self._states)

    @property
    def working(self) -> int:
        return len(self._tasks)

    def wake(self, key: Key, *, changed: bool = True) -> None:
        """Look at this resource now. Not `changed`: only if it is not waiting after a failure."""
        state = self._states.setdefault(key, _State())
        if state.working:
            state.woken |= changed
            return
        if state.failures and not changed:
            return
        self._schedule(key, state, self._clock.now())

    def stop(self) -> None:
        """Begin nothing more; `run` returns when what runs has ended, or was cut off."""
        self._stopping = True
        self._changed.set()

    async def run(self) -> None:
        """Work until `stop`."""
        try:
            while not self._stopping:
                self.ticked_at = self._clock.now()
                self._changed.clear()
                self._start_what_is_due()
                await self._clock.wait(self._changed, self._next_look())
        finally:
            await self._drain()

    def _next_look(self) -> float:
        latest = self._clock.now() + TICK_SECONDS_MAX
        if not self._heap or len(self._tasks) >= self._concurrency_max:
            return latest
        return min(latest, self._heap[0][0])

    def _start_what_is_due(self) -> None:
        now = self._clock.now()
        while self._heap and len(self._tasks) < self._concurrency_max:
            due_at, _, key = self._heap[0]
            state = self._states.get(key)
            if state is None or state.due_at != due_at:
                heapq.heappop(self._heap)  # moved, or gone
                continue
            if due_at > now:
                return
            heapq.heappop(self._heap)
            state.due_at, state.working, state.woken = None, True, False
            task = asyncio.create_task(self._work(key, state), name=f"reconcile {'/'.join(key)}")
            self._tasks.add(task)
            task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._changed.set()

    async def _work(self, key: Key, state: _State) -> None:
        delay: float | None = None
        try:
            delay = await self._reconcile(key)
            state.failures = 0
        except Exception as error:  # whatever it is, only this resource waits
            state.failures += 1
            delay = self._backoff(state.failures)
            log.warning(
                "reconcile.failed",
                kind=key.kind,
                namespace=key.namespace,
                name=key.name,
                error=f"{type(error).__name__}: {error}",
                retry_seconds=round(delay, 1),
            )
        finally:
            state.working = False
        if state.woken:
            delay = 0.0
        if delay is None:
            del self._states[key]  # nothing to remember: whoever wakes it makes it anew
        else:
            self._schedule(key, state, self._clock.now() + delay)

    def _backoff(self, failures: int) -> float:
        longest = min(BACKOFF_SECONDS_MAX, BACKOFF_SECONDS * 2.0 ** min(failures - 1, 20))
        return longest * (0.5 + self._jitter() / 2)

    def _schedule(self, key: Key, state: _State, due_at: float) -> None:
        if state.due_at is not None and state.due_at <= due_at:
            return
        state.due_at = due_at
        heapq.heappush(self._heap, (due_at, next(self._numbers), key))
        self._changed.set()

    async def _drain(self) -> None:
        if not self._tasks:
            return
        _, late = await asyncio.wait(self._tasks, timeout=DRAIN_SECONDS)
        for task in late:
            task.cancel()
        if late:
            log.warning("reconciler.cut_off", resources=len(late))
            await asyncio.gather(*late, return_exceptions=True)

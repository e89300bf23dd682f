"""Notifications: sent when something changes, and again until somebody answers 200.

As the real ones they are unsigned, carry the object as it was at the moment of the change, and
give up after 24 h. The clock of the retries runs `notification_speedup` times faster than that.
A receiver that is dead, slow or wrong changes nothing but the number of attempts.
"""

from __future__ import annotations

import asyncio
import uuid
from collections import Counter, deque
from collections.abc import Coroutine
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

import aiohttp

from rei_sandbox.calls import Calls
from rei_sandbox.faults import NOTIFICATION_KINDS, Fault, Faults

GIVE_UP_SECONDS: Final = 24 * 3600.0
RETRY_FIRST_SECONDS: Final = 60.0
RETRY_SECONDS_MAX: Final = 3600.0
COPIES: Final = 10
LATE_SECONDS: Final = 5.0
HELD_SECONDS: Final = 2.0
WAITING_MAX: Final = 2000
HISTORY_MAX: Final = 500

SENDING_KINDS: Final = tuple(kind for kind in NOTIFICATION_KINDS if kind != "forged")


@dataclass
class Sent:
    """One notification and what became of it."""

    event: str
    object_id: str
    at: datetime
    body: dict[str, Any]
    fault: str = ""
    attempts: int = 0
    statuses: list[int | str] = field(default_factory=list)
    outcome: str = "waiting"
    """waiting, delivered, lost or given_up"""


class Notifier:
    """Sends notifications to `url`, which may be changed at any time."""

    def __init__(
        self, *, url: str, speedup: float, timeout_seconds: float, faults: Faults, calls: Calls
    ) -> None:
        self.url = url
        self.history: deque[Sent] = deque(maxlen=HISTORY_MAX)
        self._speedup = speedup
        self._timeout = aiohttp.ClientTimeout(total=timeout_seconds)
        self._faults = faults
        self._calls = calls
        self._session: aiohttp.ClientSession | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._held: list[asyncio.Event] = []

    async def start(self) -> None:
        self._session = aiohttp.ClientSession(timeout=self._timeout)

    async def close(self) -> None:
        """Stop sending; what was not delivered yet is forgotten."""
        await self.clear()
        if self._session is not None:
            await self._session.close()

    async def clear(self) -> None:
        """Forget the past, and everything not delivered yet."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self.history.clear()

    def send(self, event: str, shown: dict[str, Any]) -> None:
        """Notify of `event` of the object `shown`, or do what a waiting fault wants instead."""
        subject = str(shown.get("payment_id", shown["id"]))
        fault = self._faults.take("yookassa", "notification", subject=subject, kinds=SENDING_KINDS)
        sent = self._noted(event, shown, fault.kind if fault else "")
        self._release_held()
        if fault is None:
            self._spawn(self._deliver(sent))
        elif fault.kind == "lost":
            sent.outcome = "lost"
        elif fault.kind == "duplicated":
            self._spawn(self._deliver(sent))
            for _ in range(COPIES - 1):
                self._spawn(self._deliver(self._noted(event, shown, "duplicated")))
        elif fault.kind == "late":
            self._spawn(self._deliver_late(sent, fault))
        else:
            self._spawn(self._deliver_reordered(sent, fault))

    def forge(self, shown: dict[str, Any], *, delay_seconds: float) -> None:
        """Send what no YooKassa has sent: a success that is not true, and one of nobody."""
        unknown = {**shown, "id": str(uuid.uuid4())}
        for lie in (shown, unknown):
            sent = self._noted("payment.succeeded", lie, "forged")
            self._spawn(self._deliver_late(sent, Fault("forged", delay_seconds)))

    def counts(self) -> dict[str, int]:
        """Numbers by outcome, with `sent` (all), `attempts` and the faulty ones by fault."""
        counts: Counter[str] = Counter()
        for sent in self.history:
            counts["sent"] += 1
            counts["attempts"] += sent.attempts
            counts[sent.outcome] += 1
            if sent.fault and sent.fault != sent.outcome:
                counts[sent.fault] += 1
        return dict(counts)

    def _noted(self, event: str, shown: dict[str, Any], fault: str) -> Sent:
        body = {"type": "notification", "event": event, "object": shown}
        sent = Sent(event, str(shown["id"]), datetime.now(UTC), body, fault)
        self.history.append(sent)
        return sent

    async def _deliver_late(self, sent: Sent, fault: Fault) -> None:
        default = 0.0 if fault.kind == "forged" else LATE_SECONDS
        await asyncio.sleep(fault.delay_seconds or default)
        await self._deliver(sent)

    async def _deliver_reordered(self, sent: Sent, fault: Fault) -> None:
        """Let the next notification pass first; a success is followed by its own past."""
        passed = asyncio.Event()
        self._held.append(passed)
        try:
            async with asyncio.timeout(fault.delay_seconds or HELD_SECONDS):
                await passed.wait()
                await asyncio.sleep(0.2)  # the other one is only on its way when it is announced
        except TimeoutError:
            pass
        finally:
            self._held.remove(passed)
        await self._deliver(sent)
        if sent.event == "payment.succeeded":
            stale = {**sent.body["object"], "status": "waiting_for_capture"}
            await self._deliver(self._noted("payment.waiting_for_capture", stale, "reordered"))

    def _release_held(self) -> None:
        for passed in self._held:
            passed.set()

    async def _deliver(self, sent: Sent) -> None:
        """Post until 200 comes back, for 24 h of the sped-up clock."""
        delay_seconds, spent_seconds = RETRY_FIRST_SECONDS, 0.0
        while True:
            if await self._post(sent):
                sent.outcome = "delivered"
                return
            if spent_seconds + delay_seconds > GIVE_UP_SECONDS:
                sent.outcome = "given_up"
                return
            await asyncio.sleep(delay_seconds / self._speedup)
            spent_seconds += delay_seconds
            delay_seconds = min(delay_seconds * 2, RETRY_SECONDS_MAX)

    async def _post(self, sent: Sent) -> bool:
        assert self._session is not None, "start() comes first"
        sent.attempts += 1
        try:
            async with self._session.post(self.url, json=sent.body) as response:
                status: int | str = response.status
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            status = type(error).__name__
        if len(sent.statuses) < COPIES:
            sent.statuses.append(status)
        self._calls.record(
            "yookassa",
            "notification",
            "delivered" if status == 200 else f"refused:{status}",
            subject=sent.object_id,
            detail=sent.event,
        )
        return status == 200

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        if len(self._tasks) >= WAITING_MAX:
            work.close()  # a receiver dead for long must not fill the memory
            return
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

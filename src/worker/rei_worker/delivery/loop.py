"""Which deliveries are carried out when: claimed as slots are free, rung for and by the clock.

What is being sent is leased and the lease renewed, as with jobs: a process that dies or freezes in
the middle of a send holds the customer's picture back for a lease and no longer.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import structlog

from rei_core.db import Pool
from rei_core.deliveries import queries
from rei_core.deliveries.model import Delivery
from rei_worker.delivery.courier import Courier
from rei_worker.storage import ACQUIRE_SECONDS_MAX

logger = structlog.get_logger(__name__)

SLOTS = 16
"""Sends at a time in a process; each holds one picture in memory."""


@dataclass(slots=True, eq=False)
class Sending:
    """A delivery on its way. `lapses_at` is on the loop's clock."""

    delivery: Delivery
    lapses_at: float

    def is_ours(self) -> bool:
        return asyncio.get_running_loop().time() < self.lapses_at


class DeliveryLoop:
    """Claims due deliveries and gives each to the courier.

    Renewals go over `lease_pool`, where nothing else waits for a connection.
    """

    def __init__(
        self,
        *,
        pool: Pool,
        lease_pool: Pool,
        courier: Courier,
        poll_seconds: float,
        lease_seconds: float,
    ) -> None:
        self._pool = pool
        self._lease_pool = lease_pool
        self._courier = courier
        self._poll_seconds = poll_seconds
        self._lease_seconds = lease_seconds
        self._wake = asyncio.Event()
        self._stopping = False
        self._sending: dict[asyncio.Task[None], Sending] = {}

    def nudge(self) -> None:
        """Look for due deliveries soon."""
        self._wake.set()

    def stop(self) -> None:
        """Let `run` return after the claim it is at: cancelling it could lose what was claimed."""
        self._stopping = True
        self._wake.set()

    async def run(self) -> None:
        """Claim and deliver until `stop`."""
        while not self._stopping:
            self._wake.clear()
            try:
                await self.fill()
            except Exception as error:  # the database is away, or worse: the next look comes
                logger.warning("deliveries.claim_failed", error=type(error).__name__)
            try:
                async with asyncio.timeout(self._poll_seconds):
                    await self._wake.wait()
            except TimeoutError:
                continue

    async def fill(self) -> int:
        """Start what is due, as far as there are slots; how many are being sent now."""
        free = SLOTS - len(self._sending)
        if free > 0:
            claimed_at = asyncio.get_running_loop().time()
            async with (
                asyncio.timeout(ACQUIRE_SECONDS_MAX),
                self._pool.acquire(timeout=ACQUIRE_SECONDS_MAX) as connection,
            ):
                due = await queries.claim(connection, limit=free, lease_seconds=self._lease_seconds)
            for delivery in due:
                self._start(Sending(delivery, claimed_at + self._lease_seconds))
        return len(self._sending)

    def _start(self, sending: Sending) -> None:
        task = asyncio.create_task(
            self._courier.deliver(sending.delivery, is_ours=sending.is_ours),
            name=f"delivery-{sending.delivery.id}",
        )
        self._sending[task] = sending
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        del self._sending[task]
        # A result that was just shown has queued its original.
        self.nudge()

    async def keep_leases(self) -> None:
        """Renew three times per lease until cancelled, and more often after a failure."""
        renewed = True
        while True:
            await asyncio.sleep(self._lease_seconds / (3 if renewed else 10))
            try:
                await self._renew()
                renewed = True
            except Exception as error:  # whatever it is: at worst a message is sent twice
                renewed = False
                logger.warning("deliveries.not_renewed", error=type(error).__name__)

    async def _renew(self) -> None:
        sendings = [sending for sending in self._sending.values() if sending.is_ours()]
        if not sendings:
            return
        asked_at = asyncio.get_running_loop().time()
        seconds_max = min(ACQUIRE_SECONDS_MAX, self._lease_seconds / 6)
        async with (
            asyncio.timeout(seconds_max),
            self._lease_pool.acquire(timeout=seconds_max) as connection,
        ):
            await queries.renew(
                connection,
                [sending.delivery for sending in sendings],
                lease_seconds=self._lease_seconds,
            )
        for sending in sendings:
            sending.lapses_at = asked_at + self._lease_seconds

    async def drain(self, *, seconds: float) -> None:
        """Deliver what is due until nothing is, for a while. What is left another worker sends."""
        deadline = asyncio.get_running_loop().time() + seconds
        try:
            while (left := deadline - asyncio.get_running_loop().time()) > 0:
                if await self.fill() == 0:
                    return
                await asyncio.wait(self._sending, timeout=left, return_when=asyncio.FIRST_COMPLETED)
        except Exception as error:
            logger.warning("deliveries.claim_failed", error=type(error).__name__)
        if self._sending:
            left = deadline - asyncio.get_running_loop().time()
            await asyncio.wait(self._sending, timeout=max(left, 1))

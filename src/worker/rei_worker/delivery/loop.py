"""Which deliveries are carried out when: claimed as slots are free, rung for and by the clock."""

from __future__ import annotations

import asyncio

import structlog

from rei_core.db import Pool
from rei_core.deliveries import queries
from rei_core.deliveries.model import Delivery
from rei_worker.delivery.courier import LEASE_SECONDS, Courier
from rei_worker.storage import ACQUIRE_SECONDS_MAX

logger = structlog.get_logger(__name__)

SLOTS = 16
"""Sends at a time in a process; each holds one picture in memory."""


class DeliveryLoop:
    """Claims due deliveries and gives each to the courier."""

    def __init__(self, *, pool: Pool, courier: Courier, poll_seconds: float) -> None:
        self._pool = pool
        self._courier = courier
        self._poll_seconds = poll_seconds
        self._wake = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    def nudge(self) -> None:
        """Look for due deliveries soon."""
        self._wake.set()

    async def run(self) -> None:
        """Claim and deliver until cancelled."""
        while True:
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
        free = SLOTS - len(self._tasks)
        if free > 0:
            async with (
                asyncio.timeout(ACQUIRE_SECONDS_MAX),
                self._pool.acquire() as connection,
            ):
                due = await queries.claim(connection, limit=free, lease_seconds=LEASE_SECONDS)
            for delivery in due:
                self._start(delivery)
        return len(self._tasks)

    def _start(self, delivery: Delivery) -> None:
        task = asyncio.create_task(self._courier.deliver(delivery), name=f"delivery-{delivery.id}")
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        # A result that was just shown has queued its original.
        self.nudge()

    async def drain(self, *, seconds: float) -> None:
        """Deliver what is due until nothing is, for a while. What is left another worker sends."""
        deadline = asyncio.get_running_loop().time() + seconds
        try:
            while (left := deadline - asyncio.get_running_loop().time()) > 0:
                if await self.fill() == 0:
                    return
                await asyncio.wait(self._tasks, timeout=left, return_when=asyncio.FIRST_COMPLETED)
        except Exception as error:
            logger.warning("deliveries.claim_failed", error=type(error).__name__)
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=1)

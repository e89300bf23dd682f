"""Customers of a release, who top up, order and cancel for as long as something is tried on it."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta

import httpx

from rei_core.db import Pool
from rei_sandbox.chaos.chats import Chats
from rei_sandbox.chaos.customers import Customer, Deeds
from rei_sandbox.chaos.report import ATTEMPTS, Report, account
from rei_sandbox.chaos.run import settle_all, yookassa

from .forward import forwarded
from .outside import PORT
from .release import Release

CUSTOMERS = 6
ORDERS = 2
"""Of one visit; then the customer comes again."""
SEED = 1
LEAVE_SECONDS_MAX = 240.0
WAY_SECONDS_MAX = 120.0
SLOW_PICTURES = 150
"""More than are ordered in an upgrade, and less than the faults that a sandbox takes."""


class PatientTransport(httpx.AsyncHTTPTransport):
    """The way to the sandbox goes with the kubelet, and is made again: nobody there refused it."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        end = time.monotonic() + WAY_SECONDS_MAX
        while True:
            try:
                return await super().handle_async_request(request)
            except httpx.ConnectError:
                if time.monotonic() > end:
                    raise
                await asyncio.sleep(0.2)


class Crowd:
    """What they did, and what became of it: `report`, once the block is left."""

    def __init__(self, release: Release, *, http: httpx.AsyncClient, say: Callable[[str], None]):
        self.report = Report(seed=SEED)
        self._release = release
        self._http = http
        self._say = say
        self._chats, self._deeds = Chats(http), Deeds()
        self._over = False
        self._retries_before = 0
        # All that was ever paid there: the ledger remembers earlier customers too.
        self._began = datetime.now(UTC) - timedelta(days=1)

    @property
    def retried(self) -> int:
        """Attempts beyond the first while these customers were there."""
        return self.report.retries - self._retries_before

    async def wait_for_pictures(self, *, seconds: float) -> None:
        """From now on pictures take up to so much longer, so that somebody always waits for one.

        Each takes another time: else all customers would soon wait, and not wait, together.
        """
        for number in range(SLOW_PICTURES):
            fault = {
                "service": "gemini", "kind": "slow", "operation": "generate",
                "delay_seconds": seconds * (1 + number % 3) / 3,
            }  # fmt: skip
            (await self._http.post("/_sandbox/faults", json=fault)).raise_for_status()

    @property
    def orders(self) -> int:
        """Confirmed by a click which Telegram took."""
        return len(self._deeds.pressed)

    @contextlib.asynccontextmanager
    async def at_work(self) -> AsyncIterator[None]:
        """Leaving it waits until each order has come to its end, and accounts for all of it."""
        async with self._release.database() as pool:
            self._retries_before = await pool.fetchval(ATTEMPTS)
        listening = asyncio.create_task(self._chats.listen())
        try:
            living = asyncio.gather(*[self._live(number) for number in range(CUSTOMERS)])
            try:
                yield
                self._over = True
                (await self._http.delete("/_sandbox/faults")).raise_for_status()
                async with asyncio.timeout(LEAVE_SECONDS_MAX):
                    await living
            finally:
                living.cancel()
                await asyncio.gather(living, return_exceptions=True)
            async with self._release.database() as pool:
                await self._account(pool)
        finally:
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)

    async def busy(self, *, jobs: int) -> None:
        """Wait for so many more orders: what is tried is tried on a release that is used."""
        wanted = self.orders + jobs
        async with asyncio.timeout(LEAVE_SECONDS_MAX):
            while self.orders < wanted:  # noqa: ASYNC110 - the customers have no event for it
                await asyncio.sleep(0.1)

    async def _live(self, number: int) -> None:
        body = {"first_name": f"К{number}", "language_code": "ru"}
        answer = await self._http.post("/_sandbox/telegram/users", json=body)
        answer.raise_for_status()
        rng = random.Random(SEED + number)
        while not self._over:
            customer = Customer(
                answer.json()["user"]["id"], http=self._http, chats=self._chats,
                deeds=self._deeds, rng=rng, orders=ORDERS,
            )  # fmt: skip
            await customer.live()

    async def _account(self, pool: Pool) -> None:
        client = yookassa(str(self._http.base_url).rstrip("/"))
        try:
            await settle_all(pool, client, tell=lambda _: None)
            state = (await self._http.get("/_sandbox/state")).json()
            made = state["calls"].get("gemini", {}).get("made", {})
            async with pool.acquire() as connection:
                await account(
                    self.report, connection, client, self._deeds, since=self._began,
                    pictures_made=sum(made.values()), delivered=self._chats.delivered,
                    undeliverable_expected=0,
                )  # fmt: skip
        finally:
            await client.aclose()
        self._say(
            f"{self.orders} orders, {self.report.transfers} transfers so far; attempts beyond the "
            f"first: {self.retried}; violations: {len(self.report.violations)}"
        )


@contextlib.asynccontextmanager
async def crowd(release: Release, say: Callable[[str], None]) -> AsyncIterator[Crowd]:
    """Customers at work for as long as the block lasts; their report afterwards."""
    async with forwarded(release.outside, "service/sandbox", PORT) as port:

        async def from_here(request: httpx.Request) -> None:
            # The address of the page for paying is the one that holds inside of the cluster.
            request.url = request.url.copy_with(host="127.0.0.1", port=port)

        async with httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{port}", timeout=30, trust_env=False,
            event_hooks={"request": [from_here]}, transport=PatientTransport(),
        ) as http:  # fmt: skip
            made = Crowd(release, http=http, say=say)
            async with made.at_work():
                yield made

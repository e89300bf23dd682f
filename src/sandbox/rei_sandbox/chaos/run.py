"""A run from start to report: stage, customers, breaking, settling, account.

The customers and the breaking draw from generators of the same seed. What the processes do in
between is up to the machine, so a run repeats in what was done to Rei, not in every interleaving.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import asyncpg
import httpx

from rei_core.db import Pool, create_pool
from rei_core.errors import PaymentProviderError
from rei_core.payments import queries as payments
from rei_core.payments.port import PaymentProvider
from rei_core.payments.service import settle
from rei_core.payments.yookassa import YooKassaClient
from rei_sandbox.chaos.balancer import Balancer
from rei_sandbox.chaos.breaker import LEASE_SECONDS, Breaker
from rei_sandbox.chaos.chats import Chats
from rei_sandbox.chaos.customers import Customer, Deeds
from rei_sandbox.chaos.plan import Amounts, Step, plan
from rei_sandbox.chaos.proxy import PostgresProxy
from rei_sandbox.chaos.report import UNFINISHED, Report, account
from rei_sandbox.services import free_port
from rei_sandbox.settings import SandboxSettings
from rei_sandbox.stage import Stage

SETTLE_SECONDS_MAX: Final = 60.0
"""After the last fault: what has not ended by then is stuck."""
LOOK_SECONDS: Final = 0.25
PAYMENTS_MAX: Final = 1_000_000
ENDED = "SELECT count(*) FROM jobs WHERE finished_at IS NOT NULL"
PENDING = "SELECT count(*) FROM deliveries WHERE status = 'pending'"

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Options:
    """A run's size."""

    jobs: int
    customers: int
    bots: int
    workers: int
    seed: int
    amounts: Amounts


async def run(options: Options, *, folder: Path, tell: Tell) -> Report:
    """Do it all; `tell` gets a line of progress now and then."""
    database_port, service_port = free_port(), free_port()
    proxy_url = f"postgresql://postgres@127.0.0.1:{database_port}/postgres"
    service_url = f"http://127.0.0.1:{service_port}"
    stage = Stage(
        folder,
        mode="webhook",
        bots=options.bots,
        workers=options.workers,
        database_url=proxy_url,
        environment=_settings(service_url),
    )
    report = Report(seed=options.seed)
    try:
        async with (
            PostgresProxy(port=database_port, upstream_port=stage.postgres.port).running() as proxy,
            Balancer(port=service_port, targets=stage.bot_ports),
            httpx.AsyncClient(base_url=stage.sandbox_url, timeout=120, trust_env=False) as http,
        ):
            tell("starting")
            await asyncio.to_thread(stage.start)
            await _play(options, report, stage=stage, proxy=proxy, http=http, tell=tell)
    finally:
        await asyncio.to_thread(stage.kill)
    return report


async def _play(
    options: Options,
    report: Report,
    *,
    stage: Stage,
    proxy: PostgresProxy,
    http: httpx.AsyncClient,
    tell: Tell,
) -> None:
    began, started = datetime.now(UTC) - timedelta(minutes=1), time.monotonic()
    rng = random.Random(options.seed)
    steps = plan(jobs=options.jobs, amounts=options.amounts, rng=random.Random(options.seed))
    chats, deeds = Chats(http), Deeds()
    breaker = Breaker(stage=stage, proxy=proxy, http=http, rng=random.Random(options.seed + 1))
    pool = await create_pool(stage.database_url, application="rei-chaos", size_max=4)
    listening = asyncio.create_task(chats.listen())
    try:
        customers = await _customers(options, http=http, chats=chats, deeds=deeds, rng=rng)
        living = asyncio.gather(*(customer.live() for customer in customers))
        await _break(steps, breaker, living, pool=pool, jobs=options.jobs, tell=tell)
        report.faults = await breaker.happened()
        await living
        client = yookassa(stage.sandbox_url)
        await settle_all(pool, client, tell=tell)
        report.seconds = time.monotonic() - started
        report.died = breaker.died
        report.memory_mib = {program.name: _peak_mib(program.pid) for program in stage.programs}
        made = (await http.get("/_sandbox/state")).json()["calls"].get("gemini", {}).get("made", {})
        async with pool.acquire() as connection:
            await account(
                report,
                connection,
                client,
                deeds,
                since=began,
                pictures_made=sum(made.values()),
                delivered=chats.delivered,
                undeliverable_expected=report.faults["telegram.blocked"],
            )
        await client.aclose()
    finally:
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)
        await pool.close()


async def _customers(
    options: Options,
    *,
    http: httpx.AsyncClient,
    chats: Chats,
    deeds: Deeds,
    rng: random.Random,
) -> list[Customer]:
    made = []
    for number in range(options.customers):
        body = {"first_name": f"К{number}", "language_code": "ru"}
        answer = await http.post("/_sandbox/telegram/users", json=body)
        answer.raise_for_status()
        orders = options.jobs // options.customers + (number < options.jobs % options.customers)
        made.append(
            Customer(
                answer.json()["user"]["id"],
                http=http,
                chats=chats,
                deeds=deeds,
                rng=random.Random(rng.random()),
                orders=orders,
            )
        )
    return made


async def _break(
    steps: list[Step],
    breaker: Breaker,
    living: asyncio.Future[list[None]],
    *,
    pool: Pool,
    jobs: int,
    tell: Tell,
) -> None:
    """Break things as the jobs go on, until the customers are done or all is broken."""
    waiting, started = list(steps), time.monotonic()
    while waiting and not living.done():
        ended = await _count(pool, ENDED)
        while waiting and ended is not None and waiting[0].at_job <= ended:
            breaker.begin(waiting.pop(0))
        await breaker.revive()
        seconds = time.monotonic() - started
        tell(
            f"{ended if ended is not None else '?'}/{jobs} jobs, "
            f"{len(steps) - len(waiting)}/{len(steps)} faults, {seconds:.0f} s"
        )
        await asyncio.sleep(LOOK_SECONDS)
    for (
        step
    ) in waiting:  # the customers were faster, or lost some orders: what was promised, breaks
        breaker.begin(step)
    await breaker.finish()


async def settle_all(pool: Pool, client: PaymentProvider, *, tell: Tell) -> None:
    """Once the customers are done: reconcile the payments that nobody asked about, and let everything
    come to its end, for as long as that may take."""
    async with pool.acquire() as connection:
        open_ones = await payments.unsettled(
            connection, created_before=datetime.now(UTC), limit=PAYMENTS_MAX
        )
    for payment in open_ones:
        with contextlib.suppress(PaymentProviderError):
            await settle(pool, client, payment)
    deadline = time.monotonic() + SETTLE_SECONDS_MAX
    while time.monotonic() < deadline:  # a credit that has just been found is told to its customer
        unfinished, pending = await _count(pool, UNFINISHED), await _count(pool, PENDING)
        tell(f"settling: {unfinished} jobs, {pending} deliveries")
        if unfinished == 0 and pending == 0:
            return
        await asyncio.sleep(LOOK_SECONDS)


def _settings(service_url: str) -> dict[str, str]:
    """Faster than in life, so that much happens in a short time; nothing is left out."""
    return {
        "REI_PUBLIC_URL": service_url,
        "REI_SANDBOX_NOTIFICATION_URL": f"{service_url}/webhook/yookassa",
        "REI_SANDBOX_GEMINI_LATENCY_SECONDS": "0.3",
        "REI_SANDBOX_GEMINI_SIDE_PIXELS_MAX": "96",
        "REI_SANDBOX_NOTIFICATION_SPEEDUP": "600",
        "REI_LEASE_SECONDS": f"{LEASE_SECONDS:g}",
        "REI_CONCURRENCY": "12",
        "REI_POLL_SECONDS": "0.5",
        "REI_RETRY_BASE_SECONDS": "0.3",
        "REI_CIRCUIT_PROBE_SECONDS": "1",
        # The way is made hard on purpose: an order may need many tries and still has to end.
        "REI_JOB_ATTEMPTS_MAX": "12",
        "REI_UPDATES_PER_MINUTE_MAX": "100000",
        "REI_TELEGRAM_MESSAGES_PER_SECOND_MAX": "300",
        "REI_PROVIDER_CALLS_PER_MINUTE_MAX": "100000",
        "REI_LOG_LEVEL": "WARNING",
    }


def yookassa(sandbox_url: str) -> YooKassaClient:
    """The way to the sandbox's YooKassa."""
    settings = SandboxSettings()
    return YooKassaClient(
        shop_id=settings.yookassa_shop_id,
        secret_key=settings.yookassa_secret_key,
        base_url=f"{sandbox_url}/yookassa/v3",
    )


async def _count(pool: Pool, sql: str) -> int | None:
    """A number from the database; None while it is away."""
    try:
        async with asyncio.timeout(3), pool.acquire() as connection:
            value: int = await connection.fetchval(sql)
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
        return None
    return value


def _peak_mib(pid: int | None) -> int:
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) // 1024
    return 0

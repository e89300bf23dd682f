"""What is broken, who has to hear of it, and what mends it.

Each drill is handed a system that is healthy and a customer who has money, breaks something, and
once the alert has come lets go what broke it, or does the one step that a person has to do. What is
"done by Kubernetes" is to start again what has died, where something can be started.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, Protocol

import httpx

from rei_core.catalog import load_catalog
from rei_core.db import Connection, close_pool, create_pool
from rei_core.jobs import accept_queries
from rei_core.jobs.model import Order
from rei_core.ledger.service import adjust
from rei_sandbox.demo.person import StoryBroke
from rei_sandbox.drill.customers import Customer
from rei_sandbox.drill.system import DATABASE, LOOK_SECONDS, System
from rei_sandbox.programs import Program

MANY: Final = 10_000
"""Faults that nobody uses up."""
CROWD: Final = 50
ORDERS_EACH: Final = 5
"""Of a customer: Telegram takes a message a second for each chat."""
PRICE_KOPECKS: Final = 1_500
AT_WORK_SECONDS_MAX: Final = 30.0
START_SECONDS_MAX: Final = 150.0
REFUSES_SECONDS_MAX: Final = 60.0

AT_WORK: Final = "SELECT count(*) FROM jobs WHERE status = 'processing'"
AGED: Final = (
    "UPDATE payments SET created_at = created_at - interval '1 hour' WHERE status = 'pending'"
)
TAMPER: Final = """
ALTER TABLE transfers DISABLE TRIGGER transfers_append_only;
UPDATE transfers SET amount_kopecks = amount_kopecks + {change}
WHERE id = (SELECT max(id) FROM transfers WHERE kind = 'topup');
ALTER TABLE transfers ENABLE TRIGGER transfers_append_only;
"""


class Breaking(Protocol):
    """Something goes wrong; returns what mends it."""

    def __call__(self, system: System, customer: Customer) -> Awaitable[Mending]: ...


Mending = Callable[[], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Drill:
    """One way in which Rei breaks."""

    name: str
    what: str
    breaks: Breaking
    alert: str | None
    """Who is on call hears this; None: nobody has to be woken."""
    steps: int
    """How many things a person does."""
    how: str
    """What mends it."""
    told_in_telegram: bool = True


async def bot_dead(system: System, customer: Customer) -> Mending:
    await _kill(system.stage.bot)
    await customer.person.say("кот на Луне")  # nobody reads it, and nothing is lost
    return lambda: _start(system.stage.bot)


async def telegram_unreachable(system: System, customer: Customer) -> Mending:
    await system.fault("telegram", "unavailable", count=MANY)
    chatting = asyncio.create_task(_chat(customer))

    async def mend() -> None:
        chatting.cancel()
        await asyncio.gather(chatting, return_exceptions=True)
        await system.no_more_faults()

    return mend


async def worker_dead(system: System, customer: Customer) -> Mending:
    await system.fault("gemini", "hang", count=1)
    await customer.orders()
    async with asyncio.timeout(AT_WORK_SECONDS_MAX), system.database() as connection:
        while not await connection.fetchval(AT_WORK):  # noqa: ASYNC110 - another process
            await asyncio.sleep(LOOK_SECONDS)
    await asyncio.gather(*(_kill(worker) for worker in system.stage.workers))
    await system.no_more_faults()

    async def mend() -> None:
        await asyncio.gather(*(_start(worker) for worker in system.stage.workers))

    return mend


async def redis_gone(system: System, customer: Customer) -> Mending:
    del customer
    await asyncio.to_thread(system.stage.redis.kill)

    async def mend() -> None:
        await asyncio.to_thread(system.stage.redis.start)

    return mend


async def webhook_lost(system: System, customer: Customer) -> Mending:
    del customer
    await system.fault("yookassa", "lost", count=MANY, operation="notification")
    payer = await Customer.arrives(system.http, "Payer")
    await payer.pays(await payer.bill())
    async with system.database() as connection:
        await connection.execute(AGED)

    async def mend() -> None:
        await system.run_now("PaymentReconciliation")
        await payer.is_credited()
        await system.no_more_faults()

    return mend


async def ledger_tampered(system: System, customer: Customer) -> Mending:
    del customer
    async with system.database() as connection:
        await connection.execute(TAMPER.format(change=100))

    async def mend() -> None:
        async with system.database() as connection:
            await connection.execute(TAMPER.format(change=-100))

    return mend


async def queue_full(system: System, customer: Customer) -> Mending:
    crowd = [customer, *await asyncio.gather(*(
        Customer.arrives(system.http, f"One of {CROWD}") for _ in range(CROWD - 1)
    ))]  # fmt: skip
    pool = await create_pool(system.stage.database_url, application="rei-drill", size_max=2)
    try:
        async with pool.acquire() as connection, connection.transaction():
            for one in crowd:
                await _orders(connection, one.user_id)
    finally:
        await close_pool(pool)

    async def mend() -> None:
        """Nothing: the workers draw one after the other."""

    return mend


async def database_lost(system: System, customer: Customer) -> Mending:
    del customer
    payer = await Customer.arrives(system.http, "Payer")
    page = await payer.bill()
    folder = system.folder / "backups"
    folder.mkdir(exist_ok=True)
    said = await system.rei("backup", "--to", str(folder), "--verify", "restore")
    backup_id = said.split()[-1]
    system.stage.postgres.psql(f'DROP DATABASE "{DATABASE}" WITH (FORCE)')
    await payer.pays(page)  # YooKassa goes on telling us until somebody listens

    async def mend() -> None:
        # PostgreSQL's new pod has an empty database, and that of each part brings the schema up first.
        await asyncio.to_thread(system.stage.bring_schema)
        # A Restore in place is one manifest, whose operator does all of this.
        writers = (system.stage.bot, *system.stage.workers)
        await asyncio.gather(*(asyncio.to_thread(writer.stop) for writer in writers))
        await system.rei("restore", backup_id, "--from", str(folder), "--in-place", DATABASE)
        async with system.database() as connection:
            await connection.execute(AGED)  # it asks about all of them, however new
        await system.run_now("PaymentReconciliation")
        await asyncio.gather(*(_start(writer) for writer in writers))
        await payer.is_credited()

    return mend


async def bad_release(system: System, customer: Customer) -> Mending:
    """The next version's bot with a setting that makes no sense: as a new pod it never becomes ready,
    so no old one goes."""
    broken = Program(
        "bot",
        name="bot-next",
        folder=system.folder,
        environment={
            **system.stage.bot.environment,
            "REI_LOG_LEVEL": "NONSENSE",
            "REI_METRICS_PORT": "0",
            "REI_PORT": "1",
        },
        ready_url="http://127.0.0.1:1/readyz",
    )
    await asyncio.to_thread(broken.start, wait=False)
    async with asyncio.timeout(REFUSES_SECONDS_MAX):
        while broken.pid is not None:  # noqa: ASYNC110 - another process
            await asyncio.sleep(LOOK_SECONDS)
    if "REI_LOG_LEVEL" not in broken.log.read_text():
        raise StoryBroke("a bot that names the setting", broken.log.read_text()[-200:])
    await customer.buys()

    async def mend() -> None:
        """Nothing: the old one has never gone."""

    return mend


DRILLS: Final = (
    Drill("bot-dead", "the bot dies, and its node with it", bot_dead,
          alert="ReiBotDown", steps=0, how="Kubernetes starts it again"),
    Drill("telegram-unreachable", "Telegram answers everything with an error", telegram_unreachable,
          alert="ReiTelegramUnreachable", steps=0, how="Telegram comes back; answers are sent again",
          told_in_telegram=False),
    Drill("worker-dead", "the worker dies with a picture under way", worker_dead,
          alert="ReiWorkersDown", steps=0, how="Kubernetes starts it again; the picture is drawn anew"),
    Drill("redis-gone", "Redis dies with all that is in it", redis_gone,
          alert="ReiRedisDown", steps=0, how="Kubernetes starts it again; workers look by themselves"),
    Drill("webhook-lost", "for an hour no notification of YooKassa's arrives", webhook_lost,
          alert="ReiWebhookSilent", steps=0, how="the reconciliation asks YooKassa"),
    Drill("ledger-tampered", "somebody changes a row of the ledger in the database", ledger_tampered,
          alert="ReiLedgerInconsistent", steps=1, how="one statement puts back what the audit names"),
    Drill("queue-full", f"{CROWD * ORDERS_EACH} orders at once", queue_full,
          alert="ReiQueueTooLong", steps=0, how="the workers draw them; on Kubernetes more are added"),
    Drill("database-lost", "the database is lost with its volume", database_lost,
          alert="ReiPostgresDown", steps=1, how="one Restore in place"),
    Drill("bad-release", "a release whose bot does not start", bad_release,
          alert=None, steps=0, how="no old pod goes before a new one is ready"),
)  # fmt: skip


async def _kill(program: Program) -> None:
    await asyncio.to_thread(program.kill)


async def _start(program: Program) -> None:
    """Start it and wait until it is ready, on a slow machine too."""
    await asyncio.to_thread(program.start, wait=False)
    async with asyncio.timeout(START_SECONDS_MAX):
        while not await asyncio.to_thread(program.is_ready):  # noqa: ASYNC110 - another process
            await asyncio.sleep(LOOK_SECONDS)


async def _chat(customer: Customer) -> None:
    """A customer who writes every second."""
    while True:
        try:
            await customer.person.say("/balance")
        except httpx.HTTPError:  # the sandbox is slow for a moment
            continue
        finally:
            await asyncio.sleep(1)


async def _orders(connection: Connection, user_id: int) -> None:
    """As many as `ORDERS_EACH`, paid with money of the house."""
    await adjust(
        connection,
        user_id=user_id,
        change_kopecks=ORDERS_EACH * PRICE_KOPECKS,
        operation_id=f"drill-{user_id}",
        reason="a drill",
    )
    model = load_catalog().default.id
    for number in range(ORDERS_EACH):
        order = Order(
            user_id=user_id, idempotency_key=f"drill-{number}", model=model, prompt="кот на Луне",
            aspect_ratio="1:1", image_size="1K", price_kopecks=PRICE_KOPECKS, chat_id=user_id,
        )  # fmt: skip
        await accept_queries.accept(
            connection, order, active_jobs_max=ORDERS_EACH, attempts_max=4, deadline_seconds=3600
        )

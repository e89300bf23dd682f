"""A shop at work, for whoever wants to see its dashboards: bot and worker beside an operator, the
demo's customer and some more, every kind of maintenance, and what goes wrong on an ordinary day."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from rei_core.jobs import accept_queries
from rei_core.jobs.model import Order
from rei_core.payments.service import refund_payment
from rei_core.payments.yookassa import YooKassaClient
from rei_sandbox.demo.person import Person, Seen
from rei_sandbox.demo.story import CUSTOMER_ID, Story
from rei_sandbox.programs import Program
from rei_sandbox.services import free_port
from rei_sandbox.stage import SANDBOX_TOKEN, Outside

from ..operator.process import OperatorProcess, bare_environment
from ..operator.stage import RARELY, SHOP_KEY, Json, Stage
from ..operator.stories import run_now

KOPECKS = 10_000
HANGS = 3001
PROMPTS = ("кот", "запретное", "лис", "сова")
"""The second one is refused."""
STORAGE: Json = {"volume": {"claimName": "rei-backups"}}
MAINTENANCE: tuple[tuple[str, str, Json], ...] = (
    ("StuckJobPolicy", "stuck-jobs", {"periodSeconds": 10}),
    ("PaymentReconciliation", "reconciliation", {"periodSeconds": 10}),
    ("JobRetentionPolicy", "retention", {"periodSeconds": 10}),
    ("LedgerAudit", "books", {"periodSeconds": 10}),
    ("BackupSchedule", "nightly", {**RARELY, "storage": STORAGE, "verification": "Restore"}),
)


@dataclass(frozen=True)
class Shop:
    """Processes that can be scraped, and customers."""

    stage: Stage
    operator: OperatorProcess
    bot: Program
    worker: Program
    http: httpx.AsyncClient

    @property
    def targets(self) -> list[str]:
        """Where Prometheus finds the three."""
        ready = (self.bot.ready_url, self.worker.ready_url, f"{self.operator.url}/readyz")
        return [url.removeprefix("http://").removesuffix("/readyz") for url in ready]

    async def busy(self, folder: Path, *, rounds: int) -> None:
        """Everything that a dashboard shows happens at least once; `rounds` of orders."""
        await self._story(folder)
        customers = [await self._comes() for _ in range(4)]
        await self._begins_to_pay(customers[0])
        for customer in customers[1:]:
            await self._tops_up(customer)
        await self._maintenance()
        await self._a_job_hangs(HANGS)
        for number in range(rounds):
            await self.fault("gemini", "unavailable")
            prompt = PROMPTS[number % len(PROMPTS)]
            await asyncio.gather(*(self._buys(customer, prompt) for customer in customers[1:]))
        for kind, name, _ in MAINTENANCE:
            await self.stage.condition(kind, name, "Ready", "True")
        await self.stage.condition("Backup", "by-hand", "Succeeded", "True")

    async def fault(self, service: str, kind: str) -> None:
        """The next call goes wrong."""
        answer = await self.http.post("/_sandbox/faults", json={"service": service, "kind": kind})
        answer.raise_for_status()

    async def _story(self, folder: Path) -> None:
        """The demo's: a top-up, a picture, a refusal, an outage. It wants the books to itself."""
        await Story(
            http=self.http, pool=self.stage.pool, folder=folder, outside=Outside(),
            tell=lambda line: None,
        ).play()  # fmt: skip

    async def _maintenance(self) -> None:
        """Every kind of it, and what is done by hand."""
        for kind, name, spec in MAINTENANCE:
            await self.stage.apply(kind, name, spec)
        await self._refund_of_anya()
        await self.stage.apply("Backup", "by-hand", {"storage": STORAGE})
        await self.stage.apply(
            "BalanceAdjustment", "present",
            {"userID": CUSTOMER_ID, "amountKopecks": 500, "reason": "a present", "operationID": "p"},
        )  # fmt: skip
        await self.stage.condition("BackupSchedule", "nightly", "Ready", "Unknown", "NoRunYet")
        await run_now(self.stage, "BackupSchedule", "nightly")

    async def _a_job_hangs(self, user_id: int) -> None:
        """Its worker keeps the lease and does nothing; the StuckJobPolicy, which ran before, ends it."""
        await self.stage.condition("StuckJobPolicy", "stuck-jobs", "Ready", "True")
        await self.stage.customer(user_id, kopecks=KOPECKS)
        order = Order(
            user_id=user_id, idempotency_key="o-1", model="gemini-3-pro-image", prompt="a cat",
            aspect_ratio="1:1", image_size="2K", price_kopecks=3500, chat_id=user_id,
        )  # fmt: skip
        async with self.stage.pool.acquire() as connection, connection.transaction():
            accepted = await accept_queries.accept(
                connection, order, active_jobs_max=9, attempts_max=2, deadline_seconds=600
            )
            # Of one that this transaction alone can see, whatever else is waiting.
            await connection.execute(
                """UPDATE jobs SET status = 'processing', attempt = 1, worker = 'hangs',
                       lease_until = now() + interval '1 hour',
                       started_at = now() - interval '20 minutes'
                   WHERE id = $1""",
                accepted.job_id,
            )

    async def _refund_of_anya(self) -> None:
        payment = await self.stage.pool.fetchval(
            "SELECT id FROM payments WHERE user_id = $1", CUSTOMER_ID
        )
        settings = self.stage.settings()
        provider = YooKassaClient(
            shop_id=settings["YOOKASSA_SHOP_ID"], secret_key=SHOP_KEY,
            base_url=settings["YOOKASSA_API_URL"],
        )  # fmt: skip
        try:
            await refund_payment(
                self.stage.pool, provider, payment_id=payment, amount_kopecks=1000, operation_id="r"
            )
        finally:
            await provider.aclose()

    async def _begins_to_pay(self, customer: Person) -> Seen:
        await customer.say("/topup")
        menu = await customer.reads("Выберите сумму")
        await customer.press(menu, "500 ₽")
        return await customer.sees(
            "a payment", lambda seen: "Проверить" in str(seen.buttons), anywhere=True
        )

    async def _tops_up(self, customer: Person) -> None:
        bill = await self._begins_to_pay(customer)
        await self.http.post(bill.button("Оплатить"), data={"action": "pay"})
        await customer.reads("Зачислено 500 ₽")

    async def _comes(self) -> Person:
        """A customer whom the stand-in for Telegram knows, and who has greeted the bot."""
        body = {"first_name": "Boris", "language_code": "ru"}
        answer = await self.http.post("/_sandbox/telegram/users", json=body)
        answer.raise_for_status()
        customer = Person(self.http, user_id=answer.json()["user"]["id"])
        await customer.say("/start")
        await customer.reads("Здравствуйте")
        return customer

    async def _buys(self, customer: Person, prompt: str) -> None:
        await customer.say(prompt)
        card = await customer.reads("Ваш заказ")
        await customer.press(card, "Нарисовать за 15 ₽")
        await customer.sees(
            "its end",
            lambda seen: seen.document is not None or "Не получилось" in seen.text,
        )


@asynccontextmanager
async def open_shop(stage: Stage, *, bot_port: int, redis_url: str) -> AsyncIterator[Shop]:
    """Bot, worker and operator are ready inside the block, and gone after it."""
    settings = stage.sandbox.sandbox.settings
    environment = {
        **bare_environment(),
        **stage.settings(),
        "REI_REDIS_URL": redis_url,
        "REI_HOST": "127.0.0.1",
        "BOT_TOKEN": SANDBOX_TOKEN,
        "REI_TELEGRAM_API_URL": stage.sandbox.url,
        "REI_MODE": "webhook",
        "REI_PUBLIC_URL": f"http://127.0.0.1:{bot_port}",
        "REI_WEBHOOK_SECRET": "secret-of-the-webhook",
        "REI_PORT": str(bot_port),
        "GEMINI_API_KEY": settings.gemini_api_key,
        "GEMINI_BASE_URL": f"{stage.sandbox.url}/gemini",
    }
    bot, worker = (_program(part, environment, stage.folder) for part in ("bot", "worker"))
    try:
        for program in (bot, worker):
            program.start(wait=False)
        async with (
            stage.operator() as operator,
            httpx.AsyncClient(
                base_url=stage.sandbox.url, timeout=30, trust_env=False, follow_redirects=True
            ) as http,
        ):
            await operator.ready()
            for program in (bot, worker):  # in a thread: the sandbox that they call is in this loop
                await asyncio.to_thread(program.wait_ready)
            yield Shop(stage, operator, bot, worker, http)
    finally:
        for program in (bot, worker):
            await asyncio.to_thread(program.stop)


def _program(part: str, environment: dict[str, str], folder: Path) -> Program:
    port = free_port()
    return Program(
        part, name=part, folder=folder, ready_url=f"http://127.0.0.1:{port}/readyz",
        environment={**environment, "REI_METRICS_PORT": str(port)},
    )  # fmt: skip

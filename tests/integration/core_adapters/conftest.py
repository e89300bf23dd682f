"""Rei's own clients against the sandbox, and an endpoint that settles what it is notified of."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from uuid import UUID

import httpx
import pytest
from aiohttp import web

from rei_core.db import Pool
from rei_core.errors import PaymentNotFound, PaymentProviderError
from rei_core.images.gemini import GeminiClient
from rei_core.ledger.audit import audit
from rei_core.payments import notifications, service
from rei_core.payments.model import Payment
from rei_core.payments.port import PaymentProvider
from rei_core.payments.yookassa import YooKassaClient
from rei_core.users import queries as users
from rei_sandbox.app import Running, running
from rei_sandbox.settings import SandboxSettings

SHOP_ID = "100500"
SECRET_KEY = "test_sandbox_secret_key"
API_KEY = "sandbox-gemini-key"
TERMS = service.TopUpTerms(return_url="https://t.me/rei_bot", description="Пополнение")


async def until(true: Callable[[], bool], *, seconds_max: float = 10) -> None:
    """Look until `true()`; fails after `seconds_max`."""
    deadline = time.monotonic() + seconds_max
    while not true():
        assert time.monotonic() < deadline, "it did not happen in time"
        await asyncio.sleep(0.01)


class Endpoint:
    """Stands for the bot's notification endpoint: believes nothing and settles."""

    def __init__(self) -> None:
        self.url = ""
        self.pool: Pool | None = None
        self.provider: PaymentProvider | None = None
        self.outcomes: list[str] = []

    async def take(self, request: web.Request) -> web.Response:
        outcome = await self._outcome(await request.read())
        self.outcomes.append(outcome)
        return web.Response(status=503 if outcome == "unknown" else 200)

    async def _outcome(self, body: bytes) -> str:
        if self.pool is None or self.provider is None:
            return "nobody listens"
        hint = notifications.parse(body)
        if hint is None:
            return "malformed"
        try:
            settled = await service.settle_by_provider_id(self.pool, self.provider, hint.payment_id)
        except PaymentNotFound:
            return "not found"
        except PaymentProviderError:
            return "unknown"
        if settled is None:
            return "foreign"
        return "credited" if settled.credited_now else str(settled.payment.status)


class Till:
    """A customer with an account, and the steps of topping it up."""

    def __init__(self, pool: Pool, provider: YooKassaClient, http: httpx.AsyncClient) -> None:
        self.pool = pool
        self.provider = provider
        self._http = http

    async def topup(self, key: str = "topup-1", *, kopecks: int = 20_000) -> Payment:
        return await service.start_topup(
            self.pool,
            self.provider,
            user_id=1,
            chat_id=1,
            amount_kopecks=kopecks,
            request_key=key,
            terms=TERMS,
        )

    async def pay(self, payment: Payment, action: str = "pay") -> None:
        """What the payer does on the pay page."""
        answer = await self._http.post(
            f"/pay/{payment.provider_payment_id}", data={"action": action}
        )
        assert answer.status_code < 400

    async def check(self, payment: Payment) -> bool:
        settled = await service.check(self.pool, self.provider, payment.id)
        return settled.credited_now

    async def refund(self, payment_id: UUID, *, kopecks: int, operation: str = "r1") -> str:
        done = await service.refund_payment(
            self.pool,
            self.provider,
            payment_id=payment_id,
            amount_kopecks=kopecks,
            operation_id=operation,
        )
        return done.status

    async def balance(self) -> int:
        value: int = await self.pool.fetchval(
            "SELECT balance_kopecks FROM balances WHERE user_id = 1"
        )
        return value

    async def credits(self) -> int:
        value: int = await self.pool.fetchval("SELECT count(*) FROM transfers WHERE kind = 'topup'")
        return value


@pytest.fixture(name="until")
def until_fixture() -> Callable[..., Awaitable[None]]:
    """`await until(lambda: …)`: look until it is true."""
    return until


@pytest.fixture
async def endpoint(serve: Callable[[web.Application], Awaitable[str]]) -> Endpoint:
    made = Endpoint()
    app = web.Application()
    app.router.add_post("/webhook/yookassa", made.take)
    made.url = f"{await serve(app)}/webhook/yookassa"
    return made


@pytest.fixture
async def sandbox(endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Running]:
    """A sandbox without latency, whose notifications are retried after 10 ms."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    settings = SandboxSettings(
        port=0,
        gemini_latency_seconds=0,
        notification_url=endpoint.url,
        notification_speedup=6000,
        notification_timeout_seconds=30,
    )
    async with running(settings) as server:
        yield server


@pytest.fixture
async def http(sandbox: Running) -> AsyncIterator[httpx.AsyncClient]:
    """The sandbox as a browser sees it."""
    async with httpx.AsyncClient(base_url=sandbox.url, timeout=10, trust_env=False) as client:
        yield client


@pytest.fixture
async def yookassa(sandbox: Running) -> AsyncIterator[YooKassaClient]:
    client = YooKassaClient(
        shop_id=SHOP_ID,
        secret_key=SECRET_KEY,
        base_url=f"{sandbox.url}/yookassa/v3",
        timeout_seconds=30,
    )
    yield client
    await client.aclose()


@pytest.fixture
async def gemini(sandbox: Running) -> AsyncIterator[GeminiClient]:
    client = GeminiClient(api_key=API_KEY, base_url=f"{sandbox.url}/gemini", timeout_seconds=20)
    yield client
    await client.aclose()


@pytest.fixture
async def till(
    pool: Pool, yookassa: YooKassaClient, http: httpx.AsyncClient, endpoint: Endpoint
) -> AsyncIterator[Till]:
    """Whatever the test does, the ledger has to be consistent at its end."""
    endpoint.pool, endpoint.provider = pool, yookassa
    async with pool.acquire() as connection, connection.transaction():
        await users.see(connection, 1, first_name="A")
    yield Till(pool, yookassa, http)
    async with pool.acquire() as connection:
        report = await audit(connection)
    assert report.violations == ()
    assert sum(report.accounts.values()) == 0

"""A drill's account sees whatever somebody lost, and nothing where nobody did."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest

from rei_core.db import Pool
from rei_core.jobs import end_queries
from rei_core.jobs.model import Output
from rei_core.payments.model import Payment
from rei_core.payments.service import TopUpTerms, settle, start_topup
from rei_core.payments.yookassa import YooKassaClient
from rei_sandbox.app import Running, running
from rei_sandbox.drill.account import Account, account
from rei_sandbox.settings import SandboxSettings

from ..core.conftest import Shop, shop

__all__ = ["shop"]

TOPUP_KOPECKS = 20_000
PRICE_KOPECKS = 1_000
NOBODY = "http://127.0.0.1:9/"
PICTURE = Output(data=b"picture", mime_type="image/png", width=1, height=1)


@pytest.fixture
async def sandbox() -> AsyncIterator[Running]:
    async with running(SandboxSettings(port=0, notification_url=NOBODY)) as opened:
        yield opened


@pytest.fixture
async def provider(sandbox: Running) -> AsyncIterator[YooKassaClient]:
    settings = SandboxSettings()
    client = YooKassaClient(
        shop_id=settings.yookassa_shop_id,
        secret_key=settings.yookassa_secret_key,
        base_url=f"{sandbox.url}/yookassa/v3",
    )
    yield client
    await client.aclose()


async def paid(pool: Pool, provider: YooKassaClient, sandbox: Running) -> Payment:
    """A top-up that was paid, and that nobody has told us of."""
    payment = await start_topup(
        pool, provider, user_id=1, chat_id=1, amount_kopecks=TOPUP_KOPECKS, request_key="t-1",
        terms=TopUpTerms(return_url="https://t.me/", description="Top-up"),
    )  # fmt: skip
    assert payment.provider_payment_id is not None
    bought = sandbox.sandbox.yookassa.shop
    assert bought.pay(bought.get(payment.provider_payment_id))
    return payment


async def found(pool: Pool, provider: YooKassaClient) -> Account:
    since = datetime.now(UTC) - timedelta(hours=1)
    async with pool.acquire() as connection:
        return await account(connection, provider, since=since)


async def test_what_was_paid_is_missing_until_it_is_credited(
    pool: Pool, shop: Shop, provider: YooKassaClient, sandbox: Running
) -> None:
    await shop.customer()
    payment = await paid(pool, provider, sandbox)
    assert (await found(pool, provider)).not_credited_kopecks == TOPUP_KOPECKS
    await settle(pool, provider, payment)
    assert (await found(pool, provider)).clean


async def test_what_was_charged_is_missing_until_the_picture_has_come(
    pool: Pool, shop: Shop, provider: YooKassaClient
) -> None:
    await shop.customer(balance_kopecks=PRICE_KOPECKS)
    await shop.accept()
    assert (await found(pool, provider)).held_kopecks == PRICE_KOPECKS
    (job,) = await shop.claim()
    async with pool.acquire() as connection, connection.transaction():
        assert await end_queries.complete(connection, job.id, attempt=1, output=PICTURE)
    assert (await found(pool, provider)).not_delivered_kopecks == PRICE_KOPECKS
    await pool.execute(
        "UPDATE deliveries SET status = 'delivered', finished_at = now() WHERE kind = 'result'"
    )
    assert (await found(pool, provider)).clean


async def test_a_changed_row_of_the_ledger_is_a_violation(
    pool: Pool, shop: Shop, provider: YooKassaClient
) -> None:
    await shop.customer(balance_kopecks=PRICE_KOPECKS)
    await pool.execute("UPDATE balances SET balance_kopecks = balance_kopecks + 1")
    one = await found(pool, provider)
    assert (one.lost_kopecks, one.clean) == (0, False)
    await pool.execute("UPDATE balances SET balance_kopecks = balance_kopecks - 1")

"""Money end to end: real HTTP to the sandbox, real notifications, a real ledger, audited."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest

from rei_core.errors import PaymentMismatch, PaymentOutcomeUnknown, PaymentRejected
from rei_core.payments import queries, service
from rei_core.payments.model import PaymentStatus
from rei_core.payments.port import RemoteRefund
from rei_core.payments.yookassa import YooKassaClient
from rei_sandbox.app import Running

from .conftest import Endpoint, Till

Until = Callable[..., Awaitable[None]]


def order(sandbox: Running, kind: str, **more: Any) -> None:
    sandbox.sandbox.faults.add("yookassa", kind, **more)


async def test_a_paid_payment_is_credited_by_its_notification(
    till: Till, endpoint: Endpoint, until: Until
) -> None:
    payment = await till.topup()
    assert payment.status is PaymentStatus.PENDING
    assert payment.confirmation_url
    await till.pay(payment)
    await until(lambda: "credited" in endpoint.outcomes)
    assert (await till.balance(), await till.credits()) == (20_000, 1)


async def test_ten_copies_of_one_notification_credit_once(
    till: Till, endpoint: Endpoint, sandbox: Running, until: Until
) -> None:
    payment = await till.topup()
    order(sandbox, "duplicated", operation="notification")
    await till.pay(payment)
    await until(lambda: len(endpoint.outcomes) >= 10)
    assert endpoint.outcomes.count("credited") == 1
    assert set(endpoint.outcomes) <= {"credited", "succeeded"}
    assert (await till.balance(), await till.credits()) == (20_000, 1)


async def test_notification_check_and_reconciliation_at_once_credit_once(
    till: Till, endpoint: Endpoint, until: Until
) -> None:
    payment = await till.topup()
    await till.pay(payment)
    credited = await asyncio.gather(*(till.check(payment) for _ in range(10)))
    await until(lambda: len(endpoint.outcomes) == 1)
    assert sum(credited) + endpoint.outcomes.count("credited") == 1
    assert (await till.balance(), await till.credits()) == (20_000, 1)


async def test_a_forged_notification_credits_nothing(
    till: Till, endpoint: Endpoint, sandbox: Running, until: Until
) -> None:
    payment = await till.topup()
    order(sandbox, "forged", operation="notification")
    await until(lambda: len(endpoint.outcomes) >= 1)
    assert "credited" not in endpoint.outcomes
    assert (await till.balance(), await till.credits()) == (0, 0)
    await till.pay(payment)
    await until(lambda: "credited" in endpoint.outcomes)
    assert await till.balance() == 20_000


async def test_a_lost_notification_is_made_up_for_by_check(
    till: Till, endpoint: Endpoint, sandbox: Running
) -> None:
    payment = await till.topup()
    order(sandbox, "lost", operation="notification")
    await till.pay(payment)
    assert await till.check(payment)
    assert not await till.check(payment)
    assert endpoint.outcomes == []
    assert (await till.balance(), await till.credits()) == (20_000, 1)


@pytest.mark.parametrize("kind", ["late", "reordered"])
async def test_notifications_out_of_time_change_nothing_in_the_end(
    till: Till, endpoint: Endpoint, sandbox: Running, until: Until, kind: str
) -> None:
    payment = await till.topup()
    order(sandbox, kind, operation="notification", delay_seconds=1)
    await till.pay(payment)
    checked = await till.check(
        payment
    )  # the first, unless this machine has stood still for a second
    expected = 2 if kind == "reordered" else 1
    await until(lambda: len(endpoint.outcomes) >= expected)
    assert checked + endpoint.outcomes.count("credited") == 1
    assert set(endpoint.outcomes) <= {"credited", "succeeded"}
    assert (await till.balance(), await till.credits()) == (20_000, 1)


async def test_while_yookassa_is_away_the_notification_comes_again(
    till: Till, endpoint: Endpoint, sandbox: Running, until: Until
) -> None:
    payment = await till.topup()
    order(sandbox, "unavailable", operation="get", count=3)
    await till.pay(payment)
    await until(lambda: "credited" in endpoint.outcomes)
    assert endpoint.outcomes == ["unknown", "credited"]
    assert (await till.balance(), await till.credits()) == (20_000, 1)


async def test_a_declined_payment_is_closed(till: Till, endpoint: Endpoint, until: Until) -> None:
    payment = await till.topup()
    await till.pay(payment, "decline")
    await until(lambda: "canceled" in endpoint.outcomes)
    async with till.pool.acquire() as connection:
        closed = await queries.find(connection, payment.id)
    assert closed is not None
    assert closed.cancellation_reason == "general_decline"
    assert await till.balance() == 0


@pytest.mark.parametrize("kind", ["done_no_answer", "internal", "rate_limited", "unavailable"])
async def test_a_topup_without_an_answer_is_repeated_and_gives_one_payment(
    till: Till, sandbox: Running, endpoint: Endpoint, until: Until, kind: str
) -> None:
    order(sandbox, kind, operation="create")
    with pytest.raises(PaymentOutcomeUnknown):
        await till.topup()
    payment = await till.topup()
    assert await till.topup() == payment
    assert sandbox.sandbox.yookassa.shop.counts()["total"] == 1
    await till.pay(payment)
    await until(lambda: "credited" in endpoint.outcomes)
    assert (await till.balance(), await till.credits()) == (20_000, 1)


async def test_a_payment_of_a_lost_answer_is_credited_by_its_metadata(
    till: Till, sandbox: Running, endpoint: Endpoint, until: Until
) -> None:
    order(sandbox, "done_no_answer", operation="create")
    with pytest.raises(PaymentOutcomeUnknown):
        await till.topup()
    [remote] = sandbox.sandbox.yookassa.shop.payments.values()
    sandbox.sandbox.yookassa.shop.pay(remote)
    await until(lambda: "credited" in endpoint.outcomes)
    assert (await till.balance(), await till.credits()) == (20_000, 1)


async def test_the_list_finds_what_nobody_was_told_of(
    till: Till, sandbox: Running, yookassa: YooKassaClient
) -> None:
    payments = [await till.topup(f"t{n}") for n in range(3)]
    order(sandbox, "lost", operation="notification", count=3)
    for payment in payments:
        await till.pay(payment)
    since = min(payment.created_at for payment in payments)
    async for remote in yookassa.list(created_since=since, status="succeeded"):
        assert await service.settle_by_provider_id(till.pool, yookassa, remote.id)
    assert (await till.balance(), await till.credits()) == (60_000, 3)


async def test_an_amount_other_than_ours_is_not_credited(till: Till, sandbox: Running) -> None:
    payment = await till.topup()
    order(sandbox, "lost", operation="notification")
    await till.pay(payment)
    remote = sandbox.sandbox.yookassa.shop.payments[str(payment.provider_payment_id)]
    remote.amount_kopecks = 20_001
    with pytest.raises(PaymentMismatch):
        await till.check(payment)
    remote.amount_kopecks = 20_000
    assert await till.check(payment)


# --- refunds --------------------------------------------------------------------------------------


@pytest.fixture
async def paid(till: Till, endpoint: Endpoint, until: Until) -> Any:
    """A payment of 200 ₽ on the balance."""
    payment = await till.topup()
    await till.pay(payment)
    await until(lambda: "credited" in endpoint.outcomes)
    return payment


async def test_a_refund_goes_out_once(till: Till, paid: Any, sandbox: Running) -> None:
    order(sandbox, "done_no_answer", operation="refund")
    with pytest.raises(PaymentOutcomeUnknown):
        await till.refund(paid.id, kopecks=5_000)
    assert await till.balance() == 15_000, "debited while the outcome is unknown"
    assert await till.refund(paid.id, kopecks=5_000) == "succeeded"
    assert await till.refund(paid.id, kopecks=5_000) == "succeeded"
    assert sandbox.sandbox.yookassa.shop.counts()["refunds"] == 1
    assert await till.balance() == 15_000


async def test_a_refused_refund_gives_the_debit_back(
    till: Till, paid: Any, sandbox: Running
) -> None:
    remote = sandbox.sandbox.yookassa.shop.payments[paid.provider_payment_id]
    remote.refunded_kopecks = remote.amount_kopecks  # somebody refunded it in the merchant profile
    with pytest.raises(PaymentRejected):
        await till.refund(paid.id, kopecks=5_000)
    assert await till.balance() == 20_000
    assert await till.refund(paid.id, kopecks=5_000) == "failed"


class RevokedForRefunds(YooKassaClient):
    """A YooKassa that revokes our key between the look into its list and the refund itself."""

    async def refund(self, payment_id: str, **more: Any) -> RemoteRefund:
        revoked = YooKassaClient(shop_id="100500", secret_key="revoked", base_url=self._base_url)
        try:
            return await revoked.refund(payment_id, **more)
        finally:
            await revoked.aclose()


@pytest.mark.parametrize("fault", ["done_no_answer", "unavailable"])
async def test_a_revoked_key_is_no_refusal_of_the_refund(
    till: Till, paid: Any, sandbox: Running, yookassa: YooKassaClient, fault: str
) -> None:
    order(sandbox, fault, operation="refund")
    with pytest.raises(PaymentOutcomeUnknown):
        await till.refund(paid.id, kopecks=20_000)
    url = f"{sandbox.url}/yookassa/v3"
    revoked = YooKassaClient(shop_id="100500", secret_key="revoked", base_url=url)
    key = "test_sandbox_secret_key"
    revoked_later = RevokedForRefunds(shop_id="100500", secret_key=key, base_url=url)
    for provider in (revoked, revoked_later) if fault == "unavailable" else (revoked,):
        till.provider = provider
        with pytest.raises(PaymentRejected):
            await till.refund(paid.id, kopecks=20_000)
        assert await till.balance() == 0, "it may be on its way out, and must not be here as well"
        await provider.aclose()
    till.provider = yookassa
    assert await till.refund(paid.id, kopecks=20_000) == "succeeded"
    assert await till.balance() == 0


class Slow(YooKassaClient):
    """A YooKassa whose refunds stay pending, and then end as `end` says."""

    end: Any = "pending"

    async def refund(self, payment_id: str, **more: Any) -> RemoteRefund:
        return replace(await super().refund(payment_id, **more), status="pending")

    async def get_refund(self, refund_id: str) -> RemoteRefund:
        return replace(await super().get_refund(refund_id), status=self.end)


@pytest.fixture
async def slow(till: Till, sandbox: Running) -> Any:
    client = Slow(
        shop_id="100500",
        secret_key="test_sandbox_secret_key",
        base_url=f"{sandbox.url}/yookassa/v3",
    )
    till.provider = client
    yield client
    await client.aclose()


async def test_a_refund_that_takes_its_time_stays_pending(
    till: Till, paid: Any, slow: Slow
) -> None:
    with pytest.raises(PaymentOutcomeUnknown):
        await till.refund(paid.id, kopecks=5_000)
    assert await till.balance() == 15_000
    slow.end = "succeeded"
    assert await till.refund(paid.id, kopecks=5_000) == "succeeded"
    assert await till.balance() == 15_000


async def test_a_refund_that_is_canceled_later_gives_the_debit_back(
    till: Till, paid: Any, slow: Slow
) -> None:
    slow.end = "canceled"
    with pytest.raises(PaymentRejected, match="canceled"):
        await till.refund(paid.id, kopecks=5_000)
    assert await till.balance() == 20_000
    assert await till.refund(paid.id, kopecks=5_000) == "failed"

"""Top-ups: one credit for one succeeded payment, whoever asks and whatever is lost on the way."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID, uuid4

import asyncpg
import pytest

from rei_core.db import Pool
from rei_core.errors import (
    InsufficientFunds,
    OperationConflict,
    PaymentMismatch,
    PaymentNotFound,
    PaymentOutcomeUnknown,
    PaymentRejected,
    PaymentUnknown,
)
from rei_core.ledger.service import adjust
from rei_core.payments import queries, service
from rei_core.payments.model import Payment, PaymentStatus
from rei_core.payments.port import Receipt, RemotePayment, RemoteRefund, RemoteStatus

from .conftest import Shop

TERMS = service.TopUpTerms(return_url="https://t.me/rei", description="Top-up")


class FakeProvider:
    """A provider in memory that keeps its promise on idempotence keys and fails on request."""

    def __init__(self) -> None:
        self.payments: dict[str, RemotePayment] = {}
        self.keys: dict[str, str] = {}
        self.refunds: dict[str, RemoteRefund] = {}
        self.lose_next_answer = False
        self.refuse_next = False
        self.away = False
        self.gets = 0

    async def create(
        self,
        *,
        idempotence_key: str,
        amount_kopecks: int,
        description: str,
        return_url: str,
        metadata: dict[str, str],
        receipt: Receipt | None = None,
    ) -> RemotePayment:
        if idempotence_key not in self.keys:
            payment_id = f"remote-{len(self.payments)}"
            self.keys[idempotence_key] = payment_id
            self.payments[payment_id] = RemotePayment(
                id=payment_id,
                status="pending",
                amount_kopecks=amount_kopecks,
                currency="RUB",
                created_at=datetime.now(UTC),
                confirmation_url=f"https://pay/{payment_id}",
                metadata=metadata,
            )
        self._maybe_lose()
        return self.payments[self.keys[idempotence_key]]

    async def get(self, payment_id: str) -> RemotePayment:
        self.gets += 1
        self._maybe_lose()
        await asyncio.sleep(0)
        try:
            return self.payments[payment_id]
        except KeyError:
            raise PaymentNotFound("no such payment", http_status=404) from None

    async def cancel(self, payment_id: str, *, idempotence_key: str) -> RemotePayment:
        raise NotImplementedError

    async def refund(
        self,
        payment_id: str,
        *,
        idempotence_key: str,
        amount_kopecks: int,
        description: str,
        receipt: Receipt | None = None,
    ) -> RemoteRefund:
        if self.refuse_next:
            self.refuse_next = False
            raise PaymentRejected("refused")
        refund = self.refunds.setdefault(
            idempotence_key,
            RemoteRefund(
                id=f"refund-{len(self.refunds)}",
                payment_id=payment_id,
                status="succeeded",
                amount_kopecks=amount_kopecks,
                currency="RUB",
            ),
        )
        self._maybe_lose()
        return refund

    async def get_refund(self, refund_id: str) -> RemoteRefund:
        raise NotImplementedError

    def list(
        self, *, created_since: datetime, status: RemoteStatus | None = None
    ) -> AsyncIterator[RemotePayment]:
        raise NotImplementedError

    async def list_refunds(
        self, *, payment_id: str | None = None, created_since: datetime | None = None
    ) -> AsyncIterator[RemoteRefund]:
        """Without a word of whose they are."""
        for refund in list(self.refunds.values()):
            yield refund

    async def check_credentials(self) -> str:
        return "shop"

    def change(self, payment_id: str, **changes: object) -> None:
        self.payments[payment_id] = replace(self.payments[payment_id], **changes)  # type: ignore[arg-type]

    def _maybe_lose(self) -> None:
        if self.away or self.lose_next_answer:
            self.lose_next_answer = False
            raise PaymentOutcomeUnknown("no answer")


@pytest.fixture
def provider() -> FakeProvider:
    return FakeProvider()


async def topup(pool: Pool, provider: FakeProvider, *, request_key: str = "click") -> Payment:
    return await service.start_topup(
        pool,
        provider,
        user_id=1,
        chat_id=1,
        amount_kopecks=50_000,
        request_key=request_key,
        terms=TERMS,
    )


async def paid(pool: Pool, provider: FakeProvider) -> Payment:
    payment = await topup(pool, provider)
    assert payment.provider_payment_id is not None
    provider.change(payment.provider_payment_id, status="succeeded")
    return payment


async def test_one_click_repeated_is_one_payment(
    shop: Shop, pool: Pool, provider: FakeProvider
) -> None:
    await shop.customer()
    payments = await asyncio.gather(*(topup(pool, provider) for _ in range(10)))
    assert len({payment.id for payment in payments}) == 1
    assert len(provider.payments) == 1


async def test_ten_parallel_settlements_credit_once(
    shop: Shop, pool: Pool, provider: FakeProvider
) -> None:
    await shop.customer()
    payment = await paid(pool, provider)

    settled = await asyncio.gather(
        *(service.settle_by_provider_id(pool, provider, "remote-0") for _ in range(5)),
        *(service.check(pool, provider, payment.id) for _ in range(5)),
    )

    assert sum(one.credited_now for one in settled if one) == 1
    assert await shop.balance() == 50_000
    told = await pool.fetchval("SELECT count(*) FROM deliveries WHERE kind = 'payment_credited'")
    assert told == 1


async def test_what_is_not_paid_is_not_credited(
    shop: Shop, pool: Pool, provider: FakeProvider
) -> None:
    await shop.customer()
    payment = await topup(pool, provider)
    settled = await service.check(pool, provider, payment.id)
    assert (settled.credited_now, settled.payment.status) == (False, PaymentStatus.PENDING)
    assert await shop.balance() == 0


async def test_a_forged_payment_id_credits_nothing(
    shop: Shop, pool: Pool, provider: FakeProvider
) -> None:
    await shop.customer()
    with pytest.raises(PaymentNotFound):
        await service.settle_by_provider_id(pool, provider, "forged")
    assert await shop.balance() == 0


async def test_somebody_elses_payment_of_the_same_shop_is_none_of_ours(
    shop: Shop, pool: Pool, provider: FakeProvider
) -> None:
    await shop.customer()
    await provider.create(
        idempotence_key="x", amount_kopecks=1, description="", return_url="", metadata={}
    )
    provider.change("remote-0", status="succeeded")
    assert await service.settle_by_provider_id(pool, provider, "remote-0") is None


@pytest.mark.parametrize(
    ("field", "value"), [("amount_kopecks", 49_999), ("currency", "USD"), ("id", "other")]
)
async def test_a_payment_that_differs_is_refused(
    shop: Shop, pool: Pool, provider: FakeProvider, field: str, value: object
) -> None:
    await shop.customer()
    await paid(pool, provider)
    provider.change("remote-0", **{field: value})
    with pytest.raises(PaymentMismatch) as refused:
        await service.settle_by_provider_id(pool, provider, "remote-0")
    assert refused.value.field == field.removesuffix("_kopecks")
    assert await shop.balance() == 0


async def test_a_lost_answer_to_the_creation_is_healed_by_a_repeat(
    shop: Shop, pool: Pool, provider: FakeProvider
) -> None:
    await shop.customer()
    provider.lose_next_answer = True
    with pytest.raises(PaymentOutcomeUnknown):
        await topup(pool, provider)
    payment = await topup(pool, provider)
    assert payment.confirmation_url == "https://pay/remote-0"
    assert len(provider.payments) == 1


async def test_a_payment_whose_creation_was_never_answered_is_credited_by_its_metadata(
    shop: Shop, pool: Pool, provider: FakeProvider
) -> None:
    await shop.customer()
    provider.lose_next_answer = True
    with pytest.raises(PaymentOutcomeUnknown):
        await topup(pool, provider)
    provider.change("remote-0", status="succeeded")
    settled = await service.settle_by_provider_id(pool, provider, "remote-0")
    assert settled is not None
    assert settled.credited_now


async def test_while_the_provider_is_away_nothing_changes(
    shop: Shop, pool: Pool, provider: FakeProvider
) -> None:
    await shop.customer()
    payment = await paid(pool, provider)
    provider.away = True
    with pytest.raises(PaymentOutcomeUnknown):
        await service.check(pool, provider, payment.id)
    provider.away = False
    assert (await service.check(pool, provider, payment.id)).credited_now


async def test_a_settled_payment_is_not_asked_for_again(
    shop: Shop, pool: Pool, provider: FakeProvider
) -> None:
    await shop.customer()
    payment = await paid(pool, provider)
    await service.check(pool, provider, payment.id)
    asked = provider.gets
    await service.check(pool, provider, payment.id)
    assert provider.gets == asked


async def test_a_canceled_payment_is_closed_and_told_once(
    shop: Shop, pool: Pool, provider: FakeProvider
) -> None:
    await shop.customer()
    payment = await topup(pool, provider)
    provider.change("remote-0", status="canceled", cancellation_reason="expired_on_confirmation")
    for _ in range(2):
        settled = await service.check(pool, provider, payment.id)
        assert settled.payment.status is PaymentStatus.CANCELED
    assert await pool.fetchval("SELECT count(*) FROM deliveries") == 1


async def test_an_unknown_payment_is_said_to_be_unknown(
    shop: Shop, pool: Pool, provider: FakeProvider
) -> None:
    await shop.customer()
    with pytest.raises(PaymentUnknown):
        await service.check(pool, provider, UUID(int=1))


async def refund(
    pool: Pool, provider: FakeProvider, payment: Payment, kopecks: int, op: str
) -> str:
    done = await service.refund_payment(
        pool, provider, payment_id=payment.id, amount_kopecks=kopecks, operation_id=op
    )
    return done.status


async def test_a_refund_debits_once_however_often_it_is_asked_for(
    shop: Shop, pool: Pool, provider: FakeProvider
) -> None:
    await shop.customer()
    payment = await paid(pool, provider)
    await service.check(pool, provider, payment.id)
    provider.lose_next_answer = True
    with pytest.raises(PaymentOutcomeUnknown):
        await refund(pool, provider, payment, 20_000, "r1")
    assert (
        await asyncio.gather(*(refund(pool, provider, payment, 20_000, "r1") for _ in range(5)))
        == ["succeeded"] * 5
    )
    assert await shop.balance() == 30_000
    assert len(provider.refunds) == 1


async def test_a_refund_that_cannot_unlock_does_not_keep_others_out(pool: Pool) -> None:
    """Its connection would go back to the pool with the lock, and nobody could refund any more."""
    payment_id = uuid4()

    async def fail_inside() -> None:
        async with pool.acquire() as connection, queries.sole_refund_of(connection, payment_id):
            await connection.execute("BEGIN")
            with contextlib.suppress(asyncpg.DivisionByZeroError):
                await connection.execute("SELECT 1 / 0")  # nothing can be said any more

    # Open beforehand: a lock does not keep out the connection that has it.
    async with asyncio.timeout(10), pool.acquire() as other:
        with pytest.raises(asyncpg.InFailedSQLTransactionError):
            await fail_inside()
        async with queries.sole_refund_of(other, payment_id):
            assert not other.is_closed()


async def test_refunds_never_exceed_the_payment(
    shop: Shop, pool: Pool, provider: FakeProvider
) -> None:
    await shop.customer(balance_kopecks=100_000)
    payment = await paid(pool, provider)
    await service.check(pool, provider, payment.id)
    answers = await asyncio.gather(
        *(refund(pool, provider, payment, 20_000, f"r{n}") for n in range(5)),
        return_exceptions=True,
    )
    assert answers.count("succeeded") == 2
    assert sum(isinstance(answer, PaymentRejected) for answer in answers) == 3


async def test_a_refused_refund_gives_the_debit_back(
    shop: Shop, pool: Pool, provider: FakeProvider
) -> None:
    await shop.customer()
    payment = await paid(pool, provider)
    await service.check(pool, provider, payment.id)
    provider.refuse_next = True
    with pytest.raises(PaymentRejected):
        await refund(pool, provider, payment, 20_000, "r1")
    assert await shop.balance() == 50_000
    assert await refund(pool, provider, payment, 20_000, "r1") == "failed"


async def test_money_that_was_spent_is_not_refunded(
    shop: Shop, pool: Pool, provider: FakeProvider
) -> None:
    await shop.customer()
    payment = await paid(pool, provider)
    await service.check(pool, provider, payment.id)
    async with pool.acquire() as connection:
        await adjust(connection, user_id=1, change_kopecks=-40_000, operation_id="x", reason="")
    with pytest.raises(InsufficientFunds):
        await refund(pool, provider, payment, 20_000, "r1")


async def test_a_refund_operation_with_other_content_is_a_conflict(
    shop: Shop, pool: Pool, provider: FakeProvider
) -> None:
    await shop.customer()
    payment = await paid(pool, provider)
    await service.check(pool, provider, payment.id)
    await refund(pool, provider, payment, 100, "r1")
    with pytest.raises(OperationConflict):
        await refund(pool, provider, payment, 200, "r1")

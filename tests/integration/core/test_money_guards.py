"""The second line of defence: what each statement refuses by itself, whatever its callers compared.

And refunds that are asked for twice: at the same time, and a day later.
"""

from __future__ import annotations

import asyncio
import time
from uuid import UUID

import pytest

from rei_core.db import Pool
from rei_core.errors import PaymentOutcomeUnknown, PaymentRejected
from rei_core.payments import queries, service
from rei_core.payments.model import Payment, Refund
from rei_core.payments.port import RemoteRefund

from .conftest import Shop
from .test_payments import FakeProvider, paid

PAYMENT = UUID(int=1)


@pytest.fixture
def provider() -> FakeProvider:
    return FakeProvider()


async def open_payment(shop: Shop) -> None:
    """A payment of 500 ₽ that the provider knows as `remote`."""
    await shop.customer()
    async with shop.pool.acquire() as connection:
        await queries.open_payment(
            connection, PAYMENT, user_id=1, amount_kopecks=50_000, request_key="k", chat_id=1
        )
        await queries.mark_pending(
            connection, PAYMENT, provider_payment_id="remote", confirmation_url=None
        )


async def credit(pool: Pool, **differs: object) -> Payment | None:
    told: dict[str, object] = {
        "provider_payment_id": "remote",
        "amount_kopecks": 50_000,
        "currency": "RUB",
    }
    async with pool.acquire() as connection:
        return await queries.credit(connection, PAYMENT, **(told | differs))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("field", "value"),
    [("provider_payment_id", "another"), ("amount_kopecks", 50_001), ("currency", "USD")],
)
async def test_the_statement_credits_nothing_that_differs(
    shop: Shop, pool: Pool, field: str, value: object
) -> None:
    await open_payment(shop)
    assert await credit(pool, **{field: value}) is None
    assert await shop.balance() == 0
    assert await credit(pool) is not None
    assert await credit(pool) is None
    assert await shop.balance() == 50_000


async def test_a_credit_is_not_undone_by_what_comes_late(shop: Shop, pool: Pool) -> None:
    await open_payment(shop)
    await credit(pool)
    async with pool.acquire() as connection:
        late = await queries.mark_canceled(
            connection, PAYMENT, provider_payment_id="remote", reason=None
        )
        assert late is None
        pending = await queries.mark_pending(
            connection, PAYMENT, provider_payment_id="remote", confirmation_url=None
        )
    assert pending is not None
    assert pending.status == "succeeded"


async def test_a_refund_is_reversed_once(shop: Shop, pool: Pool) -> None:
    await open_payment(shop)
    await credit(pool)
    refund_id = UUID(int=2)
    async with pool.acquire() as connection:
        await queries.open_refund(
            connection, refund_id, payment_id=PAYMENT, operation_id="r", amount_kopecks=20_000
        )
        assert await shop.balance() == 30_000
        for _ in range(2):
            await queries.fail_refund(connection, refund_id, error_detail="refused")
    assert await shop.balance() == 50_000


async def test_a_refund_that_went_out_is_not_reversed(shop: Shop, pool: Pool) -> None:
    await open_payment(shop)
    await credit(pool)
    refund_id = UUID(int=2)
    async with pool.acquire() as connection:
        await queries.open_refund(
            connection, refund_id, payment_id=PAYMENT, operation_id="r", amount_kopecks=20_000
        )
        await queries.mark_refunded(connection, refund_id, provider_refund_id="there")
        await queries.fail_refund(connection, refund_id, error_detail="refused")
    assert await shop.balance() == 30_000


async def refund(
    pool: Pool, provider: FakeProvider, payment: Payment, kopecks: int = 50_000
) -> Refund:
    return await service.refund_payment(
        pool, provider, payment_id=payment.id, amount_kopecks=kopecks, operation_id="r"
    )


async def settled(shop: Shop, provider: FakeProvider) -> Payment:
    await shop.customer()
    payment = await paid(shop.pool, provider)
    await service.check(shop.pool, provider, payment.id)
    return payment


async def test_a_whole_payment_refunded_by_several_at_once_is_one_refund(
    shop: Shop, pool: Pool, provider: FakeProvider
) -> None:
    """The first leaves nothing to refund: the others must find it, and not be refused for that."""
    payment = await settled(shop, provider)
    done = await asyncio.gather(*(refund(pool, provider, payment) for _ in range(5)))
    assert {(one.id, one.status) for one in done} == {(done[0].id, "succeeded")}
    assert await shop.balance() == 0


STANDS_IN_LINE = "SELECT count(*) > 0 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"


class HalfDeaf(FakeProvider):
    """Refuses the first question once the second has been carried out, or has to wait its turn."""

    def __init__(self, pool: Pool) -> None:
        super().__init__()
        self.pool = pool
        self.questions = 0

    async def refund(self, payment_id: str, **more: object) -> RemoteRefund:
        self.questions += 1
        if self.questions == 1:
            deadline = time.monotonic() + 10
            while not self.refunds and not await self.pool.fetchval(STANDS_IN_LINE):
                assert time.monotonic() < deadline, "nobody else asked"
                await asyncio.sleep(0.01)
            raise PaymentRejected("refused", http_status=400)
        return await super().refund(payment_id, **more)  # type: ignore[arg-type]


async def test_no_try_sends_the_money_out_while_another_is_being_refused(
    shop: Shop, pool: Pool
) -> None:
    provider = HalfDeaf(pool)
    payment = await settled(shop, provider)
    answers = await asyncio.gather(
        refund(pool, provider, payment), refund(pool, provider, payment), return_exceptions=True
    )
    ends = [one.status if isinstance(one, Refund) else type(one).__name__ for one in answers]
    assert sorted(ends) == ["PaymentRejected", "failed"]
    assert await shop.balance() == 50_000
    assert provider.refunds == {}, "the money is here; it must not be on its way out as well"


async def test_what_the_provider_did_and_forgot_is_not_given_back_a_second_time(
    shop: Shop, pool: Pool, provider: FakeProvider
) -> None:
    payment = await settled(shop, provider)
    provider.lose_next_answer = True
    with pytest.raises(PaymentOutcomeUnknown):
        await refund(pool, provider, payment)
    # A day later: the key is forgotten, the payment is refunded, and nothing is left to refund.
    provider.refunds.clear()
    provider.change("remote-0", refunded_kopecks=50_000)
    provider.refuse_next = True
    with pytest.raises(PaymentOutcomeUnknown, match="may have been carried out"):
        await refund(pool, provider, payment)
    assert await shop.balance() == 0, "it is with the customer already"


async def test_a_repeat_that_is_refused_for_certain_gives_the_debit_back(
    shop: Shop, pool: Pool, provider: FakeProvider
) -> None:
    payment = await settled(shop, provider)
    provider.lose_next_answer = True
    with pytest.raises(PaymentOutcomeUnknown):
        await refund(pool, provider, payment)
    provider.refunds.clear()  # it was never carried out
    provider.refuse_next = True
    with pytest.raises(PaymentRejected):
        await refund(pool, provider, payment)
    assert await shop.balance() == 50_000

"""What YooKassa knows and we do not: found, settled once, or told; over real HTTP to the stand-in."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rei_core.db import create_pool
from rei_core.errors import PaymentNotFound, PaymentOutcomeUnknown, PaymentRejected
from rei_core.ledger.audit import audit
from rei_core.ledger.service import adjust
from rei_core.maintenance.model import RunResult, Unrecorded
from rei_core.maintenance.reconciliation.model import Reconciliation, UnknownPayment
from rei_core.maintenance.reconciliation.service import reconcile
from rei_core.maintenance.resources.payments import PaymentReconciliationSpec
from rei_core.maintenance.runs.service import Outcome, carry_out
from rei_core.payments import queries
from rei_core.payments.found_refunds import close
from rei_core.payments.model import Payment, PaymentStatus
from rei_core.payments.port import RemoteRefund
from rei_core.payments.yookassa import YooKassaClient
from rei_core.users import queries as users
from rei_sandbox.app import Running, running
from rei_sandbox.settings import SandboxSettings
from rei_sandbox.yookassa.model import Payment as Remote
from rei_sandbox.yookassa.requests import NewRefund

from ..core.conftest import ANNA
from ..core_adapters.conftest import SECRET_KEY, SHOP_ID, Endpoint, Till
from ..core_adapters.conftest import endpoint as endpoint  # noqa: PLC0414 - fixtures of this file
from ..core_adapters.conftest import http as http  # noqa: PLC0414
from ..core_adapters.conftest import sandbox as sandbox  # noqa: PLC0414
from ..core_adapters.conftest import till as till  # noqa: PLC0414
from ..core_adapters.conftest import yookassa as yookassa  # noqa: PLC0414
from ..money_models.profiles import PROFILE, SECONDS_MAX
from ..money_models.real_books import EMPTY
from .conftest import LOST, crash_at, key, no_crash

SPEC = PaymentReconciliationSpec(period_seconds=300, older_than_minutes=15, lookback_days=3)
AGED = """
UPDATE payments SET created_at = created_at - make_interval(mins => $2) WHERE id = ANY($1)
"""
AGED_REFUND = """
UPDATE payment_refunds SET created_at = created_at - make_interval(mins => $1)
"""


class Desk:
    """A till whose notifications never come, and the one who reconciles it."""

    def __init__(self, till: Till, sandbox: Running) -> None:
        self.till = till
        self.pool = till.pool
        self.shop = sandbox.sandbox.yookassa.shop
        self.faults = sandbox.sandbox.faults
        self.faults.add("yookassa", "lost", operation="notification", count=1000)

    async def open(self, name: str, *, minutes: int = 20) -> Payment:
        """A top-up that was begun some minutes ago."""
        payment = await self.till.topup(name)
        await self.age(payment.id, minutes=minutes)
        return payment

    async def age(self, payment_id: UUID, *, minutes: int) -> None:
        await self.pool.execute(AGED, [payment_id], minutes)

    def remote(self, payment: Payment) -> Remote:
        return self.shop.payments[str(payment.provider_payment_id)]

    async def unanswered(self, *, minutes: int) -> Payment:
        """A top-up whose creation was carried out and never answered."""
        self.faults.add("yookassa", "done_no_answer", operation="create")
        with pytest.raises(PaymentOutcomeUnknown):
            await self.till.topup("unanswered")
        row = await self.pool.fetchrow("SELECT * FROM payments WHERE status = 'created'")
        assert row is not None
        payment = queries.payment_of(row)
        await self.age(payment.id, minutes=minutes)
        return payment

    async def reconcile(
        self, spec: PaymentReconciliationSpec = SPEC, provider: Any = None
    ) -> Reconciliation:
        return await reconcile(self.pool, provider or self.till.provider, spec, Unrecorded())

    async def status(self, payment: Payment) -> PaymentStatus:
        async with self.pool.acquire() as connection:
            found = await queries.find(connection, payment.id)
        assert found is not None
        return found.status


@pytest.fixture
def desk(till: Till, sandbox: Running) -> Desk:
    return Desk(till, sandbox)


async def test_open_payments_come_to_the_end_that_they_have_at_the_provider(desk: Desk) -> None:
    paid, declined, waiting, young = [await desk.open(name) for name in "abcd"]
    await desk.age(young.id, minutes=-19)
    desk.shop.pay(desk.remote(paid))
    desk.shop.pay(desk.remote(young))
    desk.shop.decline(desk.remote(declined))
    spec = SPEC.model_copy(update={"lookback_days": 0})

    found = await desk.reconcile(spec)

    assert found.result == RunResult(examined=3, changed=2, amount_kopecks=20_000)
    assert await desk.status(paid) is PaymentStatus.SUCCEEDED
    assert await desk.status(declined) is PaymentStatus.CANCELED
    assert await desk.status(waiting) is PaymentStatus.PENDING
    assert await desk.status(young) is PaymentStatus.PENDING
    told = await desk.pool.fetch("SELECT kind, ref_id FROM deliveries ORDER BY kind")
    assert [tuple(row) for row in told] == [
        ("payment_canceled", str(declined.id)), ("payment_credited", str(paid.id)),
    ]  # fmt: skip
    assert (await desk.reconcile(spec)).result == RunResult(examined=1)


async def test_many_at_once_beside_notifications_and_checks_credit_once(
    desk: Desk, endpoint: Endpoint
) -> None:
    payments = [await desk.open(f"p{n}") for n in range(8)]
    for payment in payments:
        desk.shop.pay(desk.remote(payment))
    spec = SPEC.model_copy(update={"concurrency": 8})
    checks = asyncio.gather(*(desk.till.check(one) for one in payments))
    first, second = await asyncio.gather(desk.reconcile(spec), desk.reconcile(spec))
    credited = first.result.amount_kopecks + second.result.amount_kopecks
    assert credited + 20_000 * sum(await checks) == 160_000
    assert (await desk.till.balance(), await desk.till.credits()) == (160_000, 8)
    assert endpoint.outcomes == []


async def test_a_contradiction_is_told_and_not_credited(desk: Desk) -> None:
    odd, even = await desk.open("odd"), await desk.open("even")
    desk.shop.pay(desk.remote(odd))
    desk.shop.pay(desk.remote(even))
    desk.remote(odd).amount_kopecks = 2_000_000
    found = await desk.reconcile(SPEC.model_copy(update={"lookback_days": 0}))
    assert (found.result.changed, found.result.failed) == (1, 1)
    assert "amount" in found.result.notes[0]
    assert str(odd.id) in found.result.notes[0]
    assert await desk.till.balance() == 20_000


async def test_one_question_that_fails_keeps_no_other_from_its_answer(desk: Desk) -> None:
    payments = [await desk.open(f"p{n}") for n in range(4)]
    for payment in payments:
        desk.shop.pay(desk.remote(payment))
    lost = desk.shop.payments.pop(str(payments[0].provider_payment_id))
    spec = SPEC.model_copy(update={"lookback_days": 0})
    found = await desk.reconcile(spec)
    assert (found.result.changed, found.result.failed) == (3, 1)
    desk.shop.payments[lost.id] = lost
    assert (await desk.reconcile(spec)).result == RunResult(1, 1, 0, 20_000)


async def test_while_the_provider_is_away_the_rest_is_left_to_the_next_run(desk: Desk) -> None:
    payments = [await desk.open(f"p{n}") for n in range(14)]
    for payment in payments:
        desk.shop.pay(desk.remote(payment))
    desk.faults.add("yookassa", "unavailable", operation="get", count=1000)
    spec = SPEC.model_copy(update={"concurrency": 1})
    found = await desk.reconcile(spec)
    assert (found.result.examined, found.result.changed, found.result.failed) == (10, 0, 10)
    assert found.result.notes[-1] == "YooKassa does not answer: the rest waits for the next run"
    assert await desk.till.balance() == 0


async def test_a_refused_key_ends_the_questions_and_is_not_told(
    desk: Desk, sandbox: Running
) -> None:
    for name in "abc":
        await desk.open(name)
    client = YooKassaClient(
        shop_id=SHOP_ID, secret_key="revoked-0815", base_url=f"{sandbox.url}/yookassa/v3"
    )
    found = await desk.reconcile(SPEC.model_copy(update={"concurrency": 1}), client)
    await client.aclose()
    assert (found.result.examined, found.result.failed) == (1, 1)
    assert "refuses our key" in found.result.notes[-1]
    assert "0815" not in str(found)


async def test_no_more_is_asked_than_may_be(desk: Desk) -> None:
    for name in "abcde":
        await desk.open(name)
    spec = SPEC.model_copy(update={"max_per_run": 3, "lookback_days": 0})
    assert (await desk.reconcile(spec)).result == RunResult(examined=3)


# --- creations without an answer ------------------------------------------------------------------


@pytest.mark.parametrize("minutes", [20, 3 * 1440])
async def test_a_creation_without_an_answer_is_found_in_the_list(desk: Desk, minutes: int) -> None:
    payment = await desk.unanswered(minutes=minutes)
    [remote] = desk.shop.payments.values()
    desk.shop.pay(remote)
    found = await desk.reconcile(SPEC.model_copy(update={"lookback_days": 0}))
    assert found.result == RunResult(examined=1, changed=1, amount_kopecks=20_000)
    assert await desk.status(payment) is PaymentStatus.SUCCEEDED
    assert len(desk.shop.payments) == 1, "nothing is created by looking"


async def test_a_creation_that_never_was_is_closed_when_its_key_is_forgotten_and_not_before(
    desk: Desk,
) -> None:
    payment = await desk.unanswered(minutes=24 * 60)
    desk.shop.payments.clear()
    assert (await desk.reconcile()).result == RunResult(examined=1)
    assert await desk.status(payment) is PaymentStatus.CREATED
    await desk.age(payment.id, minutes=3 * 60)
    desk.faults.add("yookassa", "unavailable", operation="list", count=3)
    assert (await desk.reconcile()).result.failed >= 1
    assert await desk.status(payment) is PaymentStatus.CREATED, "the list was not read to its end"
    assert (await desk.reconcile()).result == RunResult(examined=1, changed=1)
    assert await desk.status(payment) is PaymentStatus.CANCELED
    assert await desk.pool.fetchval("SELECT count(*) FROM deliveries") == 0
    assert desk.shop.payments == {}


async def test_a_payment_that_is_paid_after_its_row_was_closed_is_credited(desk: Desk) -> None:
    payment = await desk.unanswered(minutes=27 * 60)
    kept = dict(desk.shop.payments)
    desk.shop.payments.clear()
    await desk.reconcile()
    assert await desk.status(payment) is PaymentStatus.CANCELED
    desk.shop.payments.update(kept)
    [remote] = kept.values()
    desk.shop.pay(remote)
    assert (await desk.reconcile()).result.amount_kopecks == 20_000
    assert await desk.status(payment) is PaymentStatus.SUCCEEDED


# --- payments that we do not know -----------------------------------------------------------------


def stranger(desk: Desk, number: int, *, kopecks: int = 5_000, days_ago: float = 0.5) -> Remote:
    """A payment of another till, or of one whose row is lost."""
    at = datetime.now(UTC) - timedelta(days=days_ago, seconds=-number)
    remote = Remote(
        id=str(UUID(int=number + 1)), amount_kopecks=kopecks, capture=True, return_url="https://x",
        created_at=at, expires_at=at, metadata={"rei_payment_id": str(UUID(int=number + 1000))},
    )  # fmt: skip
    desk.shop.payments[remote.id] = remote
    desk.shop.pay(remote)
    return remote


async def test_unknown_payments_are_told_and_not_credited(desk: Desk) -> None:
    ours = await desk.open("ours")
    desk.shop.pay(desk.remote(ours))
    for number in range(25):
        stranger(desk, number)
    stranger(desk, 100, days_ago=4)
    refunded = stranger(desk, 101)
    desk.shop.refund(NewRefund(refunded.id, 5_000))

    found = await desk.reconcile()

    assert found.unknown_count == 25
    assert [one.provider_payment_id for one in found.unknown] == [
        str(UUID(int=number + 1)) for number in range(24, 4, -1)
    ]
    assert {one.amount_kopecks for one in found.unknown} == {5_000}
    assert found.result.amount_kopecks == 20_000
    assert "25 payments succeeded at YooKassa and are unknown here" in found.result.notes[0]
    assert (await desk.till.balance(), await desk.till.credits()) == (20_000, 1)
    assert Reconciliation.of(found.result, found.detail()) == found
    assert Reconciliation.of(RunResult(), {}) == Reconciliation(RunResult())


async def test_what_was_paid_and_never_told_is_found_by_the_list_alone(desk: Desk) -> None:
    payment = await desk.open("young", minutes=0)
    desk.shop.pay(desk.remote(payment))
    found = await desk.reconcile()
    assert (found.result.changed, found.result.amount_kopecks) == (1, 20_000)
    assert found.unknown_count == 0


async def test_a_second_payment_for_one_row_is_unknown(desk: Desk) -> None:
    payment = await desk.open("one")
    desk.shop.pay(desk.remote(payment))
    twin = stranger(desk, 1)
    twin.metadata["rei_payment_id"] = str(payment.id)
    found = await desk.reconcile()
    assert found.unknown == (UnknownPayment(twin.id, 5_000, found.unknown[0].created_at),)
    assert await desk.till.balance() == 20_000


# --- refunds --------------------------------------------------------------------------------------


@pytest.fixture
async def paid(desk: Desk) -> Payment:
    payment = await desk.open("paid")
    desk.shop.pay(desk.remote(payment))
    assert await desk.till.check(payment)
    return payment


async def lost_refund(desk: Desk, paid: Payment, *, kopecks: int = 5_000) -> None:
    """A refund that is carried out and never answered."""
    desk.faults.add("yookassa", "done_no_answer", operation="refund")
    with pytest.raises(PaymentOutcomeUnknown):
        await desk.till.refund(paid.id, kopecks=kopecks)


async def refund_status(desk: Desk) -> str:
    value: str = await desk.pool.fetchval("SELECT status FROM payment_refunds")
    return value


async def test_a_pending_refund_is_finished_under_its_own_operation(
    desk: Desk, paid: Payment
) -> None:
    await lost_refund(desk, paid)
    spec = SPEC.model_copy(update={"lookback_days": 0})
    assert (await desk.reconcile(spec)).result == RunResult(), "it may be on its way"
    await desk.pool.execute(AGED_REFUND, 20)
    assert (await desk.reconcile(spec)).result == RunResult(examined=1, changed=1)
    assert await refund_status(desk) == "succeeded"
    assert desk.shop.counts()["refunds"] == 1
    assert await desk.till.balance() == 15_000
    assert (await desk.reconcile(spec)).result == RunResult()


async def test_a_refund_that_the_provider_refuses_gives_the_debit_back(
    desk: Desk, paid: Payment
) -> None:
    desk.faults.add("yookassa", "unavailable", operation="refund")
    with pytest.raises(PaymentOutcomeUnknown):
        await desk.till.refund(paid.id, kopecks=5_000)
    assert await desk.till.balance() == 15_000
    await desk.pool.execute(AGED_REFUND, 20)
    remote = desk.remote(paid)
    remote.status = "canceled"
    found = await desk.reconcile(SPEC.model_copy(update={"lookback_days": 0}))
    assert (found.result.changed, found.result.amount_kopecks) == (1, 5_000)
    assert "the debit is back" in found.result.notes[0]
    assert await desk.till.balance() == 20_000


def without_words(desk: Desk) -> None:
    """Make the provider's list not tell whose the refunds are."""
    for refund in list(desk.shop.refunds.values()):
        desk.shop.refunds[refund.id] = replace(refund, description="")


@pytest.mark.parametrize("kopecks", [5_000, 20_000])
async def test_a_refund_whose_key_is_forgotten_is_found_in_the_list(
    desk: Desk, paid: Payment, kopecks: int
) -> None:
    await lost_refund(desk, paid, kopecks=kopecks)
    await desk.pool.execute(AGED_REFUND, 25 * 60)
    desk.shop._answers.clear()
    found = await desk.reconcile()
    assert (found.result.changed, found.result.failed) == (1, 0)
    assert desk.shop.counts()["refunds"] == 1
    assert await desk.till.balance() == 20_000 - kopecks
    assert await refund_status(desk) == "succeeded"


async def test_a_refund_that_is_on_its_way_there_when_its_key_is_forgotten_is_not_sent_again(
    desk: Desk, paid: Payment, sandbox: Running
) -> None:
    """Not carried out yet, so the payment does not tell of it: only the list does."""

    class Pending(YooKassaClient):
        async def list_refunds(self, **query: Any) -> AsyncIterator[RemoteRefund]:
            async for refund in super().list_refunds(**query):
                yield replace(refund, status="pending")

    await lost_refund(desk, paid)
    await desk.pool.execute(AGED_REFUND, 25 * 60)
    desk.shop._answers.clear()
    desk.remote(paid).refunded_kopecks = 0
    pending = Pending(shop_id=SHOP_ID, secret_key=SECRET_KEY, base_url=f"{sandbox.url}/yookassa/v3")
    found = await desk.reconcile(provider=pending)
    await pending.aclose()
    assert (found.result.changed, found.result.failed) == (0, 0)
    assert desk.shop.counts()["refunds"] == 1
    assert await refund_status(desk) == "pending"
    assert (await desk.reconcile()).result.changed == 1, "asked about by its own id from now on"
    assert desk.shop.counts()["refunds"] == 1
    assert await desk.till.balance() == 15_000


@pytest.mark.parametrize("kopecks", [5_000, 20_000])
async def test_a_refund_whose_key_is_forgotten_is_not_sent_out_again(
    desk: Desk, paid: Payment, kopecks: int
) -> None:
    await lost_refund(desk, paid, kopecks=kopecks)
    without_words(desk)
    await desk.pool.execute(AGED_REFUND, 25 * 60)
    desk.shop._answers.clear()
    found = await desk.reconcile(SPEC.model_copy(update={"lookback_days": 0}))
    assert (found.result.changed, found.result.failed) == (0, 1)
    assert "may have been carried out" in found.result.notes[0]
    assert desk.shop.counts()["refunds"] == 1
    assert desk.remote(paid).refunded_kopecks == kopecks
    assert await desk.till.balance() == 20_000 - kopecks
    assert await refund_status(desk) == "pending"


async def test_a_refund_that_never_reached_the_provider_goes_out_a_day_later(
    desk: Desk, paid: Payment
) -> None:
    desk.faults.add("yookassa", "unavailable", operation="refund")
    with pytest.raises(PaymentOutcomeUnknown):
        await desk.till.refund(paid.id, kopecks=5_000)
    await desk.pool.execute(AGED_REFUND, 25 * 60)
    found = await desk.reconcile(SPEC.model_copy(update={"lookback_days": 0}))
    assert found.result == RunResult(examined=1, changed=1)
    assert desk.shop.counts()["refunds"] == 1


class Slow(YooKassaClient):
    """A YooKassa that takes its time for refunds; `end` is where they are."""

    end: Any = "pending"

    async def refund(self, payment_id: str, **more: Any) -> RemoteRefund:
        return replace(await super().refund(payment_id, **more), status="pending")

    async def get_refund(self, refund_id: str) -> RemoteRefund:
        return replace(await super().get_refund(refund_id), status=self.end)


async def test_a_refund_that_takes_days_is_asked_about_by_its_own_id(
    desk: Desk, paid: Payment, sandbox: Running
) -> None:
    slow = Slow(shop_id=SHOP_ID, secret_key=SECRET_KEY, base_url=f"{sandbox.url}/yookassa/v3")
    desk.till.provider = slow
    with pytest.raises(PaymentOutcomeUnknown):
        await desk.till.refund(paid.id, kopecks=5_000)
    await desk.pool.execute(AGED_REFUND, 3 * 1440)
    desk.shop._answers.clear()
    spec = SPEC.model_copy(update={"lookback_days": 0})
    assert (await desk.reconcile(spec)).result == RunResult(examined=1), "on its way: no failure"
    slow.end = "succeeded"
    assert (await desk.reconcile(spec)).result == RunResult(examined=1, changed=1)
    assert await refund_status(desk) == "succeeded"
    assert desk.shop.counts()["refunds"] == 1
    await slow.aclose()


# --- refunds that we do not know ------------------------------------------------------------------


async def test_a_refund_made_in_the_merchants_profile_is_debited_once(
    desk: Desk, paid: Payment
) -> None:
    made = desk.shop.refund(NewRefund(str(paid.provider_payment_id), 5_000))
    first, second = await asyncio.gather(desk.reconcile(), desk.reconcile())
    assert {first.result.amount_kopecks, second.result.amount_kopecks} <= {0, -5_000}
    assert any(made.id in note for one in (first, second) for note in one.result.notes)
    assert (await desk.reconcile()).result == RunResult(examined=2)
    assert await desk.till.balance() == 15_000
    rows = await desk.pool.fetch("SELECT * FROM payment_refunds")
    assert [(row["provider_refund_id"], row["status"]) for row in rows] == [(made.id, "succeeded")]


async def test_a_refund_that_a_restored_database_has_forgotten_is_debited_and_not_sent_again(
    desk: Desk, paid: Payment
) -> None:
    """The backup was taken after the payment and before its refund."""
    assert await desk.till.refund(paid.id, kopecks=5_000) == "succeeded"
    await forget_refunds(desk)
    desk.shop._answers.clear()
    assert await desk.till.balance() == 20_000

    assert (await desk.reconcile()).result.amount_kopecks == -5_000

    assert await desk.till.balance() == 15_000
    assert await desk.till.refund(paid.id, kopecks=5_000) == "succeeded", "asked for once more"
    assert desk.shop.counts()["refunds"] == 1
    assert await desk.till.balance() == 15_000
    assert (await desk.reconcile()).result.changed == 0


async def test_a_forgotten_refund_that_is_asked_for_again_is_not_sent_again(
    desk: Desk, paid: Payment
) -> None:
    """Whoever asked for it asks again, before any reconciliation, when its key is forgotten too."""
    assert await desk.till.refund(paid.id, kopecks=5_000) == "succeeded"
    await forget_refunds(desk)
    desk.shop._answers.clear()
    assert await desk.till.refund(paid.id, kopecks=5_000) == "succeeded"
    assert desk.shop.counts()["refunds"] == 1
    assert desk.remote(paid).refunded_kopecks == 5_000
    assert (await desk.reconcile()).result.changed == 0
    assert await desk.till.balance() == 15_000


async def forget_refunds(desk: Desk) -> None:
    """Take the ledger back to where it was before its refunds."""
    async with desk.pool.acquire() as connection, connection.transaction():
        await connection.execute("SET LOCAL session_replication_role = replica")
        await connection.execute(
            "UPDATE balances AS b SET balance_kopecks = balance_kopecks + t.amount_kopecks"
            " FROM transfers AS t WHERE t.kind = 'payment_refund' AND t.user_id = b.user_id"
        )
        await connection.execute("DELETE FROM transfers WHERE kind = 'payment_refund'")
        await connection.execute("DELETE FROM payment_refunds")


async def test_a_payment_that_was_paid_and_refunded_while_we_were_away_ends_at_nothing(
    desk: Desk,
) -> None:
    payment = await desk.open("both")
    desk.shop.pay(desk.remote(payment))
    desk.shop.refund(NewRefund(str(payment.provider_payment_id), 20_000))
    await desk.reconcile()
    assert await desk.till.balance() == 0
    assert await desk.till.credits() == 1


async def test_a_refund_whose_money_is_spent_is_told_until_it_can_be_debited(
    desk: Desk, paid: Payment
) -> None:
    made = desk.shop.refund(NewRefund(str(paid.provider_payment_id), 5_000))
    await spend(desk, 16_000, "s1")
    found = await desk.reconcile()
    assert (found.result.changed, found.result.failed, found.unbooked_count) == (0, 0, 1)
    [told] = found.unbooked
    assert (told.provider_refund_id, told.amount_kopecks) == (made.id, 5_000)
    assert "not debited here" in found.result.notes[-1]
    assert Reconciliation.of(found.result, found.detail()) == found
    assert await desk.till.balance() == 4_000
    await spend(desk, -1_000, "s2")
    assert (await desk.reconcile()).unbooked_count == 0
    assert await desk.till.balance() == 0


async def spend(desk: Desk, kopecks: int, operation: str) -> None:
    async with desk.pool.acquire() as connection, connection.transaction():
        await adjust(
            connection, user_id=1, change_kopecks=-kopecks, operation_id=operation, reason="r"
        )


async def test_refunds_of_other_shops_and_those_that_are_not_over_are_left_alone(
    desk: Desk, paid: Payment
) -> None:
    foreign = stranger(desk, 1)
    desk.shop.refund(NewRefund(foreign.id, 2_000))
    assert await desk.till.refund(paid.id, kopecks=5_000) == "succeeded"
    assert (await desk.reconcile()).result.changed == 0
    assert await desk.till.balance() == 15_000


async def test_while_a_refund_of_ours_is_unclear_no_other_of_its_payment_is_debited(
    desk: Desk, paid: Payment
) -> None:
    """Else its money would be taken twice: for the refund that is pending, and for the one found."""
    await lost_refund(desk, paid)
    without_words(desk)
    await desk.pool.execute(AGED_REFUND, 25 * 60)
    desk.shop._answers.clear()
    found = await desk.reconcile()
    assert (found.result.changed, found.result.failed, found.unbooked_count) == (0, 1, 1)
    assert await desk.till.balance() == 15_000


# --- a person's word ------------------------------------------------------------------------------


@pytest.fixture
async def unclear(desk: Desk, paid: Payment) -> UUID:
    """A refund that was carried out and whose outcome nobody can find out any more; its id."""
    await lost_refund(desk, paid)
    without_words(desk)
    await desk.pool.execute(AGED_REFUND, 25 * 60)
    desk.shop._answers.clear()
    value: UUID = await desk.pool.fetchval("SELECT id FROM payment_refunds")
    return value


async def test_a_refund_is_closed_as_the_one_that_the_provider_confirms(
    desk: Desk, unclear: UUID
) -> None:
    [there] = desk.shop.refunds.values()
    for wrong in (str(UUID(int=7)), there.id):
        if wrong == there.id:
            desk.shop.refunds[there.id] = replace(there, amount_kopecks=4_900)
        with pytest.raises((PaymentNotFound, PaymentRejected)):
            await close(
                desk.pool,
                desk.till.provider,
                unclear,
                provider_refund_id=wrong,
                reason="r",
                actor=ANNA,
            )
    desk.shop.refunds[there.id] = there
    done = await close(
        desk.pool,
        desk.till.provider,
        unclear,
        provider_refund_id=there.id,
        reason="seen there",
        actor=ANNA,
    )
    assert done.status == "succeeded"
    words = await desk.pool.fetchval("SELECT error_detail FROM payment_refunds")
    assert words == "closed by hand as carried out: seen there"
    assert (await desk.reconcile()).result.changed == 0
    assert await desk.till.balance() == 15_000
    with pytest.raises(PaymentRejected, match="has ended"):
        await close(
            desk.pool, desk.till.provider, unclear, provider_refund_id=None, reason="r", actor=ANNA
        )


async def test_a_wrong_word_on_a_refund_costs_nobody_anything(desk: Desk, unclear: UUID) -> None:
    done = await close(
        desk.pool,
        desk.till.provider,
        unclear,
        provider_refund_id=None,
        reason="not in the profile",
        actor=ANNA,
    )
    assert done.status == "failed"
    assert await desk.till.balance() == 20_000
    await desk.reconcile()
    assert await desk.till.balance() == 15_000, "it was there, so it is debited"
    assert (await desk.reconcile()).result.changed == 0


async def test_a_refund_that_the_list_tells_is_not_closed_as_never_made(
    desk: Desk, paid: Payment
) -> None:
    await lost_refund(desk, paid)
    refund_id = await desk.pool.fetchval("SELECT id FROM payment_refunds")
    with pytest.raises(PaymentRejected, match="the provider has it"):
        await close(
            desk.pool,
            desk.till.provider,
            refund_id,
            provider_refund_id=None,
            reason="r",
            actor=ANNA,
        )
    assert await refund_status(desk) == "pending"


# --- crashes --------------------------------------------------------------------------------------

WRITES = [("payments", 1), ("payments", 3), ("balances", 1), ("balances", 2), ("transfers", 2)]
WRITES += [("deliveries", 1), ("payment_refunds", 1)]
WRITES += [("maintenance_runs", nth) for nth in range(1, 5)]


@pytest.mark.parametrize(("table", "nth"), WRITES)
async def test_a_crash_at_any_write_and_another_run_end_like_an_undisturbed_one(
    desk: Desk, paid: Payment, table: str, nth: int
) -> None:
    await lost_refund(desk, paid)
    await desk.pool.execute(AGED_REFUND, 20)
    payments = [await desk.open(name) for name in "abc"]
    desk.shop.pay(desk.remote(payments[0]))
    desk.shop.pay(desk.remote(payments[1]))
    desk.shop.decline(desk.remote(payments[2]))
    stranger(desk, 1)
    spec = SPEC.model_copy(update={"concurrency": 1})

    async def work(connection: Any, progress: Any) -> Outcome:
        del connection
        found = await reconcile(desk.pool, desk.till.provider, spec, progress)
        return Outcome(found.result, found.detail())

    await crash_at(desk.pool, table, nth=nth)
    with pytest.raises(LOST):
        await carry_out(desk.pool, key(), owner="first", work=work)
    await no_crash(desk.pool, table)
    await desk.pool.execute(
        "UPDATE maintenance_runs SET lease_until = now() - interval '1 s' WHERE status = 'running'"
    )

    run = await carry_out(desk.pool, key(), owner="second", work=work)

    assert run.detail["unknown_count"] == 1
    assert [await desk.status(one) for one in payments] == ["succeeded", "succeeded", "canceled"]
    assert await refund_status(desk) == "succeeded"
    assert desk.shop.counts()["refunds"] == 1
    assert (await desk.till.balance(), await desk.till.credits()) == (55_000, 3)
    assert await desk.pool.fetchval("SELECT count(*) FROM deliveries") == 4


# --- random lives ---------------------------------------------------------------------------------

LIFE = st.tuples(
    st.sampled_from(["pay", "decline", "nothing", "other amount", "forgotten there", "checked"]),
    st.integers(0, 40),  # minutes since it was begun
    st.booleans(),  # a refund of it got no answer
)


async def live(desk: Desk, number: int, life: tuple[str, int, bool]) -> int:
    """One payment's life up to the reconciliation; the kopecks that it must leave on the balance."""
    how, minutes, refunded = life
    payment = await desk.open(f"p{number}", minutes=minutes)
    remote = desk.remote(payment)
    if how == "decline":
        desk.shop.decline(remote)
    elif how != "nothing":
        desk.shop.pay(remote)
    if how == "other amount":
        remote.amount_kopecks += 1
    if how == "forgotten there":
        del desk.shop.payments[remote.id]
    if how != "checked":
        # Paid ones are found by the list, however young.
        return 20_000 if how == "pay" else 0
    assert await desk.till.check(payment)
    if not refunded:
        return 20_000
    await lost_refund_of(desk, payment, operation=f"r{number}")
    return 15_000


async def lost_refund_of(desk: Desk, payment: Payment, *, operation: str) -> None:
    desk.faults.add("yookassa", "done_no_answer", operation="refund")
    with pytest.raises(PaymentOutcomeUnknown):
        await desk.till.refund(payment.id, kopecks=5_000, operation=operation)


async def lives_end_well(desk: Desk, lives: list[tuple[str, int, bool]]) -> None:
    await desk.pool.execute("TRUNCATE payment_refunds, payments CASCADE")
    await desk.pool.execute(EMPTY)
    desk.shop.clear()
    async with desk.pool.acquire() as connection:
        await users.see(connection, 1)
    expected = [await live(desk, number, life) for number, life in enumerate(lives)]
    await desk.pool.execute(AGED_REFUND, 20)
    refunds = desk.shop.counts()["refunds"]
    for _ in range(2):
        await desk.reconcile()
        assert await desk.till.balance() == sum(expected)
        async with desk.pool.acquire() as connection:
            assert (await audit(connection)).violations == ()
    assert await desk.pool.fetchval(
        "SELECT count(*) FROM payment_refunds WHERE status <> 'succeeded'"
    ) == 0  # fmt: skip
    assert desk.shop.counts()["refunds"] == refunds


@pytest.mark.timeout(SECONDS_MAX)
def test_any_lives_of_payments_come_to_their_end(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")

    async def stage(left: AsyncExitStack) -> Desk:
        sandbox = await left.enter_async_context(
            running(SandboxSettings(port=0, notification_url="http://127.0.0.1:1/nobody"))
        )
        pool = await create_pool(database_url, application="test", size_max=8)
        left.push_async_callback(pool.close)
        client = YooKassaClient(
            shop_id=SHOP_ID,
            secret_key=SECRET_KEY,
            base_url=f"{sandbox.url}/yookassa/v3",
            timeout_seconds=2,
        )
        left.push_async_callback(client.aclose)
        http = await left.enter_async_context(httpx.AsyncClient())
        return Desk(Till(pool, client, http), sandbox)

    with asyncio.Runner() as runner:
        left = AsyncExitStack()
        desk = runner.run(stage(left))

        @PROFILE
        @given(lives=st.lists(LIFE, max_size=6))
        def always(lives: list[tuple[str, int, bool]]) -> None:
            runner.run(lives_end_well(desk, lives))

        try:
            always()
        finally:
            runner.run(left.aclose())

"""YooKassaClient against the sandbox: every call, every refusal, every kind of fault."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import httpx
import pytest
import stamina

from rei_core.errors import (
    PaymentNotFound,
    PaymentOutcomeUnknown,
    PaymentProviderError,
    PaymentRejected,
)
from rei_core.payments import yookassa as module
from rei_core.payments.port import Receipt, RemotePayment
from rei_core.payments.yookassa import YooKassaClient
from rei_sandbox.app import Running, running
from rei_sandbox.faults import HTTP_KINDS
from rei_sandbox.settings import SandboxSettings

Call = Callable[[YooKassaClient, RemotePayment], Awaitable[Any]]
Pay = Callable[..., Awaitable[RemotePayment]]
RECEIPT = Receipt("a@b.ru", "Пополнение баланса", 1, tax_system_code=2)
LONG_AGO = datetime.now(UTC) - timedelta(days=2)


async def create(
    client: YooKassaClient,
    key: str = "",
    *,
    kopecks: int = 20_000,
    receipt: Receipt | None = None,
    metadata: dict[str, str] | None = None,
) -> RemotePayment:
    return await client.create(
        idempotence_key=key or str(uuid4()),
        amount_kopecks=kopecks,
        description="Пополнение",
        return_url="https://t.me/rei_bot",
        metadata=metadata or {"rei_payment_id": "17"},
        receipt=receipt,
    )


async def refund(
    client: YooKassaClient, payment: RemotePayment, key: str = "", *, kopecks: int = 5_000
) -> Any:
    return await client.refund(
        payment.id,
        idempotence_key=key or str(uuid4()),
        amount_kopecks=kopecks,
        description="Refund",
    )


async def listed(client: YooKassaClient, **query: Any) -> list[RemotePayment]:
    return [one async for one in client.list(**{"created_since": LONG_AGO, **query})]


@pytest.fixture
def pay(yookassa: YooKassaClient, http: httpx.AsyncClient) -> Pay:
    """A payment that is paid (or what `action` says)."""

    async def pay(action: str = "pay") -> RemotePayment:
        payment = await create(yookassa)
        await http.post(f"/pay/{payment.id}", data={"action": action})
        return await yookassa.get(payment.id)

    return pay


@pytest.fixture
async def held(sandbox: Running, yookassa: YooKassaClient) -> RemotePayment:
    """A payment in two stages, paid and not captured. Rei makes none, but may meet one."""
    async with httpx.AsyncClient(auth=("100500", "test_sandbox_secret_key")) as raw:
        made = await raw.post(
            f"{sandbox.url}/yookassa/v3/payments",
            headers={"Idempotence-Key": "held"},
            json={
                "amount": {"value": "200.00", "currency": "RUB"},
                "capture": False,
                "confirmation": {"type": "redirect", "return_url": "https://t.me/"},
            },
        )
        await raw.post(f"{sandbox.url}/pay/{made.json()['id']}", data={"action": "pay"})
    return await yookassa.get(made.json()["id"])


# --- every call -----------------------------------------------------------------------------------


async def test_a_payment_is_created_with_a_page_to_pay_on(
    yookassa: YooKassaClient, sandbox: Running
) -> None:
    payment = await create(yookassa, kopecks=12_345)
    assert (payment.status, payment.amount_kopecks, payment.currency) == ("pending", 12_345, "RUB")
    assert payment.confirmation_url == f"{sandbox.url}/pay/{payment.id}"
    assert payment.metadata == {"rei_payment_id": "17"}
    assert payment.test
    assert abs(datetime.now(UTC) - payment.created_at) < timedelta(minutes=1)
    assert await yookassa.get(payment.id) == payment


async def test_a_payment_goes_its_ways(pay: Pay) -> None:
    paid, declined = await pay(), await pay("decline")
    assert (paid.status, paid.cancellation_reason) == ("succeeded", None)
    assert (declined.status, declined.cancellation_reason) == ("canceled", "general_decline")


async def test_the_same_key_gives_the_same_payment(yookassa: YooKassaClient) -> None:
    made = await asyncio.gather(*(create(yookassa, "k") for _ in range(10)))
    assert len({payment.id for payment in made}) == 1
    assert len(await listed(yookassa)) == 1


async def test_a_held_payment_is_cancelled(yookassa: YooKassaClient, held: RemotePayment) -> None:
    assert held.status == "waiting_for_capture"
    for _ in range(2):
        gone = await yookassa.cancel(held.id, idempotence_key="c")
        assert (gone.status, gone.cancellation_reason) == ("canceled", "canceled_by_merchant")


async def test_a_refund_in_parts(yookassa: YooKassaClient, pay: Pay) -> None:
    payment = await pay()
    first = await refund(yookassa, payment, "r1")
    assert (first.status, first.payment_id, first.amount_kopecks) == (
        "succeeded",
        payment.id,
        5_000,
    )
    assert await refund(yookassa, payment, "r1") == first, "the same key refunds once"
    await refund(yookassa, payment, "r2", kopecks=15_000)
    assert await yookassa.get_refund(first.id) == first
    assert (await yookassa.get(payment.id)).refunded_kopecks == 20_000
    with pytest.raises(PaymentRejected, match="left of the payment"):
        await refund(yookassa, payment, "r3", kopecks=100)


async def test_a_list_of_several_pages(
    yookassa: YooKassaClient, pay: Pay, sandbox: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PAGE_SIZE", 2)
    made = [await pay() for _ in range(3)] + [await pay("decline") for _ in range(2)]
    assert {one.id for one in await listed(yookassa)} == {one.id for one in made}
    succeeded = await listed(yookassa, status="succeeded")
    assert {one.id for one in succeeded} == {one.id for one in made[:3]}
    assert await listed(yookassa, created_since=datetime.now(UTC) + timedelta(hours=1)) == []
    since_last = await listed(yookassa, created_since=made[-1].created_at)
    assert made[-1].id in {one.id for one in since_last}, "its own moment counts"
    assert sandbox.sandbox.calls.counts()["yookassa"]["list"]["ok"] >= 3 + 2


async def test_the_credentials_are_checked(yookassa: YooKassaClient) -> None:
    assert await yookassa.check_credentials() == "100500"


# --- every refusal --------------------------------------------------------------------------------


async def test_wrong_credentials_are_refused_everywhere(sandbox: Running, pay: Pay) -> None:
    payment = await pay()
    client = YooKassaClient(
        shop_id="100500", secret_key="live_wrong", base_url=f"{sandbox.url}/yookassa/v3"
    )
    calls: list[Awaitable[Any]] = [
        create(client),
        client.get(payment.id),
        client.cancel(payment.id, idempotence_key="k"),
        refund(client, payment),
        client.get_refund(payment.id),
        listed(client),
        client.check_credentials(),
    ]
    for call in calls:
        with pytest.raises(PaymentRejected) as failed:
            await call
        assert (failed.value.http_status, failed.value.code) == (401, "invalid_credentials")
        assert "live_wrong" not in str(failed.value)
    await client.aclose()


@pytest.mark.parametrize(
    "call",
    [
        lambda client, payment: create(client, kopecks=99),
        lambda client, payment: create(client, kopecks=70_000_001),
        lambda client, payment: create(client, kopecks=0),
        lambda client, payment: create(client, metadata={"k": "v" * 513}),
        lambda client, payment: create(client, metadata={str(n): "v" for n in range(17)}),
        lambda client, payment: client.cancel(payment.id, idempotence_key="c"),
        lambda client, payment: refund(client, payment, kopecks=20_001),
        lambda client, payment: refund(client, payment, kopecks=0),
    ],
)
async def test_what_the_provider_refuses(yookassa: YooKassaClient, pay: Pay, call: Call) -> None:
    payment = await pay()
    with pytest.raises(PaymentRejected) as failed:
        await call(yookassa, payment)
    assert failed.value.code == "invalid_request"
    assert (await yookassa.get(payment.id)).refunded_kopecks == 0


async def test_the_same_key_with_other_data_is_refused(yookassa: YooKassaClient) -> None:
    await create(yookassa, "k")
    with pytest.raises(PaymentRejected, match="Idempotence key duplicated"):
        await create(yookassa, "k", kopecks=30_000)


async def test_what_does_not_exist_is_not_found(yookassa: YooKassaClient) -> None:
    nobody = str(uuid4())
    for call in (
        yookassa.get(nobody),
        yookassa.get_refund(nobody),
        yookassa.cancel(nobody, idempotence_key="k"),
    ):
        with pytest.raises(PaymentNotFound):
            await call


async def test_a_receipt_is_sent_where_the_shop_must() -> None:
    async with running(SandboxSettings(port=0, yookassa_receipts_required=True)) as server:
        client = YooKassaClient(
            shop_id="100500",
            secret_key="test_sandbox_secret_key",
            base_url=f"{server.url}/yookassa/v3",
        )
        with pytest.raises(PaymentRejected, match="Receipt is missing"):
            await create(client)
        payment = await create(client, receipt=RECEIPT)
        assert payment.status == "pending"
        async with httpx.AsyncClient(trust_env=False) as http:
            await http.post(f"{server.url}/pay/{payment.id}", data={"action": "pay"})
        with pytest.raises(PaymentRejected, match="Receipt is missing"):
            await refund(client, payment)
        done = await client.refund(
            payment.id,
            idempotence_key="k",
            amount_kopecks=20_000,
            description="Refund",
            receipt=RECEIPT,
        )
        assert done.status == "succeeded"
        await client.aclose()


# --- every fault ----------------------------------------------------------------------------------

CALLS: dict[str, Call] = {
    "create": lambda client, _: create(client, "fault-create"),
    "cancel": lambda client, payment: client.cancel(payment.id, idempotence_key="fault-cancel"),
    "refund": lambda client, payment: refund(client, payment, "fault-refund"),
    "get": lambda client, payment: client.get(payment.id),
    "list": lambda client, _: listed(client),
    "me": lambda client, _: client.check_credentials(),
}
CHANGES = ("create", "cancel", "refund")


@pytest.fixture
async def hasty(sandbox: Running, request: pytest.FixtureRequest) -> AsyncIterator[YooKassaClient]:
    """A client that gives a silent call up soon, where silence is what is tried."""
    hangs = "hang" in request.node.name
    client = YooKassaClient(
        shop_id="100500",
        secret_key="test_sandbox_secret_key",
        base_url=f"{sandbox.url}/yookassa/v3",
        timeout_seconds=4 if hangs else 30,
    )
    with stamina.set_testing(True, attempts=3, cap=True):  # no pauses between the attempts
        yield client
    await client.aclose()


@pytest.fixture
async def paid_and_held(pay: Pay, held: RemotePayment) -> dict[str, RemotePayment]:
    return {"paid": await pay(), "held": held}


@pytest.mark.parametrize("operation", CHANGES)
@pytest.mark.parametrize("kind", HTTP_KINDS)
async def test_a_change_that_fails_leaves_the_outcome_unknown_and_is_not_repeated(
    hasty: YooKassaClient, paid_and_held: dict[str, RemotePayment], sandbox: Running,
    kind: str, operation: str,
) -> None:  # fmt: skip
    payment = paid_and_held["held" if operation == "cancel" else "paid"]
    faults = sandbox.sandbox.faults
    faults.add("yookassa", kind, operation=operation, count=2)
    with pytest.raises(PaymentOutcomeUnknown):
        await CALLS[operation](hasty, payment)
    assert [order.count for order in faults.active()] == [1], "asked once"
    faults.clear()
    await CALLS[operation](hasty, payment)


@pytest.mark.parametrize("operation", [name for name in CALLS if name not in CHANGES])
@pytest.mark.parametrize("kind", HTTP_KINDS)
async def test_a_read_that_fails_is_repeated_and_bounded(
    hasty: YooKassaClient, pay: Pay, sandbox: Running, kind: str, operation: str
) -> None:
    payment = await pay()
    faults = sandbox.sandbox.faults
    faults.add("yookassa", kind, operation=operation, count=1)
    await CALLS[operation](hasty, payment)
    faults.add("yookassa", kind, operation=operation, count=100)
    loop = asyncio.get_running_loop()
    started = loop.time()
    with pytest.raises(PaymentOutcomeUnknown):
        await CALLS[operation](hasty, payment)
    assert loop.time() - started < 20
    assert faults.active()[0].count >= 97, "asked three times at most"


async def test_a_sandbox_that_is_gone() -> None:
    client = YooKassaClient(shop_id="1", secret_key="s", base_url="http://127.0.0.1:9")
    with stamina.set_testing(True, attempts=2, cap=True):
        for call in (create(client), client.get("p"), client.check_credentials()):
            with pytest.raises(PaymentOutcomeUnknown):
                await call
    await client.aclose()


async def test_what_was_done_without_an_answer_is_done_once(
    hasty: YooKassaClient, pay: Pay, sandbox: Running
) -> None:
    payment = await pay()
    for operation in ("create", "refund"):
        sandbox.sandbox.faults.add("yookassa", "done_no_answer", operation=operation)
        with pytest.raises(PaymentProviderError):
            await CALLS[operation](hasty, payment)
        await CALLS[operation](hasty, payment)
    assert len(await listed(hasty)) == 2, "the paid one, and one by the repeated key"
    assert (await hasty.get(payment.id)).refunded_kopecks == 5_000

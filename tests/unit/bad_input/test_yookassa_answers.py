"""YooKassa's answers damaged place by place: what was paid, exactly, or that nobody knows.

The amount is the one thing that must never come out as another: an answer that is read at all
tells the very amount that was written.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
import stamina

from rei_core.errors import PaymentNotFound, PaymentOutcomeUnknown, PaymentProviderError
from rei_core.payments.notifications import parse
from rei_core.payments.yookassa import YooKassaClient
from rei_core.payments.yookassa_wire import is_id, payment_of, refund_of

from .nodes import damaged

PAYMENT_ID = "2f1c0f9e-000f-5000-8000-1d0f0b9c4d5e"
REFUND_ID = "2f1c0f9e-0015-5000-9000-1d0f0b9c4d5e"
AMOUNT = {"value": "200.00", "currency": "RUB"}
PAYMENT = {
    "id": PAYMENT_ID,
    "status": "succeeded",
    "paid": True,
    "amount": AMOUNT,
    "income_amount": {"value": "193.00", "currency": "RUB"},
    "refunded_amount": {"value": "0.00", "currency": "RUB"},
    "created_at": "2026-11-24T10:51:18.139Z",
    "captured_at": "2026-11-24T10:52:00.000Z",
    "confirmation": {"type": "redirect", "confirmation_url": "https://yoomoney.ru/pay?x=1"},
    "cancellation_details": {"party": "merchant", "reason": "expired_on_confirmation"},
    "payment_method": {"type": "bank_card", "id": PAYMENT_ID, "card": {"last4": "4444"}},
    "metadata": {"rei_payment_id": "17"},
    "recipient": {"account_id": "100500"},
    "refundable": True,
    "test": True,
}
REFUND = {
    "id": REFUND_ID,
    "payment_id": PAYMENT_ID,
    "status": "succeeded",
    "amount": AMOUNT,
    "created_at": "2026-11-24T10:51:18.139Z",
}
PAGE = {"type": "list", "items": [PAYMENT], "next_cursor": "c1"}
REFUSED = {"type": "error", "id": "1", "code": "not_found", "description": "no", "parameter": "id"}
NOTIFICATION = {"type": "notification", "event": "payment.succeeded", "object": PAYMENT}

Call = Callable[[YooKassaClient], Awaitable[Any]]


async def first_page(client: YooKassaClient) -> list[Any]:
    since = datetime(2026, 11, 24, tzinfo=UTC)
    return [payment async for payment in client.list(created_since=since)]


CALLS: dict[str, tuple[Any, Call]] = {
    "get": (PAYMENT, lambda client: client.get(PAYMENT_ID)),
    "create": (
        PAYMENT,
        lambda client: client.create(
            idempotence_key="k", amount_kopecks=20_000, description="d",
            return_url="https://t.me/", metadata={},
        ),
    ),
    "refund": (
        REFUND,
        lambda client: client.refund(
            PAYMENT_ID, idempotence_key="k", amount_kopecks=20_000, description="d"
        ),
    ),
    "list": (PAGE, first_page),
    "check_credentials": (
        {"account_id": "100500", "status": "enabled", "test": True},
        lambda client: client.check_credentials(),
    ),
}  # fmt: skip


@pytest.fixture(autouse=True)
def _no_pauses() -> Any:
    with stamina.set_testing(True, attempts=1):
        yield


def test_each_node_of_a_payment() -> None:
    read = 0
    for path, answer in damaged(PAYMENT):
        try:
            payment = payment_of(answer)
        except PaymentOutcomeUnknown:
            continue
        read += 1
        assert (payment.amount_kopecks, payment.currency) == (20_000, "RUB"), path
        assert payment.status == "succeeded", path
        assert is_id(payment.id), path
        assert 0 <= payment.refunded_kopecks <= 20_000, path
        assert payment.created_at.tzinfo is not None, path
    assert read > 100


def test_each_node_of_a_refund() -> None:
    for path, answer in damaged(REFUND):
        try:
            refund = refund_of(answer)
        except PaymentOutcomeUnknown:
            continue
        assert (refund.amount_kopecks, refund.currency, refund.status) == (
            20_000, "RUB", "succeeded",
        ), path  # fmt: skip


def test_each_node_of_a_notification() -> None:
    for path, body in damaged(NOTIFICATION):
        claim = parse(json.dumps(body).encode())
        if claim is not None:
            assert is_id(claim.payment_id), path
            assert claim.event == "payment.succeeded", path


@pytest.mark.parametrize("name", CALLS)
async def test_each_node_of_what_the_client_is_told(name: str) -> None:
    """With HTTP 200 there are two outcomes, and "rejected" is none of them."""
    answer, call = CALLS[name]
    body = b""
    client = _client(lambda _: httpx.Response(200, content=body))
    for path, told in damaged(answer):
        body = json.dumps(told).encode()
        try:
            await call(client)
        except PaymentProviderError as failed:
            kind = type(failed)
            assert kind is PaymentOutcomeUnknown, path
    await client.aclose()


@pytest.mark.parametrize("name", CALLS)
async def test_each_node_of_a_refusal(name: str) -> None:
    """A 404 whose words are broken may be anybody's: then nobody knows, instead of "not there"."""
    _answer, call = CALLS[name]
    body = b""
    client = _client(lambda _: httpx.Response(404, content=body))
    for path, told in damaged(REFUSED):
        body = json.dumps(told).encode()
        with pytest.raises(PaymentProviderError) as failed:
            await call(client)
        is_readable = isinstance(told, dict) and isinstance(told.get("code"), str) and told["code"]
        assert isinstance(failed.value, PaymentNotFound) == bool(is_readable), path
        assert len(str(failed.value)) < 600, path
    await client.aclose()


@pytest.mark.parametrize("name", CALLS)
async def test_an_answer_cut_at_any_byte(name: str) -> None:
    answer, call = CALLS[name]
    whole, body = json.dumps(answer).encode(), b""
    client = _client(lambda _: httpx.Response(200, content=body))
    for length in range(len(whole)):
        body = whole[:length]
        with pytest.raises(PaymentOutcomeUnknown):
            await call(client)
    await client.aclose()


def _client(handler: Callable[[httpx.Request], httpx.Response]) -> YooKassaClient:
    return YooKassaClient(
        shop_id="100500",
        secret_key="live_secret",
        base_url="http://yookassa.test/v3",
        transport=httpx.MockTransport(handler),
    )

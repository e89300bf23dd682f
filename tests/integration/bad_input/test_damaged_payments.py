"""Whatever YooKassa's answer about a payment looks like: no credit that it does not justify, and no
payment lost by it: the next true answer credits, once."""

from __future__ import annotations

import itertools
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import pytest
import stamina
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from rei_core.db import Pool
from rei_core.errors import PaymentMismatch, PaymentProviderError
from rei_core.ledger.audit import audit
from rei_core.payments import service
from rei_core.payments.model import Payment
from rei_core.payments.yookassa import YooKassaClient
from rei_core.users import queries as users

from ...unit.bad_input.nodes import Path, damaged, paths, removed, replaced
from .profiles import PROFILE, SECONDS_MAX

pytestmark = pytest.mark.timeout(SECONDS_MAX)

SHOP_ID = "100500"
AMOUNT = {"value": "200.00", "currency": "RUB"}
TERMS = service.TopUpTerms(return_url="https://t.me/rei_bot", description="Пополнение")


def told(payment_id: str, our_id: str, *, status: str = "succeeded") -> dict[str, Any]:
    """What YooKassa tells of a payment of 200 ₽."""
    return {
        "id": payment_id,
        "status": status,
        "paid": status == "succeeded",
        "amount": AMOUNT,
        "income_amount": {"value": "193.00", "currency": "RUB"},
        "refunded_amount": {"value": "0.00", "currency": "RUB"},
        "created_at": "2026-11-24T10:51:18.139Z",
        "confirmation": {"type": "redirect", "confirmation_url": "https://yoomoney.ru/pay?x=1"},
        "cancellation_details": {"party": "merchant", "reason": "expired_on_confirmation"},
        "metadata": {"rei_payment_id": our_id},
        "recipient": {"account_id": SHOP_ID, "gateway_id": "1"},
        "test": False,
    }


PATHS = [path for path in paths(told("", "")) if path]


@dataclass
class Shop:
    """YooKassa with one answer for every question."""

    answer: bytes = b""
    pool: Any = None
    client: Any = None
    keys: Any = field(default_factory=itertools.count)

    async def create(self, request: web.Request) -> web.Response:
        asked = await request.json()
        made = told(str(uuid4()), asked["metadata"]["rei_payment_id"], status="pending")
        return web.json_response(made)

    async def get(self, _request: web.Request) -> web.Response:
        return web.Response(body=self.answer, content_type="application/json")

    async def topup(self) -> Payment:
        return await service.start_topup(
            self.pool, self.client, user_id=1, chat_id=1, amount_kopecks=20_000,
            request_key=f"t{next(self.keys)}", terms=TERMS,
        )  # fmt: skip

    async def credits(self, payment: Payment) -> list[int]:
        """The amounts credited for a payment."""
        rows = await self.pool.fetch(
            "SELECT amount_kopecks FROM transfers WHERE kind = 'topup' AND ref_id = $1",
            str(payment.id),
        )
        return [row["amount_kopecks"] for row in rows]

    async def status(self, payment: Payment) -> str:
        value: str = await self.pool.fetchval(
            "SELECT status FROM payments WHERE id = $1", payment.id
        )
        return value

    async def settle(self, payment: Payment, answer: bytes) -> bool:
        """Whether this answer credited the payment."""
        self.answer = answer
        try:
            return (await service.check(self.pool, self.client, payment.id)).credited_now
        except (PaymentProviderError, PaymentMismatch):
            return False


@pytest.fixture
async def shop(
    pool: Pool, serve: Callable[[web.Application], Awaitable[str]]
) -> AsyncIterator[Shop]:
    made = Shop(pool=pool)
    app = web.Application()
    app.router.add_post("/v3/payments", made.create)
    app.router.add_get("/v3/payments/{id}", made.get)
    made.client = YooKassaClient(
        shop_id=SHOP_ID, secret_key="s", base_url=f"{await serve(app)}/v3", timeout_seconds=30
    )
    async with pool.acquire() as connection:
        await users.see(connection, 1, first_name="A")
    with stamina.set_testing(True, attempts=1):
        yield made
    await made.client.aclose()
    async with pool.acquire() as connection:
        report = await audit(connection)
    assert report.violations == ()
    assert sum(report.accounts.values()) == 0


def justifies(answer: Any, payment: Payment) -> bool:
    """Whether an answer says that this payment of 200 ₽ has been paid to us.

    What has gone back of it since is none of the credit's business: it is debited for itself.
    """
    if not isinstance(answer, dict):
        return False
    metadata = answer.get("metadata")
    named = metadata.get("rei_payment_id") if isinstance(metadata, dict) else None
    return (
        answer.get("id") == payment.provider_payment_id
        and answer.get("status") == "succeeded"
        and answer.get("amount") == AMOUNT
        and answer.get("paid", True) is True
        and (not isinstance(named, str) or named == str(payment.id))
    )


async def prove(shop: Shop, payment: Payment, answer: Any, body: bytes | None = None) -> bool:
    """Settle by a damaged answer and then by the true one; whether the damaged one credited."""
    body = json.dumps(answer).encode() if body is None else body
    credited = await shop.settle(payment, body)
    if credited:
        assert justifies(answer, payment), body
    else:
        assert await shop.credits(payment) == []
        was_cancelled = isinstance(answer, dict) and answer.get("status") == "canceled"
        assert await shop.status(payment) in {"pending", "canceled" if was_cancelled else "pending"}
    truth = json.dumps(told(str(payment.provider_payment_id), str(payment.id))).encode()
    assert await shop.settle(payment, truth) is not credited, "asked again, and never twice"
    assert await shop.credits(payment) == [20_000]
    return credited


async def test_each_node_of_an_answer(shop: Shop) -> None:
    credited = count = 0
    for _path, shape in damaged(told("THEIR-ID", "OUR-ID")):
        payment = await shop.topup()
        text = json.dumps(shape).replace("THEIR-ID", str(payment.provider_payment_id))
        answer = json.loads(text.replace("OUR-ID", str(payment.id)))
        credited += await prove(shop, payment, answer)
        count += 1
    assert 0 < credited < count


strange: st.SearchStrategy[Any] = st.sampled_from(
    [
        None, True, False, 0, -1, 200, 200.0, 20_000, 10**30, "", "x", "\x00", [], {}, [{}],
        "200", "200.0", "200.000", "0200.00", "+200.00", "-200.00", "200,00", "2e2", "200.00 ",
        "200.00\n", "２００.00", "٢٠٠.٠٠", "200.01", "199.99", "20000.00", "0.00", "NaN", "Infinity",
        float("nan"), float("inf"), "9" * 5_000 + ".00", "USD", "rub", "RUB ", "KZT", "RUВ",
        "succeeded", "SUCCEEDED", "succeeded ", "pending", "waiting_for_capture", "canceled",
        "refunded", "100501", str(uuid4()), AMOUNT, {"value": "200.00"}, {"currency": "RUB"},
        {"value": "200.00", "currency": "USD"}, {"value": "1.00", "currency": "RUB"},
    ]
)  # fmt: skip
damages = st.lists(
    st.tuples(st.sampled_from(PATHS), st.booleans(), strange), min_size=1, max_size=3
)


@PROFILE
@given(damage=damages)
async def test_several_nodes_at_once(shop: Shop, damage: list[tuple[Path, bool, Any]]) -> None:
    payment = await shop.topup()
    answer: Any = told(str(payment.provider_payment_id), str(payment.id))
    for path, is_removed, value in damage:
        try:
            answer = removed(answer, path) if is_removed else replaced(answer, path, value)
        except (KeyError, TypeError, IndexError):
            continue  # the damage before took the place away
    await prove(shop, payment, answer)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("amount", "currency"), "USD"),
        (("amount", "value"), "20000.00"),
        (("amount", "value"), "٢٠٠.٠٠"),
        (("amount", "value"), "-200.00"),
        (("paid",), False),
        (("metadata", "rei_payment_id"), "2f1c0f9e-000f-5000-8000-1d0f0b9c4d5e"),
        (("refunded_amount", "value"), "-1.00"),
        (("status",), "waiting_for_capture"),
        (("status",), "canceled"),
        (("id",), "2f1c0f9e-000f-5000-8000-1d0f0b9c4d5e"),
    ],
)
async def test_what_justifies_no_credit(shop: Shop, path: Path, value: Any) -> None:
    payment = await shop.topup()
    truth = told(str(payment.provider_payment_id), str(payment.id))
    assert not await prove(shop, payment, replaced(truth, path, value))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"200.00"', b"200.00"),
        (b'"200.00"', b"NaN"),
        (b'"200.00"', b"1e400"),
        (b'"value": "200.00"', b'"value": "200.00", "value": "1.00"'),
        (b'"currency": "RUB"}, "income', b'"currency": "RUB", "currency": "USD"}, "income'),
        (b'"succeeded"', b'"succeeded", "status": "pending"'),
        (b'"200.00"', b'"200.00\xff"'),
        (b'"test"', b"'test'"),
    ],
)
async def test_json_that_no_library_writes(shop: Shop, old: bytes, new: bytes) -> None:
    """Of two values under one name the last counts, and what is no JSON says nothing."""
    payment = await shop.topup()
    body = json.dumps(told(str(payment.provider_payment_id), str(payment.id))).encode()
    assert old in body
    broken = body.replace(old, new, 1)
    assert not await prove(shop, payment, None, broken)

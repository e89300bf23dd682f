"""What YooKassa refuses, in its own words; asked without the SDK, which refuses some by itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from rei_sandbox.app import running
from rei_sandbox.settings import SandboxSettings

Body = Callable[..., dict[str, Any]]


def rubles(value: object, currency: str = "RUB") -> dict[str, object]:
    return {"value": value, "currency": currency}


def redirect(url: object) -> dict[str, object]:
    return {"type": "redirect", "return_url": url}


def assert_refused(answer: httpx.Response, parameter: str | None, status: int = 400) -> None:
    body = answer.json()
    assert answer.status_code == status, body
    assert body["type"] == "error"
    assert body["id"]
    assert body["code"] == "invalid_request"
    assert body["description"]
    assert body.get("parameter") == parameter


@pytest.mark.parametrize(
    ("changes", "parameter"),
    [
        ({"amount": None}, "amount"),
        ({"amount": rubles("200")}, "amount.value"),
        ({"amount": rubles("200.0")}, "amount.value"),
        ({"amount": rubles("200,00")}, "amount.value"),
        ({"amount": rubles("-200.00")}, "amount.value"),
        ({"amount": rubles("1e2.00")}, "amount.value"),
        ({"amount": rubles(200)}, "amount.value"),
        ({"amount": rubles(200.0)}, "amount.value"),
        ({"amount": rubles("0.99")}, "amount.value"),
        ({"amount": rubles("700000.01")}, "amount.value"),
        ({"amount": rubles("200.00", "USD")}, "amount.currency"),
        (
            {"amount": rubles("350000.01"), "payment_method_data": {"type": "bank_card"}},
            "amount.value",
        ),
        ({"payment_method_data": {"type": "gold"}}, "payment_method_data.type"),
        ({"payment_method_data": {"type": "sbp"}, "capture": False}, "capture"),
        ({"capture": "yes"}, "capture"),
        ({"description": "я" * 129}, "description"),
        ({"metadata": {f"k{number}": "v" for number in range(17)}}, "metadata"),
        ({"metadata": {"k" * 33: "v"}}, "metadata"),
        ({"metadata": {"k": "v" * 513}}, "metadata.k"),
        ({"metadata": {"k": 17}}, "metadata.k"),
        ({"confirmation": None}, "confirmation"),
        ({"confirmation": {"type": "telepathy"}}, "confirmation.type"),
        ({"confirmation": {"type": "redirect"}}, "confirmation.return_url"),
        ({"confirmation": redirect("not a url")}, "confirmation.return_url"),
        ({"receipt": {}}, "receipt"),
        ({"receipt": {"items": [], "customer": {"email": "a@b.ru"}}}, "receipt.items"),
    ],
)
async def test_a_wrong_payment_is_refused_with_its_parameter(
    shop: httpx.AsyncClient, payment: Body, changes: dict[str, Any], parameter: str
) -> None:
    headers = {"Idempotence-Key": "key"}
    answer = await shop.post("/payments", json=payment(**changes), headers=headers)
    assert_refused(answer, parameter)


@pytest.mark.parametrize(
    "changes",
    [
        {"amount": rubles("1.00")},
        {"amount": rubles("350000.00"), "payment_method_data": {"type": "bank_card"}},
        {"amount": rubles("700000.00"), "payment_method_data": {"type": "sbp"}},
        {"description": "я" * 128},
        {"metadata": {f"k{number}" + "k" * 28: "v" * 512 for number in range(16)}},
        {"confirmation": redirect("https://example.com/back?x=1")},
    ],
)
async def test_the_largest_and_smallest_that_are_allowed_are_taken(
    shop: httpx.AsyncClient, payment: Body, changes: dict[str, Any]
) -> None:
    headers = {"Idempotence-Key": "k" * 64}
    answer = await shop.post("/payments", json=payment(**changes), headers=headers)
    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize("headers", [{}, {"Idempotence-Key": "k" * 65}])
@pytest.mark.parametrize(
    "path", ["/payments", "/payments/any/capture", "/payments/any/cancel", "/refunds"]
)
async def test_every_post_needs_a_key_of_at_most_64_characters(
    shop: httpx.AsyncClient, payment: Body, headers: dict[str, str], path: str
) -> None:
    answer = await shop.post(path, json=payment(), headers=headers)
    assert_refused(answer, "Idempotence-Key")


async def test_a_refused_request_is_refused_again_under_its_key(
    shop: httpx.AsyncClient, payment: Body
) -> None:
    headers = {"Idempotence-Key": "key"}
    wrong = payment(amount=rubles("0.50"))
    first = await shop.post("/payments", json=wrong, headers=headers)
    second = await shop.post("/payments", json=wrong, headers=headers)
    assert first.json() == second.json()
    mended = await shop.post("/payments", json=payment(), headers=headers)
    assert_refused(mended, "Idempotence-Key")


async def test_a_key_is_forgotten_after_a_day(
    shop: httpx.AsyncClient, payment: Body, clock: Any
) -> None:
    headers = {"Idempotence-Key": "key"}
    first = await shop.post("/payments", json=payment(), headers=headers)
    clock.advance(24 * 3600)
    second = await shop.post("/payments", json=payment(), headers=headers)
    assert first.json()["id"] != second.json()["id"]


@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        ({"limit": "0"}, "limit"),
        ({"limit": "101"}, "limit"),
        ({"limit": "many"}, "limit"),
        ({"status": "paid"}, "status"),
        ({"created_at.gte": "yesterday"}, "created_at.gte"),
        ({"created_at.gte": "2026-11-24T12:00:00"}, "created_at.gte"),
    ],
)
async def test_a_wrong_list_is_refused(
    shop: httpx.AsyncClient, query: dict[str, str], parameter: str
) -> None:
    assert_refused(await shop.get("/payments", params=query), parameter)


@pytest.mark.parametrize("auth", [None, ("100500", "wrong"), ("1", "test_sandbox_secret_key")])
async def test_others_are_not_let_in(http: httpx.AsyncClient, auth: tuple[str, str] | None) -> None:
    answer = await http.get("/yookassa/v3/me", auth=auth or httpx.USE_CLIENT_DEFAULT)
    assert answer.status_code == 401
    assert answer.json()["code"] == "invalid_credentials"


async def test_a_refund_of_an_unknown_payment_is_refused(shop: httpx.AsyncClient) -> None:
    wanted = {"payment_id": "2d000000-0000-0000-0000-000000000000", "amount": rubles("1.00")}
    answer = await shop.post("/refunds", json=wanted, headers={"Idempotence-Key": "key"})
    assert_refused(answer, "payment_id")


async def test_what_is_not_json_is_refused(shop: httpx.AsyncClient) -> None:
    for body in ("{", "[1]"):
        answer = await shop.post("/payments", content=body, headers={"Idempotence-Key": "k"})
        assert_refused(answer, None)


async def test_a_shop_under_54_fz_wants_a_receipt(payment: Body) -> None:
    item = {"description": "Картинки", "quantity": "1", "vat_code": 1, "amount": rubles("200.00")}
    receipt = {"customer": {"email": "a@b.ru"}, "items": [item]}
    short = {**receipt, "items": [{**item, "amount": rubles("199.00")}]}
    settings = SandboxSettings(port=0, yookassa_receipts_required=True)
    auth = (settings.yookassa_shop_id, settings.yookassa_secret_key)
    async with running(settings) as server, httpx.AsyncClient(auth=auth, trust_env=False) as client:
        url = f"{server.url}/yookassa/v3/payments"

        async def ask(key: str, body: dict[str, Any]) -> httpx.Response:
            return await client.post(url, json=body, headers={"Idempotence-Key": key})

        assert_refused(await ask("1", payment()), "receipt")
        assert_refused(await ask("2", payment(receipt=short)), "receipt.items")
        made = await ask("3", payment(receipt=receipt))
        assert made.json()["receipt_registration"] == "pending"

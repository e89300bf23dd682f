"""The page on which the payer pays."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest

Create = Callable[..., Awaitable[str]]


@pytest.fixture
def create(shop: httpx.AsyncClient, payment: Callable[..., dict[str, Any]]) -> Create:
    async def make(**changes: Any) -> str:
        headers = {"Idempotence-Key": "key"}
        answer = await shop.post("/payments", json=payment(**changes), headers=headers)
        return str(answer.json()["confirmation"]["confirmation_url"])

    return make


async def test_it_shows_shop_amount_description_and_three_ways_out(
    create: Create, http: httpx.AsyncClient
) -> None:
    amount = {"value": "12500.50", "currency": "RUB"}
    page = await http.get(await create(amount=amount, description="<b>Пополнение</b>"))
    assert page.status_code == 200
    assert "12\u202f500,50 ₽" in page.text
    assert "&lt;b&gt;Пополнение&lt;/b&gt;" in page.text
    for name in ("pay", "decline", "later", "pay-amount", "pay-shop"):
        assert f'data-testid="{name}"' in page.text
    assert "x-frame-options" not in page.headers  # the chat page shows it in a frame
    assert "http://" not in page.text  # nothing is loaded from elsewhere
    assert "https://" not in page.text


@pytest.mark.parametrize(
    ("action", "status", "words"),
    [("pay", "succeeded", "Оплачено"), ("decline", "canceled", "не прошёл")],
)
async def test_after_the_deed_it_shows_the_outcome_and_the_way_back(
    create: Create, http: httpx.AsyncClient, action: str, status: str, words: str
) -> None:
    url = await create()
    done = await http.post(url, data={"action": action}, follow_redirects=True)
    assert done.request.method == "GET"  # reloading sends nothing twice
    assert words in done.text
    assert f'data-status="{status}"' in done.text
    assert 'href="/"' in done.text
    assert "Вернуться в чат" in done.text
    assert 'data-testid="pay"' not in done.text


async def test_later_leaves_the_payment_open(create: Create, http: httpx.AsyncClient) -> None:
    url = await create()
    done = await http.post(url, data={"action": "later"}, follow_redirects=True)
    assert "Можно оплатить позже" in done.text
    assert 'data-testid="pay"' in (await http.get(url)).text


async def test_a_shop_elsewhere_gets_its_payer_back(
    create: Create, http: httpx.AsyncClient
) -> None:
    back = {"type": "redirect", "return_url": 'https://example.com/?a=1&b="2"'}
    url = await create(confirmation={**back, "return_url": "https://example.com/?a=1&b=2"})
    done = await http.post(url, data={"action": "pay"}, follow_redirects=True)
    assert 'href="https://example.com/?a=1&amp;b=2"' in done.text
    assert "Вернуться в магазин" in done.text


async def test_a_second_click_changes_nothing(create: Create, http: httpx.AsyncClient) -> None:
    url = await create()
    await http.post(url, data={"action": "pay"})
    done = await http.post(url, data={"action": "decline"}, follow_redirects=True)
    assert "Оплачено" in done.text


async def test_there_is_no_page_without_a_payment(http: httpx.AsyncClient) -> None:
    assert (await http.get("/pay/nothing")).status_code == 404

"""Notifications: delivered, retried, and everything that can be wrong with them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest

from rei_sandbox.app import Running

Body = Callable[..., dict[str, Any]]
Buy = Callable[[], Awaitable[str]]


@pytest.fixture
def create(shop: httpx.AsyncClient, payment: Body) -> Callable[..., Awaitable[str]]:
    """Create a payment; its id."""
    keys = iter(range(1000))

    async def make(**changes: Any) -> str:
        headers = {"Idempotence-Key": f"key-{next(keys)}"}
        answer = await shop.post("/payments", json=payment(**changes), headers=headers)
        return str(answer.json()["id"])

    return make


@pytest.fixture
def buy(http: httpx.AsyncClient, create: Buy) -> Buy:
    """Create a payment and pay it; its id."""

    async def make() -> str:
        payment_id = await create()
        await http.post(f"/pay/{payment_id}", data={"action": "pay"})
        return payment_id

    return make


async def order(http: httpx.AsyncClient, kind: str, **more: Any) -> None:
    answer = await http.post("/_sandbox/faults", json={"service": "yookassa", "kind": kind, **more})
    assert answer.status_code == 201, answer.text


async def history(http: httpx.AsyncClient) -> list[dict[str, Any]]:
    answer = (await http.get("/_sandbox/notifications")).json()
    return list(answer["notifications"])


async def test_a_success_is_told_with_the_whole_payment(buy: Buy, receiver: Any) -> None:
    payment_id = await buy()
    [note] = await receiver.wait_for(1)
    assert (note["type"], note["event"]) == ("notification", "payment.succeeded")
    assert note["object"]["id"] == payment_id
    assert note["object"]["amount"] == {"value": "200.00", "currency": "RUB"}
    assert note["object"]["metadata"] == {"payment": "17"}


async def test_every_change_has_its_event(
    create: Callable[..., Awaitable[str]],
    http: httpx.AsyncClient,
    shop: httpx.AsyncClient,
    receiver: Any,
    clock: Any,
) -> None:
    held = await create(capture=False)
    await http.post(f"/pay/{held}", data={"action": "pay"})
    await shop.post(f"/payments/{held}/capture", headers={"Idempotence-Key": "c"})
    amount = {"value": "1.00", "currency": "RUB"}
    refund = {"payment_id": held, "amount": amount}
    await shop.post("/refunds", json=refund, headers={"Idempotence-Key": "r"})
    await create()
    clock.advance(3600)  # the sandbox looks once a second, unasked
    await receiver.wait_for(4)
    assert sorted(receiver.events()) == [
        "payment.canceled",
        "payment.succeeded",
        "payment.waiting_for_capture",
        "refund.succeeded",
    ]


async def test_anything_but_200_is_told_again(
    buy: Buy, receiver: Any, http: httpx.AsyncClient
) -> None:
    receiver.statuses = [500, 404, 202]
    await buy()
    got = await receiver.wait_for(4)
    assert all(note == got[0] for note in got)
    await asyncio.sleep(0.1)
    assert len(got) == 4
    [sent] = await history(http)
    assert (sent["outcome"], sent["statuses"]) == ("delivered", [500, 404, 202, 200])


async def test_a_dead_receiver_gets_it_when_it_is_back(
    buy: Buy, receiver: Any, sandbox: Running, http: httpx.AsyncClient, until: Any
) -> None:
    await http.post("/_sandbox/notification-url", json={"url": "http://127.0.0.1:9/nobody"})
    await buy()
    await until(lambda: sandbox.sandbox.yookassa.notifier.history[0].attempts > 1)
    assert receiver.got == []
    await http.post("/_sandbox/notification-url", json={"url": receiver.url})
    await receiver.wait_for(1)


async def test_after_a_day_nobody_tries_any_more(
    buy: Buy, receiver: Any, sandbox: Running, http: httpx.AsyncClient, until: Any
) -> None:
    notifier = sandbox.sandbox.yookassa.notifier
    notifier._speedup = 10_000_000
    receiver.statuses = [500] * 1000
    await buy()
    await until(lambda: notifier.history[0].outcome != "waiting")
    [sent] = await history(http)
    assert sent["outcome"] == "given_up"
    assert 24 < sent["attempts"] < 40


async def test_a_lost_one_never_comes(buy: Buy, receiver: Any, http: httpx.AsyncClient) -> None:
    await order(http, "lost")
    lost, told = await buy(), await buy()
    got = await receiver.wait_for(1)
    await asyncio.sleep(0.05)
    assert [note["object"]["id"] for note in got] == [told]
    state = (await http.get("/_sandbox/state")).json()
    assert state["notifications"]["lost"] == 1
    assert state["payments"]["succeeded"] == 2
    assert lost != told


async def test_a_duplicated_one_comes_ten_times(
    buy: Buy, receiver: Any, http: httpx.AsyncClient
) -> None:
    await order(http, "duplicated", operation="notification")
    await buy()
    got = await receiver.wait_for(10)
    await asyncio.sleep(0.05)
    assert len(got) == 10
    assert all(note == got[0] for note in got)


async def test_a_late_one_comes_after_its_delay(
    buy: Buy, receiver: Any, http: httpx.AsyncClient
) -> None:
    await order(http, "late", delay_seconds=0.3)
    began = time.monotonic()
    await buy()
    await receiver.wait_for(1)
    assert time.monotonic() - began >= 0.3


async def test_a_reordered_one_lets_the_next_pass_and_is_followed_by_its_past(
    buy: Buy, receiver: Any, http: httpx.AsyncClient
) -> None:
    await order(http, "reordered")
    first, second = await buy(), await buy()
    got = await receiver.wait_for(3)
    assert [(note["event"], note["object"]["id"]) for note in got] == [
        ("payment.succeeded", second),
        ("payment.succeeded", first),
        ("payment.waiting_for_capture", first),
    ]


async def test_forged_ones_tell_of_money_that_nobody_paid(
    create: Buy, receiver: Any, http: httpx.AsyncClient, shop: httpx.AsyncClient
) -> None:
    unpaid = await create()
    await order(http, "forged")
    got = await receiver.wait_for(2)
    assert {note["object"]["status"] for note in got} == {"succeeded"}
    ids = {note["object"]["id"] for note in got}
    assert unpaid in ids
    [nobody] = ids - {unpaid}
    assert (await shop.get(f"/payments/{unpaid}")).json()["status"] == "pending"
    assert (await shop.get(f"/payments/{nobody}")).status_code == 404


async def test_a_forged_one_waits_for_a_payment_to_lie_about(
    create: Buy, receiver: Any, http: httpx.AsyncClient
) -> None:
    await order(http, "forged")
    assert len((await http.get("/_sandbox/faults")).json()["waiting"]) == 1
    unpaid = await create()
    got = await receiver.wait_for(2)
    assert unpaid in {note["object"]["id"] for note in got}
    assert (await http.get("/_sandbox/faults")).json()["waiting"] == []


async def test_a_fault_may_be_meant_for_one_payment(
    create: Buy, receiver: Any, http: httpx.AsyncClient
) -> None:
    one, other = await create(), await create()
    await order(http, "lost", subject=one)
    for payment_id in (other, one):
        await http.post(f"/pay/{payment_id}", data={"action": "pay"})
    got = await receiver.wait_for(1)
    await asyncio.sleep(0.05)
    assert [note["object"]["id"] for note in got] == [other]

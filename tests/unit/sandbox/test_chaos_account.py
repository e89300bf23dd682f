"""What a chaos run counts: nothing hides behind something else, and a stand-in that stumbles ends
no run."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from rei_sandbox.chaos import customers
from rei_sandbox.chaos.chats import Chats
from rei_sandbox.chaos.customers import REQUEST_TRIES_MAX, Customer, Deeds
from rei_sandbox.chaos.report import Report, compare_deliveries
from rei_sandbox.demo.person import Seen

CARD = Seen(5, True, "Ваш заказ", {"Нарисовать за 15 ₽": "order:1"}, None, None)


@pytest.mark.parametrize(
    ("remembered", "delivered", "missing", "copies"),
    [
        ([], set(), 0, 0),
        ([(1, 10), (2, 10)], {(1, 10), (2, 10)}, 0, 0),
        ([(1, 10)], {(1, 10), (1, 11)}, 0, 1),
        ([(1, 10), (1, 11)], {(1, 10)}, 1, 0),
        ([(1, 10), (1, 11)], {(1, 10), (1, 12)}, 1, 1),  # in a sum the two would cancel out
        ([(1, 10), (1, 10)], {(1, 10), (1, 11)}, 1, 1),  # one message cannot be two deliveries
        ([(1, None)], {(1, 10)}, 1, 1),
    ],
)
def test_a_copy_makes_up_for_no_delivery_that_never_came(
    remembered: list[tuple[int, int | None]],
    delivered: set[tuple[int, int]],
    missing: int,
    copies: int,
) -> None:
    report = Report()
    compare_deliveries(report, remembered=remembered, delivered=delivered)
    assert (report.missing_deliveries, report.duplicated_deliveries) == (missing, copies)


def shown(message_id: int, **more: Any) -> dict[str, Any]:
    return {"message_id": message_id, "from": {"is_bot": True}, **more}


NEWS = shown(3, text="😔 Не получилось")
PHOTO = shown(4, photo=[{"file_id": "p"}], edit_date=1)
CARD_THAT_FAILED = shown(5, text="😔 Не получилось", edit_date=1)


async def test_what_a_gap_in_the_stream_has_swallowed_is_loaded() -> None:
    messages = {"messages": [NEWS, PHOTO, CARD_THAT_FAILED], "keyboard": None}
    events = [
        {"event": "message", "user_id": 7, "message": NEWS},
        {"event": "snapshot", "users": [{"id": 7}]},
        {"event": "edit", "user_id": 7, "message": CARD_THAT_FAILED},
    ]

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/events"):
            return httpx.Response(200, text="".join(f"data: {json.dumps(e)}\n\n" for e in events))
        return httpx.Response(200, json=messages)

    async with client_of(answer) as http:
        chats = Chats(http)
        await chats._read()
    assert chats.delivered == {(7, 3), (7, 4)}
    assert chats.latest(7) == 5


def client_of(answer: Callable[[httpx.Request], httpx.Response]) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url="http://sandbox.test", transport=httpx.MockTransport(answer))


def customer_of(http: httpx.AsyncClient, deeds: Deeds) -> Customer:
    return Customer(
        7, http=http, chats=Chats(http), deeds=deeds, rng=random.Random(1), orders=1
    )  # fmt: skip


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(customers, "REQUEST_AGAIN_SECONDS", 0)
    monkeypatch.setattr(customers, "ANSWER_SECONDS_MAX", 0.01)


def stumbling(times: int, how: int | Exception) -> Callable[[httpx.Request], httpx.Response]:
    left = [times]

    def answer(_request: httpx.Request) -> httpx.Response:
        left[0] -= 1
        if left[0] >= 0:
            if isinstance(how, Exception):
                raise how
            return httpx.Response(how)
        return httpx.Response(201, json={})

    return answer


@pytest.mark.parametrize(
    ("how", "counted"),
    [(httpx.ReadTimeout("slow"), "ReadTimeout"), (httpx.ConnectError("no"), "ConnectError"),
     (httpx.RemoteProtocolError("cut"), "RemoteProtocolError"), (500, "500"), (503, "503")],
)  # fmt: skip
async def test_a_stand_in_that_stumbles_is_asked_again_and_counted(
    how: int | Exception, counted: str
) -> None:
    deeds = Deeds()
    async with client_of(stumbling(REQUEST_TRIES_MAX - 1, how)) as http:
        assert await customer_of(http, deeds)._press(CARD, "Нарисовать за")
    assert deeds.counts[f"HTTP errors: {counted}"] == REQUEST_TRIES_MAX - 1
    assert deeds.undone == 0


async def test_a_stand_in_that_is_away_ends_no_run_and_is_told() -> None:
    deeds = Deeds()
    async with client_of(stumbling(10**9, httpx.ConnectError("away"))) as http:
        await customer_of(http, deeds).live()
        await customer_of(http, deeds)._confirm(CARD)
    assert deeds.undone > 0
    assert deeds.pressed == set(), "a click that never arrived is no lost order"


async def test_a_click_that_was_taken_is_an_order() -> None:
    deeds = Deeds()
    async with client_of(stumbling(0, 500)) as http:
        await customer_of(http, deeds)._confirm(CARD)
    assert deeds.pressed == {(7, CARD.message_id)}


async def test_a_refusal_is_not_asked_again() -> None:
    """A button that the message has lost meanwhile is nobody's error."""
    deeds = Deeds()
    async with client_of(stumbling(1, 400)) as http:
        assert not await customer_of(http, deeds)._press(CARD, "Нарисовать за")
    assert deeds.counts["HTTP errors: 400"] == 0
    assert deeds.undone == 0

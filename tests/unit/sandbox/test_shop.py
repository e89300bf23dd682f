"""The shop's rules without HTTP: states, expiry, paging, idempotence."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rei_sandbox.yookassa.errors import YooKassaRefusal
from rei_sandbox.yookassa.listing import page
from rei_sandbox.yookassa.model import Payment, Refund, amount_json, moment, payment_json
from rei_sandbox.yookassa.requests import ListQuery, NewPayment, NewRefund, new_payment
from rei_sandbox.yookassa.store import Shop


class Events:
    """What the shop announced, and a clock to be set."""

    def __init__(self) -> None:
        self.at = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
        self.seen: list[str] = []
        self.shop = Shop(announce=self._note, now=lambda: self.at)

    def _note(self, event: str, _item: Payment | Refund) -> None:
        self.seen.append(event)

    def payment(self, *, kopecks: int = 20_000, capture: bool = True) -> Payment:
        return self.shop.create(NewPayment(kopecks, capture, "https://t.me/"))


@pytest.fixture
def events() -> Events:
    return Events()


def test_a_payment_is_paid_once(events: Events) -> None:
    payment = events.payment()
    assert events.shop.pay(payment)
    assert not events.shop.pay(payment)
    assert not events.shop.decline(payment)
    assert events.seen == ["payment.succeeded"]


def test_what_is_held_for_a_week_goes_back(events: Events) -> None:
    payment = events.payment(capture=False)
    events.shop.pay(payment)
    events.at += timedelta(days=7)
    assert events.shop.expire() == 1
    assert payment.canceled_by == ("yoo_money", "expired_on_capture")
    assert events.seen == ["payment.waiting_for_capture", "payment.canceled"]


def test_expiry_announces_once(events: Events) -> None:
    events.payment()
    events.at += timedelta(hours=2)
    assert (events.shop.expire(), events.shop.expire()) == (1, 0)
    assert events.seen == ["payment.canceled"]


@given(st.integers(1, 40), st.integers(1, 100))
def test_pages_hold_every_payment_once_whatever_their_size(number: int, limit: int) -> None:
    events = Events()
    made = {events.payment().id for _ in range(number)}  # all at the same moment
    found: list[str] = []
    cursor = ""
    while True:
        items, cursor = page(
            list(events.shop.payments.values()), ListQuery(limit=limit, cursor=cursor)
        )
        found += [item.id for item in items]
        if not cursor:
            break
    assert len(found) == number
    assert set(found) == made


def test_a_bound_is_compared_as_it_was_shown(events: Events) -> None:
    events.at = events.at.replace(microsecond=123_999)
    shown = moment(events.payment().created_at)
    assert shown == "2026-11-24T12:00:00.123Z"
    bound = datetime.fromisoformat(shown)
    query = ListQuery(bounds=(("gte", bound), ("lte", bound)))
    assert len(page(list(events.shop.payments.values()), query)[0]) == 1


@given(st.lists(st.integers(100, 30_000), max_size=8))
def test_refunds_never_exceed_the_payment(amounts: list[int]) -> None:
    events = Events()
    payment = events.payment(kopecks=50_000)
    events.shop.pay(payment)
    given_back = 0
    for amount in amounts:
        try:
            events.shop.refund(NewRefund(payment.id, amount))
        except YooKassaRefusal:
            assert given_back + amount > 50_000
        else:
            given_back += amount
    assert payment.refunded_kopecks == given_back <= 50_000


@given(st.integers(100, 70_000_000))
def test_amounts_survive_the_wire(kopecks: int) -> None:
    body = {
        "amount": amount_json(kopecks),
        "confirmation": {"type": "redirect", "return_url": "https://t.me/"},
    }
    assert new_payment(body, receipt_required=False).amount_kopecks == kopecks


def test_capture_is_off_unless_asked_for_as_at_the_real_one() -> None:
    body = {
        "amount": amount_json(100),
        "confirmation": {"type": "redirect", "return_url": "https://t.me/"},
    }
    assert new_payment(body, receipt_required=False).capture is False


def test_fields_appear_when_they_become_true(events: Events) -> None:
    payment = events.payment()
    pending = payment_json(payment, public_url="http://x", shop_id="1")
    assert pending["confirmation"]["confirmation_url"] == f"http://x/pay/{payment.id}"
    assert "captured_at" not in pending
    events.shop.decline(payment)
    canceled = payment_json(payment, public_url="http://x", shop_id="1")
    assert "confirmation" not in canceled
    assert canceled["cancellation_details"]["reason"] == "general_decline"

"""What a notification is taken to claim, and whose address it came from."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rei_core.errors import ConfigurationError
from rei_core.payments.notifications import client_address, is_trusted_sender, parse
from rei_core.payments.port import Notification

PAYMENT_ID = "2f1c0f9e-000f-5000-8000-1d0f0b9c4d5e"
REFUND_ID = "2f1c0f9e-0015-5000-9000-1d0f0b9c4d5e"

Json = dict[str, Any]


def note(event: Any = "payment.succeeded", told: Any = None, **changes: Any) -> bytes:
    told = {"id": PAYMENT_ID, "status": "succeeded", "paid": True} if told is None else told
    return json.dumps({"type": "notification", "event": event, "object": told, **changes}).encode()


@pytest.mark.parametrize(
    "event", ["payment.succeeded", "payment.waiting_for_capture", "payment.canceled"]
)
def test_a_payments_notification_names_the_payment(event: str) -> None:
    assert parse(note(event)) == Notification(event, PAYMENT_ID, PAYMENT_ID)


def test_a_refunds_notification_names_the_payment_too() -> None:
    told = {"id": REFUND_ID, "payment_id": PAYMENT_ID, "status": "succeeded"}
    expected = Notification("refund.succeeded", REFUND_ID, PAYMENT_ID)
    assert parse(note("refund.succeeded", told)) == expected


def test_what_the_sdk_does_not_know_does_not_lose_the_hint() -> None:
    told = {
        "id": PAYMENT_ID,
        "status": "succeeded",
        "amount": {"value": "much"},
        "payment_method": {"type": "bank_card", "card": {"expiry_month": "XIII"}},
        "transfers": "many",
    }
    assert parse(note(told=told)) is not None


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b"\xff\x00",
        b"[" * 100_000,
        b'{"type": "notification", "event": "payment.succeeded"',
        note(type="greeting"),
        note(type=None),
        note(type={}),
        note(event=None),
        note(event=5),
        note(event=""),
        note(event="payment."),
        note(event="payment.succeeded\n"),
        note(event="payment.SUCCEEDED"),
        note(event="payment." + "x" * 100),
        note(event="payout.succeeded"),
        note(event="deal.closed"),
        note(event="payment_method.active"),
        note(told={}),
        note(told=[]),
        note(told="text"),
        note(told={"id": 5}),
        note(told={"id": None}),
        note(told={"id": ""}),
        note(told={"id": ".."}),
        note(told={"id": "../refunds/1"}),
        note(told={"id": "x" * 65}),
        note(told={"id": "a b"}),
        note(event="refund.succeeded"),
        note(event="refund.succeeded", told={"id": REFUND_ID, "payment_id": "/"}),
    ],
)
def test_what_is_no_notification(body: bytes) -> None:
    assert parse(body) is None


leaves = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
anything = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["id", "payment_id", "status", "type"]), inner, max_size=4
        )
    ),
    max_leaves=15,
)


@settings(max_examples=300, deadline=None)
@given(
    body=st.binary(max_size=100)
    | st.builds(note, event=anything | st.sampled_from(["payment.x", "refund.x"]), told=anything)
)
def test_nothing_in_a_body_raises(body: bytes) -> None:
    found = parse(body)
    assert found is None or (found.object_id and found.payment_id)


@pytest.mark.parametrize(
    ("address", "trusted"),
    [
        ("185.71.76.0", True),
        ("185.71.76.31", True),
        ("185.71.76.32", False),
        ("185.71.77.31", True),
        ("77.75.153.127", True),
        ("77.75.153.128", False),
        ("77.75.154.127", False),
        ("77.75.154.128", True),
        ("77.75.156.11", True),
        ("77.75.156.12", False),
        ("77.75.156.35", True),
        ("2a02:5180::1", True),
        ("2a02:5180:ffff:ffff::1", True),
        ("2a02:5181::1", False),
        ("::ffff:185.71.76.1", True),
        ("::ffff:8.8.8.8", False),
        ("127.0.0.1", False),
        ("", False),
        ("185.71.76", False),
        ("185.71.76.1.evil.example", False),
        ("YooKassa", False),
    ],
)
def test_senders(address: str, trusted: bool) -> None:
    assert is_trusted_sender(address) is trusted


OURS = ("10.0.0.0/8", "fd00::/8")


@pytest.mark.parametrize(
    ("peer", "forwarded", "proxies", "found"),
    [
        ("185.71.76.1", None, (), "185.71.76.1"),
        ("8.8.8.8", "185.71.76.1", (), "8.8.8.8"),  # a stranger may write what he likes
        ("8.8.8.8", "185.71.76.1", OURS, "8.8.8.8"),
        ("10.0.0.1", None, OURS, "10.0.0.1"),
        ("10.0.0.1", "", OURS, "10.0.0.1"),
        ("10.0.0.1", "185.71.76.1", OURS, "185.71.76.1"),
        ("10.0.0.1", "185.71.76.1, 8.8.8.8", OURS, "8.8.8.8"),
        ("10.0.0.1", "1.1.1.1, 185.71.76.1, 10.0.0.2", OURS, "185.71.76.1"),
        ("10.0.0.1", "185.71.76.1 ,10.0.0.2,10.0.0.3 ", OURS, "185.71.76.1"),
        ("10.0.0.1", "10.0.0.9", OURS, "10.0.0.9"),
        ("fd00::1", "2a02:5180::5", OURS, "2a02:5180::5"),
        ("::ffff:10.0.0.1", "185.71.76.1", OURS, "185.71.76.1"),
        ("10.0.0.1", "185.71.76.1:4711", OURS, "185.71.76.1"),
        ("10.0.0.1", "[2a02:5180::5]:4711", OURS, "2a02:5180::5"),
        ("10.0.0.1", "185.71.76.1, unknown", OURS, "unknown"),
        ("10.0.0.1", "185.71.76.1, ", OURS, ""),
        ("", "185.71.76.1", OURS, ""),
        ("unix:", "185.71.76.1", OURS, "unix:"),
    ],
)
def test_who_really_asked(
    peer: str, forwarded: str | None, proxies: tuple[str, ...], found: str
) -> None:
    assert client_address(peer, forwarded, proxies) == found


@given(peer=st.text(max_size=20), forwarded=st.none() | st.text(max_size=40))
def test_no_header_raises(peer: str, forwarded: str | None) -> None:
    is_trusted_sender(client_address(peer, forwarded, OURS))


@given(forwarded=st.text(max_size=40))
def test_no_header_of_a_stranger_makes_him_anybody_else(forwarded: str) -> None:
    assert client_address("8.8.8.8", forwarded, OURS) == "8.8.8.8"
    assert client_address("10.0.0.1", f"{forwarded}, 8.8.8.8", OURS) == "8.8.8.8"


def test_a_network_that_is_none_is_said() -> None:
    with pytest.raises(ConfigurationError, match="REI_TRUSTED_PROXIES"):
        client_address("10.0.0.1", None, ("10/8",))

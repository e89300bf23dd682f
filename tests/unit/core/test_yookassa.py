"""What each of YooKassa's answers means for the money, and that none raises anything else."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
import stamina
from hypothesis import given, settings
from hypothesis import strategies as st

from rei_core.errors import (
    ConfigurationError,
    PaymentNotFound,
    PaymentOutcomeUnknown,
    PaymentProviderError,
    PaymentRejected,
)
from rei_core.payments import yookassa
from rei_core.payments.port import Receipt, RemotePayment, RemoteRefund
from rei_core.payments.yookassa import YooKassaClient
from rei_core.payments.yookassa_wire import payment_of, refund_of

Json = dict[str, Any]
Handler = Callable[[httpx.Request], httpx.Response]
Call = Callable[[YooKassaClient], Awaitable[Any]]

SECRET = "live_secret-0123456789"
PAYMENT_ID = "2f1c0f9e-000f-5000-8000-1d0f0b9c4d5e"
REFUND_ID = "2f1c0f9e-0015-5000-9000-1d0f0b9c4d5e"
SINCE = datetime(2026, 11, 24, 10, 51, 18, 139_999, tzinfo=UTC)
RECEIPT = Receipt("a@b.ru", "Пополнение баланса", 1, tax_system_code=2)

PAYMENT: Json = {
    "id": PAYMENT_ID,
    "status": "pending",
    "amount": {"value": "200.00", "currency": "RUB"},
    "created_at": "2026-11-24T10:51:18.139Z",
    "confirmation": {"type": "redirect", "confirmation_url": "https://yoomoney.ru/pay?x=1"},
    "metadata": {"rei_payment_id": "17"},
    "test": True,
}
REFUND: Json = {
    "id": REFUND_ID,
    "payment_id": PAYMENT_ID,
    "status": "succeeded",
    "amount": {"value": "200.00", "currency": "RUB"},
    "created_at": "2026-11-24T10:51:18.139Z",
}


def create(client: YooKassaClient, *, key: str = "key-1") -> Awaitable[RemotePayment]:
    return client.create(
        idempotence_key=key,
        amount_kopecks=20_000,
        description="Пополнение",
        return_url="https://t.me/rei_bot",
        metadata={"rei_payment_id": "17"},
    )


def refund(client: YooKassaClient) -> Awaitable[RemoteRefund]:
    return client.refund(
        PAYMENT_ID, idempotence_key="key-2", amount_kopecks=20_000, description="Refund"
    )


async def first_page(client: YooKassaClient) -> list[RemotePayment]:
    return [payment async for payment in client.list(created_since=SINCE)]


CHANGES: dict[str, Call] = {
    "create": create,
    "refund": refund,
    "cancel": lambda client: client.cancel(PAYMENT_ID, idempotence_key="key-3"),
}
READS: dict[str, Call] = {
    "get": lambda client: client.get(PAYMENT_ID),
    "get_refund": lambda client: client.get_refund(REFUND_ID),
    "list": first_page,
    "check_credentials": lambda client: client.check_credentials(),
}


@pytest.fixture(autouse=True)
def _no_pauses() -> Any:
    with stamina.set_testing(True, attempts=3, cap=True):
        yield


async def ask(handler: Handler, call: Call, *, timeout_seconds: float = 5) -> Any:
    client = YooKassaClient(
        shop_id="100500",
        secret_key=SECRET,
        base_url="http://yookassa.test/v3/",
        timeout_seconds=timeout_seconds,
        transport=httpx.MockTransport(handler),
    )
    try:
        return await call(client)
    finally:
        await client.aclose()


def always(status: int, body: Any) -> Handler:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return lambda _: httpx.Response(status, content=content)


def refusal(code: str, description: str = "no") -> Json:
    return {"type": "error", "id": "1", "code": code, "description": description}


# --- what is counted ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("handler", "outcomes"),
    [
        (always(200, PAYMENT), ["ok"]),
        (always(404, refusal("not_found")), ["not_found"]),
        (always(401, refusal("invalid_credentials")), ["unauthorized"]),
        (always(400, refusal("invalid_request")), ["rejected"]),
        (always(503, b"<html>"), ["unknown", "unknown", "unknown"]),
    ],
)
async def test_every_exchange_is_told_by_its_end(handler: Handler, outcomes: list[str]) -> None:
    """A read that is repeated is several calls to YooKassa."""
    told: list[tuple[str, str]] = []
    client = YooKassaClient(
        shop_id="100500",
        secret_key=SECRET,
        base_url="http://yookassa.test/v3",
        transport=httpx.MockTransport(handler),
        on_call=lambda operation, outcome, seconds: told.append((operation, outcome)),
    )
    try:
        with contextlib.suppress(PaymentProviderError):
            await client.get(PAYMENT_ID)
    finally:
        await client.aclose()
    assert told == [("get_payment", outcome) for outcome in outcomes]


async def test_every_operation_has_its_own_name() -> None:
    told: list[str] = []
    client = YooKassaClient(
        shop_id="100500",
        secret_key=SECRET,
        base_url="http://yookassa.test/v3",
        transport=httpx.MockTransport(always(404, refusal("not_found"))),
        on_call=lambda operation, outcome, seconds: told.append(operation),
    )

    async def refunds(client: YooKassaClient) -> list[RemoteRefund]:
        return [refund async for refund in client.list_refunds(created_since=SINCE)]

    try:
        for call in (*CHANGES.values(), *READS.values(), refunds):
            with pytest.raises(PaymentProviderError):
                await call(client)
    finally:
        await client.aclose()
    assert told == [
        "create_payment", "create_refund", "cancel_payment",
        "get_payment", "get_refund", "list_payments", "get_me", "list_refunds",
    ]  # fmt: skip


# --- what is sent ---------------------------------------------------------------------------------


async def sent_by(call: Call, answer: Json) -> httpx.Request:
    asked: list[httpx.Request] = []

    def handler(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return httpx.Response(200, json=answer)

    await ask(handler, call)
    [request] = asked
    return request


async def test_a_payment_is_asked_for_as_the_documentation_shows() -> None:
    request = await sent_by(create, PAYMENT)
    assert (request.method, str(request.url)) == ("POST", "http://yookassa.test/v3/payments")
    assert request.headers["idempotence-key"] == "key-1"
    assert request.headers["authorization"] == httpx.BasicAuth("100500", SECRET)._auth_header
    assert json.loads(request.content) == {
        "amount": {"value": "200.00", "currency": "RUB"},
        "capture": True,
        "confirmation": {"type": "redirect", "return_url": "https://t.me/rei_bot"},
        "description": "Пополнение",
        "metadata": {"rei_payment_id": "17"},
    }


async def test_a_receipt_goes_along_with_a_payment_and_a_refund() -> None:
    item = {
        "description": "Пополнение баланса",
        "quantity": "1.0",
        "amount": {"value": "200.00", "currency": "RUB"},
        "vat_code": 1,
        "payment_subject": "service",
        "payment_mode": "full_prepayment",
    }
    paid = await sent_by(
        lambda client: client.create(
            idempotence_key="k",
            amount_kopecks=20_000,
            description="d",
            return_url="https://t.me/",
            metadata={},
            receipt=RECEIPT,
        ),
        PAYMENT,
    )
    refunded = await sent_by(
        lambda client: client.refund(
            PAYMENT_ID,
            idempotence_key="k",
            amount_kopecks=20_000,
            description="d",
            receipt=RECEIPT,
        ),
        REFUND,
    )
    for request in (paid, refunded):
        assert json.loads(request.content)["receipt"] == {
            "customer": {"email": "a@b.ru"},
            "items": [item],
            "tax_system_code": 2,
        }


@pytest.mark.parametrize("kopecks", [1, 99, 100, 101, 12_345, 35_000_000, 999_999_999_999_999])
async def test_amounts_are_sent_exactly(kopecks: int) -> None:
    text = f"{kopecks // 100}.{kopecks % 100:02d}"
    request = await sent_by(
        lambda client: client.create(
            idempotence_key="k",
            amount_kopecks=kopecks,
            description="d",
            return_url="https://t.me/",
            metadata={},
            receipt=RECEIPT,
        ),
        {**PAYMENT, "amount": {"value": text, "currency": "RUB"}},
    )
    body = json.loads(request.content)
    assert body["amount"]["value"] == text
    assert body["receipt"]["items"][0]["amount"]["value"] == text


async def test_long_descriptions_are_cut_to_what_is_taken() -> None:
    request = await sent_by(
        lambda client: client.create(
            idempotence_key="k",
            amount_kopecks=20_000,
            description="д" * 500,
            return_url="https://t.me/",
            metadata={},
        ),
        PAYMENT,
    )
    assert json.loads(request.content)["description"] == "д" * 128


@pytest.mark.parametrize("key", ["", "k" * 65, "ключ", "a\nb"])
async def test_nothing_is_sent_without_a_sound_key(key: str) -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        raise AssertionError("sent")

    with pytest.raises(PaymentRejected, match="not sent"):
        await ask(handler, lambda client: create(client, key=key))


@pytest.mark.parametrize("object_id", ["", "../me", "a/b", "x" * 65, "а", "a b", "a\n"])
async def test_a_text_that_can_be_no_id_is_not_asked_for(object_id: str) -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        raise AssertionError("sent")

    calls: tuple[Call, ...] = (
        lambda client: client.get(object_id),
        lambda client: client.get_refund(object_id),
        lambda client: client.cancel(object_id, idempotence_key="k"),
    )
    for call in calls:
        with pytest.raises(PaymentNotFound):
            await ask(handler, call)


# --- what is read ---------------------------------------------------------------------------------


async def test_a_payment_is_read() -> None:
    assert await ask(always(200, PAYMENT), READS["get"]) == RemotePayment(
        id=PAYMENT_ID,
        status="pending",
        amount_kopecks=20_000,
        currency="RUB",
        created_at=datetime(2026, 11, 24, 10, 51, 18, 139_000, tzinfo=UTC),
        confirmation_url="https://yoomoney.ru/pay?x=1",
        test=True,
        metadata={"rei_payment_id": "17"},
    )


async def test_a_payment_with_everything_new_and_strange_is_still_read() -> None:
    strange = {
        **PAYMENT,
        "status": "succeeded",
        "confirmation": {"type": "telepathy"},
        "payment_method": {"type": "bank_card", "card": {"expiry_month": "XIII"}},
        "transfers": "many",
        "recipient": None,
        "deal": [1],
        "cancellation_details": {"party": "moon", "reason": "a_reason_of_next_year"},
        "refunded_amount": {"value": "12.34", "currency": "RUB"},
        "metadata": {"rei_payment_id": "17", "number": 5},
    }
    payment = await ask(always(200, strange), READS["get"])
    assert (payment.status, payment.amount_kopecks) == ("succeeded", 20_000)
    assert payment.confirmation_url is None
    assert payment.cancellation_reason == "a_reason_of_next_year"
    assert payment.refunded_kopecks == 1_234
    assert payment.metadata == {"rei_payment_id": "17"}


UNREADABLE: tuple[Any, ...] = (
    b"",
    b"<html>200 OK</html>",
    b'{"id": "2f1c',
    b"[" * 100_000,
    [],
    None,
    {},
    {**PAYMENT, "id": 5},
    {**PAYMENT, "id": "../x"},
    {**PAYMENT, "id": None},
    {**PAYMENT, "status": "paid"},
    {**PAYMENT, "status": ["succeeded"]},
    {**PAYMENT, "amount": None},
    {**PAYMENT, "amount": "200.00"},
    {**PAYMENT, "amount": {"value": 200, "currency": "RUB"}},
    {**PAYMENT, "amount": {"value": 200.0, "currency": "RUB"}},
    {**PAYMENT, "amount": {"value": "200", "currency": "RUB"}},
    {**PAYMENT, "amount": {"value": "200.004", "currency": "RUB"}},
    {**PAYMENT, "amount": {"value": "-200.00", "currency": "RUB"}},
    {**PAYMENT, "amount": {"value": "2e2", "currency": "RUB"}},
    {**PAYMENT, "amount": {"value": "NaN", "currency": "RUB"}},
    {**PAYMENT, "amount": {"value": "200.00"}},
    {**PAYMENT, "amount": {"value": "200.00", "currency": "рубли"}},
    {**PAYMENT, "created_at": "yesterday"},
    {**PAYMENT, "created_at": "2026-11-24T10:51:18"},
    {**PAYMENT, "created_at": 5},
    {**PAYMENT, "confirmation": {"type": ["redirect"]}},
    {**PAYMENT, "refunded_amount": {"value": "much"}},
)


@pytest.mark.parametrize("call", ["create", "cancel", "get"])
@pytest.mark.parametrize("body", UNREADABLE)
async def test_an_unreadable_payment_leaves_the_outcome_unknown(call: str, body: Any) -> None:
    with pytest.raises(PaymentOutcomeUnknown):
        await ask(always(200, body), {**CHANGES, **READS}[call])


@pytest.mark.parametrize(
    "body",
    [
        b"<html>",
        {},
        {**REFUND, "status": "maybe"},
        {**REFUND, "payment_id": None},
        {**REFUND, "payment_id": "another-payment"},
        {**REFUND, "amount": {"value": "199.99", "currency": "RUB"}},
    ],
)
async def test_an_unreadable_refund_leaves_the_outcome_unknown(body: Any) -> None:
    with pytest.raises(PaymentOutcomeUnknown):
        await ask(always(200, body), refund)


@pytest.mark.parametrize("call", ["get", "cancel", "create"])
async def test_an_answer_about_something_else_is_not_taken(call: str) -> None:
    other = {**PAYMENT, "id": "other", "amount": {"value": "1.00", "currency": "RUB"}}
    with pytest.raises(PaymentOutcomeUnknown):
        await ask(always(200, other), {**CHANGES, **READS}[call])


async def test_a_strange_address_is_no_address_to_pay_at() -> None:
    for url in ("javascript:alert(1)", "https://x\n", "https://" + "x" * 3000, 5, ["https://x"]):
        odd = {**PAYMENT, "confirmation": {"type": "redirect", "confirmation_url": url}}
        assert (await ask(always(200, odd), READS["get"])).confirmation_url is None


# --- refusals -------------------------------------------------------------------------------------


@pytest.mark.parametrize("call", [*CHANGES, *READS])
@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (400, refusal("invalid_request"), PaymentRejected),
        (401, refusal("invalid_credentials"), PaymentRejected),
        (403, refusal("forbidden"), PaymentRejected),
        (404, refusal("not_found"), PaymentNotFound),
        (405, refusal("method_not_allowed"), PaymentRejected),
        (415, refusal("unsupported_media_type"), PaymentRejected),
        (429, refusal("too_many_requests"), PaymentOutcomeUnknown),
        (408, refusal("timeout"), PaymentOutcomeUnknown),
        (500, refusal("internal_server_error"), PaymentOutcomeUnknown),
        (502, b"<html>502</html>", PaymentOutcomeUnknown),
        (503, b"", PaymentOutcomeUnknown),
        (202, {"type": "processing", "retry_after": 1800}, PaymentOutcomeUnknown),
        (301, b"", PaymentOutcomeUnknown),
        # Not YooKassa's words: something in between, which does not know what has been done.
        (400, b"<html>400</html>", PaymentOutcomeUnknown),
        (403, {"message": "blocked"}, PaymentOutcomeUnknown),
        (404, b"<html>404</html>", PaymentOutcomeUnknown),
        (404, [], PaymentOutcomeUnknown),
        (413, {"code": 413}, PaymentOutcomeUnknown),
    ],
)
async def test_refusals(
    call: str, status: int, body: Any, kind: type[PaymentProviderError]
) -> None:
    with pytest.raises(PaymentProviderError) as failed:
        await ask(always(status, body), {**CHANGES, **READS}[call])
    assert type(failed.value) is kind
    assert failed.value.http_status == status


async def test_a_refusal_carries_the_code_and_the_description() -> None:
    body = refusal("invalid_request", "Receipt is missing or illegal")
    with pytest.raises(PaymentRejected, match="Receipt is missing or illegal") as failed:
        await ask(always(400, body), create)
    assert failed.value.code == "invalid_request"


@pytest.mark.parametrize("before", [0, 280, 290, 295])
async def test_the_secret_shows_in_no_error(before: int) -> None:
    body = refusal("invalid_request", "x" * before + SECRET)
    with pytest.raises(PaymentRejected) as failed:
        await ask(always(400, body), create)
    assert SECRET[:8] not in str(failed.value)
    assert len(str(failed.value)) < 500


# --- the wire -------------------------------------------------------------------------------------


@pytest.mark.parametrize("call", [*CHANGES, *READS])
@pytest.mark.parametrize(
    "problem",
    [
        httpx.ReadTimeout("slow"),
        httpx.ConnectTimeout("slow"),
        httpx.PoolTimeout("full"),
        httpx.ConnectError("refused"),
        httpx.RemoteProtocolError("cut"),
        httpx.DecodingError("gzip"),
        OSError("no route"),
    ],
)
async def test_a_broken_connection_leaves_the_outcome_unknown(
    call: str, problem: Exception
) -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        raise problem

    with pytest.raises(PaymentOutcomeUnknown) as failed:
        await ask(handler, {**CHANGES, **READS}[call])
    assert failed.value.__cause__ is problem


@pytest.mark.parametrize(("calls", "times"), [(CHANGES, 1), (READS, 3)])
async def test_only_reads_are_repeated(calls: dict[str, Call], times: int) -> None:
    for name, call in calls.items():
        asked = 0

        def handler(request: httpx.Request) -> httpx.Response:
            nonlocal asked
            asked += 1
            return httpx.Response(503)

        with pytest.raises(PaymentOutcomeUnknown):
            await ask(handler, call)
        assert asked == times, name


async def test_a_read_that_fails_once_is_not_noticed() -> None:
    answers = [httpx.Response(500), httpx.Response(200, json=PAYMENT)]
    payment = await ask(lambda _: answers.pop(0), READS["get"])
    assert payment.id == PAYMENT_ID


class Endless(httpx.AsyncByteStream):
    def __init__(self) -> None:
        self.sent = 0

    async def __aiter__(self) -> Any:
        while True:
            self.sent += 1 << 16
            yield b" " * (1 << 16)


async def test_a_body_without_end_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(yookassa, "ANSWER_BYTES_MAX", 1 << 20)
    stream = Endless()
    with pytest.raises(PaymentOutcomeUnknown):
        await ask(lambda _: httpx.Response(200, stream=stream), create)
    assert stream.sent <= 1 << 21


@pytest.mark.parametrize("url", ["", "yookassa", "ftp://x", "https://"])
def test_an_address_that_cannot_be_one_is_said_at_once(url: str) -> None:
    with pytest.raises(ConfigurationError, match="YOOKASSA_API_URL"):
        YooKassaClient(shop_id="1", secret_key="s", base_url=url)


# --- lists ----------------------------------------------------------------------------------------


async def test_a_list_is_read_page_by_page() -> None:
    queries: list[dict[str, str]] = []

    def handler(request: httpx.Request) -> httpx.Response:
        queries.append(dict(request.url.params))
        number = len(queries)
        more = {"next_cursor": f"c{number}"} if number < 3 else {}
        return httpx.Response(200, json={"items": [{**PAYMENT, "id": f"p{number}"}], **more})

    async def succeeded(client: YooKassaClient) -> list[str]:
        found = client.list(created_since=SINCE, status="succeeded")
        return [payment.id async for payment in found]

    assert await ask(handler, succeeded) == ["p1", "p2", "p3"]
    first = {
        "limit": "100",
        "status": "succeeded",
        # Cut, not rounded: nothing that was created at this very moment is left out.
        "created_at.gte": "2026-11-24T10:51:18.139Z",
    }
    assert queries == [first, {**first, "cursor": "c1"}, {**first, "cursor": "c2"}]


@pytest.mark.parametrize("cursor", ["same", None])
async def test_a_list_that_goes_in_circles_ends(
    cursor: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(yookassa, "PAGES_MAX", 20)
    pages = 0

    def handler(request: httpx.Request) -> httpx.Response:
        nonlocal pages
        pages += 1
        return httpx.Response(200, json={"items": [], "next_cursor": cursor or f"c{pages}"})

    with pytest.raises(PaymentOutcomeUnknown, match="does not end"):
        await ask(handler, first_page)
    assert pages <= 20


async def test_one_unreadable_payment_does_not_hide_the_others() -> None:
    body = {"items": [{**PAYMENT, "id": "p1"}, {"id": 5}, None, {**PAYMENT, "id": "p2"}]}
    seen: list[str] = []

    async def collect(client: YooKassaClient) -> None:
        async for payment in client.list(created_since=SINCE):
            seen.append(payment.id)  # noqa: PERF401 - extend would keep nothing if it raises

    with pytest.raises(PaymentOutcomeUnknown, match="2 payments"):
        await ask(always(200, body), collect)
    assert seen == ["p1", "p2"]


async def test_a_moment_without_a_time_zone_is_a_mistake_of_ours() -> None:
    async def call(client: YooKassaClient) -> None:
        async for _ in client.list(created_since=datetime(2026, 11, 24)):  # noqa: DTZ001
            pass

    with pytest.raises(ValueError, match="time zone"):
        await ask(always(200, {}), call)


# --- arbitrary answers ----------------------------------------------------------------------------

leaves = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
words = st.sampled_from(
    ["id", "status", "amount", "value", "currency", "created_at", "confirmation", "type",
     "metadata", "test", "payment_id", "refunded_amount", "cancellation_details", "items",
     "next_cursor", "account_id", "code", "__class__", "__dict__", "json"]
)  # fmt: skip
anything = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(words | st.text(max_size=5), inner, max_size=6)
    ),
    max_leaves=25,
)
damaged = st.builds(lambda field, value: {**PAYMENT, **REFUND, field: value}, words, anything)


@settings(max_examples=400, deadline=None)
@given(body=anything | damaged)
def test_nothing_in_an_answer_raises_anything_but_the_named_error(body: Any) -> None:
    for read in (payment_of, refund_of):
        try:
            found: RemotePayment | RemoteRefund = read(body)
        except PaymentOutcomeUnknown:
            continue
        assert isinstance(found.amount_kopecks, int)
        assert found.amount_kopecks >= 0


@settings(max_examples=150, deadline=None)
@given(status=st.integers(100, 599), body=anything | damaged | st.binary(max_size=50))
async def test_no_answer_raises_anything_but_the_named_errors(status: int, body: Any) -> None:
    for call in (create, first_page, READS["check_credentials"]):
        try:
            await ask(always(status, body), call)
        except PaymentProviderError:
            continue
        assert status == 200

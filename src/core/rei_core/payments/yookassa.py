"""YooKassa over HTTP, behind `PaymentProvider`.

The official SDK's models build and read the JSON (`yookassa_wire`); its transport is not used, as
it blocks, knows no time-out and keeps the shop's secret in a class (docs/adr/0002). Guarantees:

- every call ends within `timeout_seconds`, and every failure is a `PaymentProviderError`;
- a change of anybody's money is asked for once, under the caller's idempotence key: only the
  caller repeats it. Reads are repeated a little within their time;
- `PaymentRejected` and `PaymentNotFound` are said by YooKassa itself. An answer that is not
  readable as YooKassa's, whatever its status, may come from something in between, and the change
  may have been made: `PaymentOutcomeUnknown`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from typing import Any, TypeVar

import httpx
import stamina
import structlog

from rei_core.errors import (
    PaymentNotFound,
    PaymentOutcomeUnknown,
    PaymentProviderError,
    PaymentRejected,
)
from rei_core.http import (
    ACCEPT_ENCODING,
    Json,
    checked_url,
    list_of,
    object_of,
    read_body,
    text_of,
    without_secret,
)
from rei_core.logs import MASK
from rei_core.payments import yookassa_wire as wire
from rei_core.payments.port import Receipt, RemotePayment, RemoteRefund, RemoteStatus

logger = structlog.get_logger(__name__)

ANSWER_BYTES_MAX = 1024 * 1024
"""A page of a hundred payments takes about 200 KB."""
DESCRIPTION_LENGTH_MAX = 300
READ_ATTEMPTS_MAX = 3
PAGE_SIZE = 100
PAGES_MAX = 10_000
KEY_LENGTH_MAX = 64

Remote = TypeVar("Remote", RemotePayment, RemoteRefund)
OnCall = Callable[[str, str, float], None]
"""Told each call's operation, outcome and seconds."""
LIMITS = httpx.Limits(max_connections=100, max_keepalive_connections=20, keepalive_expiry=30)


class YooKassaClient:
    """A `PaymentProvider`. Raises `ConfigurationError` for an address that cannot be one."""

    def __init__(
        self,
        *,
        shop_id: str,
        secret_key: str,
        base_url: str,
        timeout_seconds: float = 15,
        transport: httpx.AsyncBaseTransport | None = None,
        on_call: OnCall | None = None,
    ) -> None:
        self._secret_key = secret_key
        self._base_url = checked_url(base_url, setting="YOOKASSA_API_URL")
        self._timeout_seconds = timeout_seconds
        self._on_call = on_call
        self._http = httpx.AsyncClient(
            auth=(shop_id, secret_key),
            headers={"accept-encoding": ACCEPT_ENCODING},
            timeout=timeout_seconds,
            limits=LIMITS,
            transport=transport,
        )

    async def create(
        self,
        *,
        idempotence_key: str,
        amount_kopecks: int,
        description: str,
        return_url: str,
        metadata: dict[str, str],
        receipt: Receipt | None = None,
    ) -> RemotePayment:
        body = wire.payment_body(
            amount_kopecks=amount_kopecks,
            description=description,
            return_url=return_url,
            metadata=metadata,
            receipt=receipt,
        )
        payment = wire.payment_of(
            await self._change("create_payment", "/payments", body, key=idempotence_key)
        )
        _expect(payment.amount_kopecks == amount_kopecks, "the payment created has another amount")
        return payment

    async def get(self, payment_id: str) -> RemotePayment:
        payment = wire.payment_of(
            await self._read("get_payment", f"/payments/{_checked_id(payment_id)}")
        )
        _expect(payment.id == payment_id, "the answer is about another payment")
        return payment

    async def cancel(self, payment_id: str, *, idempotence_key: str) -> RemotePayment:
        path = f"/payments/{_checked_id(payment_id)}/cancel"
        payment = wire.payment_of(
            await self._change("cancel_payment", path, b"{}", key=idempotence_key)
        )
        _expect(payment.id == payment_id, "the answer is about another payment")
        return payment

    async def refund(
        self,
        payment_id: str,
        *,
        idempotence_key: str,
        amount_kopecks: int,
        description: str,
        receipt: Receipt | None = None,
    ) -> RemoteRefund:
        body = wire.refund_body(
            payment_id=payment_id,
            amount_kopecks=amount_kopecks,
            description=description,
            receipt=receipt,
        )
        refund = wire.refund_of(
            await self._change("create_refund", "/refunds", body, key=idempotence_key)
        )
        asked, made = (payment_id, amount_kopecks), (refund.payment_id, refund.amount_kopecks)
        _expect(made == asked, "the answer is about another refund")
        return refund

    async def get_refund(self, refund_id: str) -> RemoteRefund:
        refund = wire.refund_of(
            await self._read("get_refund", f"/refunds/{_checked_id(refund_id)}")
        )
        _expect(refund.id == refund_id, "the answer is about another refund")
        return refund

    async def list(
        self, *, created_since: datetime, status: RemoteStatus | None = None
    ) -> AsyncIterator[RemotePayment]:
        """Every payment created since, newest first.

        One that cannot be read does not hide the others: that is said at the very end, by
        `PaymentOutcomeUnknown`.
        """
        query = {"created_at.gte": _moment(created_since)}
        if status is not None:
            query["status"] = status
        async for payment in self._pages("/payments", query, wire.payment_of):
            yield payment

    async def list_refunds(
        self, *, payment_id: str | None = None, created_since: datetime | None = None
    ) -> AsyncIterator[RemoteRefund]:
        """Every refund, of one payment or created since, newest first; else as `list`."""
        query = {}
        if payment_id is not None:
            query["payment_id"] = _checked_id(payment_id)
        if created_since is not None:
            query["created_at.gte"] = _moment(created_since)
        async for refund in self._pages("/refunds", query, wire.refund_of):
            # Not every filter may be obeyed, and a refund of another payment settles nothing.
            if payment_id is None or refund.payment_id == payment_id:
                yield refund

    async def check_credentials(self) -> str:
        """Return the shop's account id, or raise."""
        account_id = text_of((await self._read("get_me", "/me")).get("account_id"))
        _expect(account_id != "", "the answer holds no account id")
        return account_id[:64]

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def _pages(
        self, path: str, query: dict[str, str], read: Callable[[Any], Remote]
    ) -> AsyncIterator[Remote]:
        what = path.removeprefix("/")
        query = {"limit": str(PAGE_SIZE), **query}
        unreadable = 0
        for _ in range(PAGES_MAX):
            page = await self._read(f"list_{what}", path, query)
            for item in list_of(page.get("items")):
                try:
                    one = read(item)
                except PaymentOutcomeUnknown:
                    unreadable += 1
                    continue
                yield one
            cursor = text_of(page.get("next_cursor"))
            if not cursor or cursor == query.get("cursor"):
                break
            query["cursor"] = cursor
        _expect(not cursor, f"the list of {what} does not end")
        _expect(unreadable == 0, f"{unreadable} {what} of the list cannot be read")

    async def _change(self, operation: str, path: str, body: bytes, *, key: str) -> Json:
        if not key or len(key) > KEY_LENGTH_MAX or not (key.isascii() and key.isprintable()):
            raise PaymentRejected("not sent: no idempotence key", code="invalid_request")
        headers = {"Idempotence-Key": key, "Content-Type": "application/json"}
        request = self._http.build_request(
            "POST", self._base_url + path, content=body, headers=headers
        )
        return await self._measured(operation, request, seconds_max=self._timeout_seconds)

    async def _read(self, operation: str, path: str, query: dict[str, str] | None = None) -> Json:
        """The answer to a GET, which may be repeated: it changes nothing."""
        attempts = stamina.retry_context(
            on=PaymentOutcomeUnknown,
            attempts=READ_ATTEMPTS_MAX,
            timeout=None,
            wait_initial=0.1,
            wait_max=1,
            wait_jitter=0.2,
        )
        try:
            async with asyncio.timeout(self._timeout_seconds):
                async for attempt in attempts:
                    with attempt:
                        request = self._http.build_request(
                            "GET", self._base_url + path, params=query
                        )
                        # Half of the time, so that a call that hangs can be repeated once.
                        seconds_max = self._timeout_seconds / 2
                        return await self._measured(operation, request, seconds_max=seconds_max)
        except TimeoutError as error:
            raise PaymentOutcomeUnknown(
                f"GET {path}: no answer in {self._timeout_seconds:g} s"
            ) from error
        raise AssertionError("stamina returns or raises")

    async def _measured(
        self, operation: str, request: httpx.Request, *, seconds_max: float
    ) -> Json:
        began, outcome = time.monotonic(), "ok"
        try:
            return await self._exchange(request, seconds_max=seconds_max)
        except BaseException as error:
            outcome = outcome_of(error)
            raise
        finally:
            if self._on_call is not None:
                self._on_call(operation, outcome, time.monotonic() - began)

    async def _exchange(self, request: httpx.Request, *, seconds_max: float) -> Json:
        """The JSON of an answer with HTTP 200; raises for every other one."""
        what = f"{request.method} {request.url.path}"
        try:
            async with asyncio.timeout(seconds_max):
                response = await self._http.send(request, stream=True)
                try:
                    body, whole = await read_body(response, bytes_max=ANSWER_BYTES_MAX)
                finally:
                    await response.aclose()
        except (TimeoutError, httpx.HTTPError, OSError) as error:
            raise PaymentOutcomeUnknown(f"{what}: {type(error).__name__}") from error
        logger.debug("yookassa.answered", call=what, http_status=response.status_code)
        answer = object_of(body) if whole else None
        if response.status_code == httpx.codes.OK and answer is not None:
            return answer
        raise self._refusal(what, response.status_code, answer or {})

    def _refusal(self, what: str, status: int, answer: Json) -> PaymentProviderError:
        code = text_of(answer.get("code"))[:64]
        said = text_of(answer.get("description"))[:DESCRIPTION_LENGTH_MAX]
        text = without_secret(f"{what}: HTTP {status} {code}: {said}", self._secret_key, mask=MASK)
        kind: type[PaymentProviderError] = PaymentOutcomeUnknown
        if 400 <= status < 500 and status not in (408, 429) and code:
            kind = PaymentNotFound if status == httpx.codes.NOT_FOUND else PaymentRejected
        return kind(text.removesuffix(" : "), http_status=status, code=code)


def outcome_of(error: BaseException) -> str:
    """How a call that raised has ended, as a metric's label."""
    match error:
        case PaymentNotFound():
            return "not_found"
        case PaymentRejected():
            return "unauthorized" if error.http_status in {401, 403} else "rejected"
    return "unknown"


def _expect(true: bool, otherwise: str) -> None:
    """Take an answer only if it is about what was asked for."""
    if not true:
        raise PaymentOutcomeUnknown(otherwise)


def _checked_id(object_id: str) -> str:
    """The id, which goes into a path; a text that can be none is not asked for."""
    if not wire.is_id(object_id):
        raise PaymentNotFound("this can be no id of YooKassa's", code="not_found")
    return object_id


def _moment(at: datetime) -> str:
    """`2026-11-24T10:51:18.139Z`; a moment without a time zone is refused."""
    if at.tzinfo is None:
        raise ValueError("created_since needs a time zone")
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")

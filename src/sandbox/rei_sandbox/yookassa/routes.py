"""The API at `/yookassa/v3`, over HTTP.

Order of checks, as at the real one: credentials, then what a fault breaks, then the request.
A fault of kind `done_no_answer` carries the request out, keeps the answer under its idempotence
key, waits `delay_seconds` and cuts the connection; `hang` does nothing but keep silent.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hmac
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from aiohttp import web

from rei_sandbox.faults import Fault
from rei_sandbox.wire import drop, hang, public_url
from rei_sandbox.yookassa import errors, requests
from rei_sandbox.yookassa.errors import YooKassaRefusal
from rei_sandbox.yookassa.listing import page
from rei_sandbox.yookassa.service import YooKassa

BASE: Final = "/yookassa/v3"
_SERVICE: Final = "yookassa"
_UNAVAILABLE_PAGE: Final = (
    "<html><head><title>503 Service Temporarily Unavailable</title></head>"
    "<body><center><h1>503 Service Temporarily Unavailable</h1></center></body></html>"
)

Json = dict[str, Any]


@dataclass(frozen=True)
class Asked:
    """A request, taken apart."""

    request: web.Request
    body: Json
    public_url: str

    @property
    def id(self) -> str:
        """The object's id in the path, if there is one."""
        return self.request.match_info.get("id", "")

    @property
    def subject(self) -> str:
        """The payment (or refund) that this is about."""
        return self.id or str(self.body.get("payment_id", ""))


Action = Callable[[Asked], Json]


def setup(app: web.Application, *, yookassa: YooKassa) -> None:
    """Add the API's routes to `app`."""
    api = Api(yookassa)
    add = app.router.add_route
    add("POST", f"{BASE}/payments", api.handler("create", api.create))
    add("GET", f"{BASE}/payments", api.handler("list", api.list))
    add("GET", f"{BASE}/payments/{{id}}", api.handler("get", api.get))
    add("POST", f"{BASE}/payments/{{id}}/capture", api.handler("capture", api.capture))
    add("POST", f"{BASE}/payments/{{id}}/cancel", api.handler("cancel", api.cancel))
    add("POST", f"{BASE}/refunds", api.handler("refund", api.refund))
    add("GET", f"{BASE}/refunds", api.handler("list", api.list_refunds))
    add("GET", f"{BASE}/refunds/{{id}}", api.handler("get", api.get_refund))
    add("GET", f"{BASE}/me", api.handler("me", api.me))


class Api:
    """Each call of the API, and what is common to all of them."""

    def __init__(self, yookassa: YooKassa) -> None:
        self._yookassa = yookassa
        self._shop = yookassa.shop
        self._settings = yookassa.settings

    def handler(self, operation: str, action: Action) -> Callable[[web.Request], Any]:
        """The HTTP handler that carries out `action`."""

        async def handle(request: web.Request) -> web.StreamResponse:
            outcome, subject = "ok", ""
            try:
                self._authenticate(request)
                asked = await self._read(request)
                subject = asked.subject
                fault = self._yookassa.faults.take(_SERVICE, operation, subject=subject)
                if fault is not None:
                    outcome = f"fault:{fault.kind}"
                    if fault.kind != "done_no_answer":
                        return await _broken(request, fault)
                self._shop.expire()
                status, answer = self._answer(asked, operation, action)
                if fault is not None:
                    await asyncio.sleep(fault.delay_seconds)
                    return drop(request)
                outcome = "ok" if status == 200 else str(answer.get("code"))
                return web.json_response(answer, status=status)
            except YooKassaRefusal as refusal:
                outcome = refusal.code
                return web.json_response(refusal.body(), status=refusal.status)
            finally:
                self._yookassa.calls.record(_SERVICE, operation, outcome, subject=subject)

        return handle

    def create(self, asked: Asked) -> Json:
        wanted = requests.new_payment(asked.body, receipt_required=self._receipts)
        payment = self._shop.create(wanted)
        self._yookassa.forge_if_ordered()
        return self._yookassa.shown(payment, public_url=asked.public_url)

    def get(self, asked: Asked) -> Json:
        return self._yookassa.shown(self._shop.get(asked.id), public_url=asked.public_url)

    def list(self, asked: Asked) -> Json:
        query = requests.list_query(asked.request.query)
        found, cursor = page(list(self._shop.payments.values()), query)
        items = [self._yookassa.shown(one, public_url=asked.public_url) for one in found]
        return _list(items, cursor)

    def capture(self, asked: Asked) -> Json:
        payment = self._shop.get(asked.id)
        captured = self._shop.capture(payment, requests.capture_amount(asked.body))
        return self._yookassa.shown(captured, public_url=asked.public_url)

    def cancel(self, asked: Asked) -> Json:
        canceled = self._shop.cancel(self._shop.get(asked.id))
        return self._yookassa.shown(canceled, public_url=asked.public_url)

    def refund(self, asked: Asked) -> Json:
        wanted = requests.new_refund(asked.body, receipt_required=self._receipts)
        return self._yookassa.shown(self._shop.refund(wanted))

    def get_refund(self, asked: Asked) -> Json:
        return self._yookassa.shown(self._shop.get_refund(asked.id))

    def list_refunds(self, asked: Asked) -> Json:
        query = requests.list_query(asked.request.query)
        found, cursor = page(list(self._shop.refunds.values()), query)
        return _list([self._yookassa.shown(one) for one in found], cursor)

    def me(self, _asked: Asked) -> Json:
        return {
            "account_id": self._settings.yookassa_shop_id,
            "status": "enabled",
            "test": True,
            "fiscalization_enabled": self._receipts,
            "payment_methods": ["bank_card", "sbp", "yoo_money"],
            "itn": "7710140679",
        }

    @property
    def _receipts(self) -> bool:
        return self._settings.yookassa_receipts_required

    def _answer(self, asked: Asked, operation: str, action: Action) -> tuple[int, Json]:
        """Carry out, or repeat the answer that the same idempotence key had before."""
        if asked.request.method != "POST":
            return 200, action(asked)
        key = requests.idempotence_key(asked.request.headers.get("Idempotence-Key"))
        where = f"{operation} {asked.id}"
        earlier = self._shop.answered(key, where, asked.body)
        if earlier is not None:
            return earlier.status, earlier.body
        try:
            status, answer = 200, action(asked)
        except YooKassaRefusal as refusal:
            status, answer = refusal.status, refusal.body()
        self._shop.remember(key, where, asked.body, status=status, answer=answer)
        return status, answer

    def _authenticate(self, request: web.Request) -> None:
        scheme, _, encoded = request.headers.get("Authorization", "").partition(" ")
        try:
            given = base64.b64decode(encoded, validate=True) if scheme == "Basic" else b""
        except binascii.Error:
            given = b""
        wanted = f"{self._settings.yookassa_shop_id}:{self._settings.yookassa_secret_key}"
        if not hmac.compare_digest(given, wanted.encode()):
            raise errors.invalid_credentials()

    async def _read(self, request: web.Request) -> Asked:
        body: Any = {}
        text = await request.text() if request.method == "POST" else ""
        if text:
            try:
                body = json.loads(text)
            except ValueError:
                raise errors.invalid_request("Invalid JSON") from None
        if not isinstance(body, dict):
            raise errors.invalid_request("JSON object is wanted")
        base = public_url(request, self._settings.public_url)
        return Asked(request=request, body=body, public_url=base)


async def _broken(request: web.Request, fault: Fault) -> web.StreamResponse:
    if fault.kind == "hang":
        return await hang(request, seconds=fault.delay_seconds)
    if fault.kind == "rate_limited":
        raise errors.too_many_requests()
    if fault.kind == "internal":
        raise errors.internal_server_error()
    # What stands before the real API answers for it when it is down, and not in JSON.
    return web.Response(status=503, text=_UNAVAILABLE_PAGE, content_type="text/html")


def _list(items: list[Json], cursor: str) -> Json:
    answer: Json = {"type": "list", "items": items}
    return {**answer, "next_cursor": cursor} if cursor else answer

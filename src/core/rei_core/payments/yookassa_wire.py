"""YooKassa's JSON: requests built and answers read by the official SDK's models.

The SDK is given only the fields that Rei reads, so that a kind of card it does not know cannot make
a payment unreadable. It passes amounts through a float and rounds them: they go around it, as
texts, and one that is no exact number of kopecks is refused. An answer that cannot be read is a
`PaymentOutcomeUnknown`: what was asked for may have been done.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final, TypeVar, get_args

from yookassa.domain.request import PaymentRequest, RefundRequest
from yookassa.domain.response import PaymentResponse, RefundResponse

from rei_core.errors import PaymentOutcomeUnknown, PaymentRejected
from rei_core.http import Json, dict_of, text_of
from rei_core.money import decimal_of, kopecks_of
from rei_core.payments.port import Receipt, RemotePayment, RemoteRefund, RemoteStatus

CURRENCY: Final = "RUB"
DESCRIPTION_LENGTH_MAX: Final = 128
REFUND_DESCRIPTION_LENGTH_MAX: Final = 250

_PAYMENT_FIELDS = ("id", "status", "created_at", "confirmation", "test", "metadata")
_REFUND_FIELDS = ("id", "payment_id", "status")
_REFUND_STATUSES = ("pending", "succeeded", "canceled")
_ID = re.compile(r"[0-9A-Za-z_-]{1,64}")
_REASON = re.compile(r"[0-9a-z_]{1,64}")
_URL = re.compile(r"https?://[\x21-\x7e]{1,2048}")

Remote = TypeVar("Remote", RemotePayment, RemoteRefund)


def is_id(text: Any) -> bool:
    """Whether this can be the id of an object of YooKassa's."""
    return isinstance(text, str) and _ID.fullmatch(text) is not None


def payment_body(
    *,
    amount_kopecks: int,
    description: str,
    return_url: str,
    metadata: dict[str, str],
    receipt: Receipt | None,
) -> bytes:
    """The body of `POST /payments`; raises `PaymentRejected` for what the SDK would not send."""
    asked: Json = {
        "amount": _amount_json(amount_kopecks),
        "capture": True,  # SBP knows no payments in two stages
        "confirmation": {"type": "redirect", "return_url": return_url},
        "description": description[:DESCRIPTION_LENGTH_MAX],
        "metadata": metadata,
    }
    return _body(PaymentRequest, asked, amount_kopecks=amount_kopecks, receipt=receipt)


def refund_body(
    *, payment_id: str, amount_kopecks: int, description: str, receipt: Receipt | None
) -> bytes:
    """The body of `POST /refunds`; raises `PaymentRejected` for what the SDK would not send."""
    asked: Json = {
        "payment_id": payment_id,
        "amount": _amount_json(amount_kopecks),
        "description": description[:REFUND_DESCRIPTION_LENGTH_MAX],
    }
    return _body(RefundRequest, asked, amount_kopecks=amount_kopecks, receipt=receipt)


def payment_of(answer: Any) -> RemotePayment:
    """The payment in an answer; raises `PaymentOutcomeUnknown`."""
    return _read(_payment, answer, what="payment")


def refund_of(answer: Any) -> RemoteRefund:
    """The refund in an answer; raises `PaymentOutcomeUnknown`."""
    return _read(_refund, answer, what="refund")


def _body(model: Any, asked: Json, *, amount_kopecks: int, receipt: Receipt | None) -> bytes:
    if receipt is not None:
        asked["receipt"] = _receipt_json(receipt, amount_kopecks)
    try:
        request = model(asked)
        request.validate()
        body = {name: value for name, value in dict(request).items() if value != []}
    except (TypeError, ValueError) as error:
        raise PaymentRejected(f"not sent: {error}", code="invalid_request") from error
    body["amount"] = _amount_json(amount_kopecks)
    for item in body.get("receipt", {}).get("items", []):
        item["amount"] = _amount_json(amount_kopecks)
    return json.dumps(body).encode("ascii")


def _receipt_json(receipt: Receipt, amount_kopecks: int) -> Json:
    item = {
        "description": receipt.item_description[:DESCRIPTION_LENGTH_MAX],
        "quantity": "1",
        "amount": _amount_json(amount_kopecks),
        "vat_code": receipt.vat_code,
        "payment_subject": receipt.payment_subject,
        "payment_mode": receipt.payment_mode,
    }
    made: Json = {"customer": {"email": receipt.customer_email}, "items": [item]}
    if receipt.tax_system_code is not None:
        made["tax_system_code"] = receipt.tax_system_code
    return made


def _read(reader: Callable[[Json], Remote], answer: Any, *, what: str) -> Remote:
    try:
        return reader(answer)
    except Exception as error:  # the SDK's models raise whatever a strange value makes them raise
        problem = f"the answer holds no {what}: {type(error).__name__}"
        raise PaymentOutcomeUnknown(problem) from error


def _payment(answer: Json) -> RemotePayment:
    model = PaymentResponse(_picked(answer, _PAYMENT_FIELDS))
    amount_kopecks, currency = _amount_of(answer["amount"])
    refunded = answer.get("refunded_amount")
    if model.status == "succeeded" and answer.get("paid", True) is not True:
        raise ValueError("succeeded, and not paid")
    return RemotePayment(
        id=_id_of(model.id),
        status=_one_of(model.status, get_args(RemoteStatus)),
        amount_kopecks=amount_kopecks,
        currency=currency,
        created_at=_moment_of(model.created_at),
        confirmation_url=_matching(_URL, getattr(model.confirmation, "confirmation_url", None)),
        cancellation_reason=_matching(
            _REASON, dict_of(answer.get("cancellation_details")).get("reason")
        ),
        refunded_kopecks=0 if refunded is None else _amount_of(refunded)[0],
        test=model.test is True,
        metadata={
            key: value for key, value in dict_of(model.metadata).items() if isinstance(value, str)
        },
    )


def _refund(answer: Json) -> RemoteRefund:
    model = RefundResponse(_picked(answer, _REFUND_FIELDS))
    amount_kopecks, currency = _amount_of(answer["amount"])
    return RemoteRefund(
        id=_id_of(model.id),
        payment_id=_id_of(model.payment_id),
        status=_one_of(model.status, _REFUND_STATUSES),
        amount_kopecks=amount_kopecks,
        currency=currency,
        created_at=_moment_or_none(answer.get("created_at")),
        description=text_of(answer.get("description"))[:REFUND_DESCRIPTION_LENGTH_MAX],
    )


def _picked(answer: Json, names: tuple[str, ...]) -> Json:
    return {name: answer[name] for name in names if answer.get(name) is not None}


def _amount_json(kopecks: int) -> Json:
    return {"value": decimal_of(kopecks), "currency": CURRENCY}


def _amount_of(value: Any) -> tuple[int, str]:
    """(kopecks, currency)"""
    currency = text_of(value["currency"])
    if not re.fullmatch(r"[A-Z]{3}", currency):
        raise ValueError("no currency")
    return kopecks_of(value["value"]), currency


def _id_of(value: Any) -> str:
    if not is_id(value):
        raise ValueError("no id")
    return str(value)


def _one_of(value: Any, allowed: tuple[Any, ...]) -> Any:
    if not isinstance(value, str) or value not in allowed:
        raise ValueError("unknown status")
    return value


def _moment_of(value: Any) -> datetime:
    at = datetime.fromisoformat(value)
    if at.tzinfo is None:
        raise ValueError("a moment without a time zone")
    return at.astimezone(UTC)


def _moment_or_none(value: Any) -> datetime | None:
    """For a moment that is only told: a strange one must not hide that money has moved."""
    try:
        return _moment_of(value)
    except (TypeError, ValueError):
        return None


def _matching(pattern: re.Pattern[str], value: Any) -> str | None:
    return value if isinstance(value, str) and pattern.fullmatch(value) else None

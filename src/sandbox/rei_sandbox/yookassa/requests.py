"""What a request must look like. Every refusal names the parameter, as the real API does."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from rei_sandbox.yookassa.errors import invalid_request

KOPECKS_MIN: Final = 100
METHOD_KOPECKS_MAX: Final = {"bank_card": 35_000_000, "sbp": 70_000_000, "yoo_money": 25_000_000}
KOPECKS_MAX: Final = max(METHOD_KOPECKS_MAX.values())
"""With no method chosen the payer takes one that can carry the amount."""

DESCRIPTION_LENGTH_MAX: Final = 128
REFUND_DESCRIPTION_LENGTH_MAX: Final = 250
METADATA_KEYS_MAX: Final = 16
METADATA_KEY_LENGTH_MAX: Final = 32
METADATA_VALUE_LENGTH_MAX: Final = 512
IDEMPOTENCE_KEY_LENGTH_MAX: Final = 64
RETURN_URL_LENGTH_MAX: Final = 2048
LIMIT_MAX: Final = 100

_AMOUNT = re.compile(r"[0-9]{1,12}\.[0-9]{2}")
_STATUSES = ("pending", "waiting_for_capture", "succeeded", "canceled")

Json = dict[str, Any]


@dataclass(frozen=True)
class NewPayment:
    """A payment to create."""

    amount_kopecks: int
    capture: bool
    return_url: str
    method: str = ""
    description: str = ""
    metadata: dict[str, str] = field(default_factory=dict)
    has_receipt: bool = False


@dataclass(frozen=True)
class NewRefund:
    """A refund to make."""

    payment_id: str
    amount_kopecks: int
    description: str = ""


@dataclass(frozen=True)
class ListQuery:
    """Which objects to list, newest first."""

    limit: int = 10
    cursor: str = ""
    status: str = ""
    payment_id: str = ""
    bounds: tuple[tuple[str, datetime], ...] = ()
    """(operator, moment) with operator gte, gt, lte, lt"""


def idempotence_key(value: str | None) -> str:
    """The header `Idempotence-Key`; required with every POST."""
    if not value:
        raise invalid_request("Idempotence key is missing or illegal", "Idempotence-Key")
    if len(value) > IDEMPOTENCE_KEY_LENGTH_MAX:
        raise invalid_request(
            f"Idempotence key is longer than {IDEMPOTENCE_KEY_LENGTH_MAX} characters",
            "Idempotence-Key",
        )
    return value


def new_payment(body: Json, *, receipt_required: bool) -> NewPayment:
    """Read the body of `POST /payments`."""
    method = _method(body)
    amount = _amount(body.get("amount"), kopecks_max=METHOD_KOPECKS_MAX.get(method, KOPECKS_MAX))
    capture = body.get("capture", False)
    if not isinstance(capture, bool):
        raise invalid_request("Capture must be true or false", "capture")
    if method == "sbp" and not capture:
        raise invalid_request("Two-stage payments aren't available for this method", "capture")
    return NewPayment(
        amount_kopecks=amount,
        capture=capture,
        return_url=_return_url(body),
        method=method,
        description=_text(body, "description", DESCRIPTION_LENGTH_MAX),
        metadata=_metadata(body.get("metadata")),
        has_receipt=_receipt(body, amount, required=receipt_required),
    )


def new_refund(body: Json, *, receipt_required: bool) -> NewRefund:
    """Read the body of `POST /refunds`."""
    payment_id = body.get("payment_id")
    if not payment_id or not isinstance(payment_id, str):
        raise invalid_request("Payment id is missing or illegal", "payment_id")
    amount = _amount(body.get("amount"), kopecks_max=KOPECKS_MAX)
    _receipt(body, amount, required=receipt_required)
    description = _text(body, "description", REFUND_DESCRIPTION_LENGTH_MAX)
    return NewRefund(payment_id=payment_id, amount_kopecks=amount, description=description)


def capture_amount(body: Json) -> int | None:
    """The amount of a capture in kopecks; None captures all."""
    return _amount(body["amount"], kopecks_max=KOPECKS_MAX) if body.get("amount") else None


def list_query(query: Mapping[str, str]) -> ListQuery:
    """Read the parameters of `GET /payments` and `GET /refunds`."""
    limit = query.get("limit", "10")
    if not limit.isdigit() or not 1 <= int(limit) <= LIMIT_MAX:
        raise invalid_request(f"Limit must be from 1 to {LIMIT_MAX}", "limit")
    status = query.get("status", "")
    if status and status not in _STATUSES:
        raise invalid_request("Unknown status", "status")
    return ListQuery(
        limit=int(limit),
        cursor=query.get("cursor", ""),
        status=status,
        payment_id=query.get("payment_id", ""),
        bounds=tuple(
            (operator, _moment(query[name], name))
            for operator in ("gte", "gt", "lte", "lt")
            if (name := f"created_at.{operator}") in query
        ),
    )


def _amount(value: Any, *, kopecks_max: int, parameter: str = "amount") -> int:
    if not isinstance(value, dict):
        raise invalid_request("Amount is missing or illegal", parameter)
    text = value.get("value")
    if not isinstance(text, str) or not _AMOUNT.fullmatch(text):
        raise invalid_request("Incorrect amount format: 200.00 is wanted", f"{parameter}.value")
    if value.get("currency") != "RUB":
        raise invalid_request("Currency isn't available for this shop", f"{parameter}.currency")
    rubles, fraction = text.split(".")
    kopecks = int(rubles) * 100 + int(fraction)
    if kopecks < KOPECKS_MIN:
        raise invalid_request("Amount is less than the minimum of 1.00", f"{parameter}.value")
    if kopecks > kopecks_max:
        maximum = f"{kopecks_max // 100}.00"
        raise invalid_request(f"Amount is more than the maximum of {maximum}", f"{parameter}.value")
    return kopecks


def _method(body: Json) -> str:
    data = body.get("payment_method_data")
    if data is None:
        return ""
    kind = data.get("type") if isinstance(data, dict) else None
    if kind not in METHOD_KOPECKS_MAX:
        raise invalid_request("Payment method is not available", "payment_method_data.type")
    return str(kind)


def _return_url(body: Json) -> str:
    confirmation = body.get("confirmation")
    if not isinstance(confirmation, dict):
        raise invalid_request("Confirmation is missing or illegal", "confirmation")
    if confirmation.get("type") != "redirect":
        raise invalid_request("Confirmation type isn't available", "confirmation.type")
    url = confirmation.get("return_url")
    if not isinstance(url, str) or not re.fullmatch(r"[a-z][a-z0-9+.-]*://\S+", url):
        raise invalid_request("Return url is missing or illegal", "confirmation.return_url")
    if len(url) > RETURN_URL_LENGTH_MAX:
        raise invalid_request("Return url is too long", "confirmation.return_url")
    return url


def _text(body: Json, name: str, length_max: int) -> str:
    value = body.get(name) or ""
    if not isinstance(value, str):
        raise invalid_request(f"{name.capitalize()} must be a string", name)
    if len(value) > length_max:
        raise invalid_request(f"{name.capitalize()} is longer than {length_max} characters", name)
    return value


def _metadata(value: Any) -> dict[str, str]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise invalid_request("Metadata must be an object", "metadata")
    if len(value) > METADATA_KEYS_MAX:
        raise invalid_request(f"Metadata has more than {METADATA_KEYS_MAX} keys", "metadata")
    for key, item in value.items():
        if len(key) > METADATA_KEY_LENGTH_MAX:
            raise invalid_request(
                f"Metadata key is longer than {METADATA_KEY_LENGTH_MAX} characters", "metadata"
            )
        if not isinstance(item, str) or len(item) > METADATA_VALUE_LENGTH_MAX:
            raise invalid_request(
                f"Metadata values are strings of at most {METADATA_VALUE_LENGTH_MAX} characters",
                f"metadata.{key}",
            )
    return dict(value)


def _receipt(body: Json, amount_kopecks: int, *, required: bool) -> bool:
    receipt = body.get("receipt")
    if receipt is None and not required:
        return False
    if not isinstance(receipt, dict) or not isinstance(receipt.get("items"), list):
        raise invalid_request("Receipt is missing or illegal", "receipt")
    customer = receipt.get("customer") or {}
    contact = (customer.get("email"), customer.get("phone"), receipt.get("email"))
    if not any(contact):
        raise invalid_request("Receipt needs the customer's email or phone", "receipt.customer")
    if not receipt["items"]:
        raise invalid_request("Receipt has no items", "receipt.items")
    total = sum(_item_kopecks(item, index) for index, item in enumerate(receipt["items"]))
    if total != amount_kopecks:
        raise invalid_request("Receipt's total differs from the amount", "receipt.items")
    return True


def _item_kopecks(item: Any, index: int) -> int:
    where = f"receipt.items[{index}]"
    if not isinstance(item, dict) or not item.get("description"):
        raise invalid_request("Item has no description", f"{where}.description")
    if len(str(item["description"])) > DESCRIPTION_LENGTH_MAX:
        raise invalid_request("Item's description is too long", f"{where}.description")
    if item.get("vat_code") not in range(1, 13):
        raise invalid_request("Incorrect vat_code", f"{where}.vat_code")
    quantity = str(item.get("quantity", ""))
    if not re.fullmatch(r"[0-9]+(\.0+)?", quantity) or float(quantity) < 1:
        raise invalid_request("Incorrect quantity", f"{where}.quantity")
    kopecks = _amount(item.get("amount"), kopecks_max=KOPECKS_MAX, parameter=f"{where}.amount")
    return kopecks * int(float(quantity))


def _moment(text: str, parameter: str) -> datetime:
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise invalid_request("Incorrect date: ISO 8601 is wanted", parameter) from None
    if at.tzinfo is None:
        raise invalid_request("Incorrect date: the time zone is missing", parameter)
    return at

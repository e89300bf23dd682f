"""Refusals, with the bodies of the real API."""

from __future__ import annotations

import uuid
from typing import Any

from rei_core.errors import ReiError


class YooKassaRefusal(ReiError):
    """The API refuses a request: `status` is the HTTP one, `code` and the rest are the body's."""

    def __init__(
        self, status: int, code: str, description: str, *, parameter: str | None = None
    ) -> None:
        self.status = status
        self.code = code
        self.description = description
        self.parameter = parameter
        super().__init__(f"{status} {code}: {description}")

    def body(self) -> dict[str, Any]:
        """`{"type": "error", "id": …, "code": …, "description": …, "parameter": …}`."""
        answer: dict[str, Any] = {
            "type": "error",
            "id": str(uuid.uuid4()),
            "code": self.code,
            "description": self.description,
        }
        if self.parameter is not None:
            answer["parameter"] = self.parameter
        return answer


def invalid_request(description: str, parameter: str | None = None) -> YooKassaRefusal:
    return YooKassaRefusal(400, "invalid_request", description, parameter=parameter)


def invalid_credentials() -> YooKassaRefusal:
    return YooKassaRefusal(
        401,
        "invalid_credentials",
        "Error in shopId or secret key. Check their validity. "
        "You can reissue the key in the Merchant Profile",
    )


def payment_not_found() -> YooKassaRefusal:
    return YooKassaRefusal(
        404,
        "not_found",
        "Incorrect payment_id. Payment doesn't exist or access denied.",
        parameter="payment_id",
    )


def refund_not_found() -> YooKassaRefusal:
    return YooKassaRefusal(
        404,
        "not_found",
        "Incorrect refund_id. Refund doesn't exist or access denied.",
        parameter="refund_id",
    )


def too_many_requests() -> YooKassaRefusal:
    return YooKassaRefusal(429, "too_many_requests", "Too many requests. Try again later")


def internal_server_error(status: int = 500) -> YooKassaRefusal:
    return YooKassaRefusal(
        status, "internal_server_error", "Internal server error. Try again later"
    )

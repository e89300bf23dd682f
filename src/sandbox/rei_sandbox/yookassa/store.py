"""The shop: its payments and refunds, the rules by which they change, and the answers given.

Every change happens without an await, so two requests with one idempotence key cannot both act.
Each change is announced to the listener as `(event, object)`; whoever listens sends notifications.
The number of kept payments is bounded; the oldest finished ones are forgotten first.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from rei_sandbox.yookassa.errors import invalid_request, payment_not_found, refund_not_found
from rei_sandbox.yookassa.model import CAPTURE_WITHIN, Payment, Refund
from rei_sandbox.yookassa.requests import NewPayment, NewRefund

KEY_LIFETIME: Final = timedelta(hours=24)
PAYMENTS_MAX: Final = 10_000

Clock = Callable[[], datetime]
Listener = Callable[[str, Payment | Refund], None]


@dataclass(frozen=True)
class Answer:
    """What a request was answered, kept under its idempotence key."""

    fingerprint: str
    status: int
    body: dict[str, Any]
    at: datetime


class Shop:
    """One shop. `announce` is called with every change, `now` gives the time."""

    def __init__(
        self,
        *,
        announce: Listener,
        now: Clock = lambda: datetime.now(UTC),
        lifetime: timedelta = timedelta(hours=1),
    ) -> None:
        self.payments: dict[str, Payment] = {}
        self.refunds: dict[str, Refund] = {}
        self._answers: dict[str, Answer] = {}
        self._announce = announce
        self._now = now
        self._lifetime = lifetime

    def create(self, wanted: NewPayment) -> Payment:
        """A new pending payment."""
        self._make_room()
        now = self._now()
        payment = Payment(
            id=str(uuid.uuid4()),
            amount_kopecks=wanted.amount_kopecks,
            capture=wanted.capture,
            return_url=wanted.return_url,
            created_at=now,
            expires_at=now + self._lifetime,
            method=wanted.method or "bank_card",
            description=wanted.description,
            metadata=wanted.metadata,
            has_receipt=wanted.has_receipt,
        )
        self.payments[payment.id] = payment
        return payment

    def get(self, payment_id: str) -> Payment:
        payment = self.payments.get(payment_id)
        if payment is None:
            raise payment_not_found()
        return payment

    def get_refund(self, refund_id: str) -> Refund:
        refund = self.refunds.get(refund_id)
        if refund is None:
            raise refund_not_found()
        return refund

    def pay(self, payment: Payment) -> bool:
        """The payer pays; False if the payment is not open any more."""
        if payment.status != "pending":
            return False
        payment.paid_at = self._now()
        if not payment.capture:
            payment.status = "waiting_for_capture"
            self._announce("payment.waiting_for_capture", payment)
            return True
        self._succeed(payment)
        return True

    def decline(self, payment: Payment) -> bool:
        """The payer's bank declines; False if the payment is not open any more."""
        if payment.status != "pending":
            return False
        self._cancel(payment, "payment_network", "general_decline")
        return True

    def capture(self, payment: Payment, amount_kopecks: int | None) -> Payment:
        """Take what is held, all of it or less; the rest goes back to the payer."""
        if payment.status != "waiting_for_capture":
            raise invalid_request(
                f"Payment can't be captured: its status is {payment.status}", "payment_id"
            )
        if amount_kopecks is not None:
            if amount_kopecks > payment.amount_kopecks:
                raise invalid_request("Capture is more than the payment", "amount.value")
            payment.amount_kopecks = amount_kopecks
        self._succeed(payment)
        return payment

    def cancel(self, payment: Payment) -> Payment:
        """Give back what is held. A pending payment cannot be canceled, it expires."""
        if payment.status != "waiting_for_capture":
            raise invalid_request(
                f"Payment can't be canceled: its status is {payment.status}", "payment_id"
            )
        self._cancel(payment, "merchant", "canceled_by_merchant")
        return payment

    def refund(self, wanted: NewRefund) -> Refund:
        """Give money back, at most what is left of the payment."""
        payment = self.payments.get(wanted.payment_id)
        if payment is None:
            raise invalid_request(
                "Incorrect payment_id. Payment doesn't exist or access denied.", "payment_id"
            )
        if payment.status != "succeeded":
            raise invalid_request(
                f"Payment can't be refunded: its status is {payment.status}", "payment_id"
            )
        if wanted.amount_kopecks > payment.amount_kopecks - payment.refunded_kopecks:
            raise invalid_request("Refund is more than what is left of the payment", "amount.value")
        payment.refunded_kopecks += wanted.amount_kopecks
        refund = Refund(
            id=str(uuid.uuid4()),
            payment_id=payment.id,
            amount_kopecks=wanted.amount_kopecks,
            created_at=self._now(),
            description=wanted.description,
        )
        self.refunds[refund.id] = refund
        self._announce("refund.succeeded", refund)
        return refund

    def expire(self) -> int:
        """Cancel what nobody paid or captured in time; returns how many."""
        now = self._now()
        late = [one for one in self.payments.values() if _is_late(one, now)]
        for payment in late:
            reason = "expired_on_confirmation"
            if payment.status == "waiting_for_capture":
                reason = "expired_on_capture"
            self._cancel(payment, "yoo_money", reason)
        self._answers = {
            key: answer for key, answer in self._answers.items() if now - answer.at < KEY_LIFETIME
        }
        return len(late)

    def answered(self, key: str, operation: str, body: Any) -> Answer | None:
        """The earlier answer to the same request; raises if the key came with other data."""
        answer = self._answers.get(key)
        if answer is None:
            return None
        if answer.fingerprint != fingerprint(operation, body):
            raise invalid_request("Idempotence key duplicated", "Idempotence-Key")
        return answer

    def remember(
        self, key: str, operation: str, body: Any, *, status: int, answer: dict[str, Any]
    ) -> None:
        """Keep an answer for whoever repeats the request."""
        self._answers[key] = Answer(fingerprint(operation, body), status, answer, self._now())

    def counts(self) -> dict[str, int]:
        """Numbers of payments by status, and of refunds."""
        statuses: Counter[str] = Counter(one.status for one in self.payments.values())
        return {**statuses, "total": len(self.payments), "refunds": len(self.refunds)}

    def clear(self) -> None:
        """Forget everything."""
        self.payments.clear()
        self.refunds.clear()
        self._answers.clear()

    def _succeed(self, payment: Payment) -> None:
        payment.status = "succeeded"
        payment.captured_at = self._now()
        self._announce("payment.succeeded", payment)

    def _cancel(self, payment: Payment, party: str, reason: str) -> None:
        payment.status = "canceled"
        payment.canceled_by = (party, reason)
        self._announce("payment.canceled", payment)

    def _make_room(self) -> None:
        if len(self.payments) < PAYMENTS_MAX:
            return
        done = next((p.id for p in self.payments.values() if p.status != "pending"), None)
        self.payments.pop(done or next(iter(self.payments)))


def fingerprint(operation: str, body: Any) -> str:
    """What makes two requests the same."""
    text = json.dumps([operation, body], sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _is_late(payment: Payment, now: datetime) -> bool:
    if payment.status == "pending":
        return now >= payment.expires_at
    if payment.status == "waiting_for_capture":
        assert payment.paid_at is not None
        return now >= payment.paid_at + CAPTURE_WITHIN
    return False

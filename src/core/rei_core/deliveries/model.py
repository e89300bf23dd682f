"""Messages that must reach the customer."""

from __future__ import annotations

import enum
from dataclasses import dataclass


class DeliveryKind(enum.StrEnum):
    """What is to be told; `ref_id` is the job's or the payment's id."""

    RESULT = "result"
    ORIGINAL = "original"
    JOB_FAILED = "job_failed"
    PAYMENT_CREDITED = "payment_credited"
    PAYMENT_CANCELED = "payment_canceled"


@dataclass(frozen=True, slots=True)
class Delivery:
    """A claimed delivery; `attempt` fences its end, `failures` counts this attempt too."""

    id: int
    kind: DeliveryKind
    ref_id: str
    user_id: int
    chat_id: int
    attempt: int
    failures: int
    age_seconds: float
    language: str

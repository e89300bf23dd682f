"""What a person did by hand, and who that was."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import datetime
from uuid import uuid4


class Word(enum.StrEnum):
    """What can be done by hand."""

    CREDIT = "credit"
    DEBIT = "debit"
    BAN = "ban"
    UNBAN = "unban"
    REFUND = "refund"
    """Of a payment: the money goes back to where the customer paid from."""
    REFUND_CLOSE = "refund_close"
    """A person's word on a refund whose outcome nobody could find out."""


@dataclass(frozen=True, slots=True)
class Actor:
    """Who asks, as far as that is known, and by what: `anna@laptop` by `rei`, `telegram:4711` by
    `bot`, `kubernetes:anna` by `BalanceAdjustment rei/ticket-17`."""

    name: str
    via: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """Something about to be done. `amount_kopecks` is what it changes about the user's balance;
    `subject` names the payment or the refund that it is about."""

    operation_id: str
    word: Word
    actor: Actor
    user_id: int
    reason: str
    subject: str = ""
    amount_kopecks: int | None = None


@dataclass(frozen=True, slots=True)
class Done:
    """An action in the trail, and when it was done."""

    id: int
    action: Action
    created_at: datetime


def new_operation_id(word: Word) -> str:
    """A name that nothing has had before, for what does no harm when it is done again."""
    return f"{word}-{uuid4().hex[:20]}"

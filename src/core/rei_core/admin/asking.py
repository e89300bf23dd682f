"""What a person asks for, as checked values; the same by the command, the bot and `kubectl rei`.

The name of an operation is made of what is asked: whoever, user, amount, reason. So the same command
sent twice, by a double click, a retry after a lost connection or a shell's history, is one operation
and moves money once. To give the same customer the same amount for the same reason once more, name
the operation yourself.
"""

from __future__ import annotations

import hashlib
from typing import Final

from pydantic import ValidationError

from rei_core.errors import ReiError
from rei_core.maintenance.resources.ledger import ADJUSTMENT_KOPECKS_MAX, BalanceAdjustmentSpec
from rei_core.maintenance.resources.users import UserBanSpec
from rei_core.money import format_rubles, parse_rubles
from rei_core.trail.model import Word

CONFIRM_KOPECKS: Final = 1_000_000
"""From 10 000 ₽ on a person is asked once more."""
OPERATION_HEX: Final = 20

WHAT_IS_WRONG: Final = {
    "string_pattern_mismatch": "has characters that are not allowed, or is blank",
    "string_too_short": "is empty",
}


class AskedWrongly(ReiError):
    """What was asked for makes no sense: `field` says where."""

    def __init__(self, field: str, problem: str) -> None:
        self.field = field
        self.problem = problem
        super().__init__(f"{field} {problem}")


def amount_of(text: str) -> int:
    """Kopecks of an amount such as `300`, `12.50` or `1 000 ₽`; raises `AmountError`."""
    return parse_rubles(text, minimum_kopecks=1, maximum_kopecks=ADJUSTMENT_KOPECKS_MAX)


def needs_confirmation(amount_kopecks: int) -> bool:
    """Whether an amount is so large that a slip of the finger would hurt."""
    return amount_kopecks >= CONFIRM_KOPECKS


def operation_id_of(word: Word, *parts: object) -> str:
    """The name that an operation has if nobody gives it one: always the same for the same request."""
    text = "\x00".join(str(part) for part in (word, *parts))
    return f"{word}-{hashlib.sha256(text.encode()).hexdigest()[:OPERATION_HEX]}"


def adjustment(
    word: Word, *, user_id: int, amount_kopecks: int, reason: str, operation_id: str | None
) -> BalanceAdjustmentSpec:
    """A credit or a debit of a positive amount; raises `AskedWrongly`."""
    change_kopecks = amount_kopecks if word is Word.CREDIT else -amount_kopecks
    why = reason.strip()
    try:
        return BalanceAdjustmentSpec(
            user_id=user_id,
            amount_kopecks=change_kopecks,
            reason=why,
            operation_id=operation_id or operation_id_of(word, user_id, change_kopecks, why),
        )
    except ValidationError as error:
        raise _wrong(error) from None


def ban(*, user_id: int, reason: str) -> UserBanSpec:
    """A ban for good, or what one without an end is made from; raises `AskedWrongly`."""
    try:
        return UserBanSpec(user_id=user_id, reason=reason.strip())
    except ValidationError as error:
        raise _wrong(error) from None


def _wrong(error: ValidationError) -> AskedWrongly:
    first = error.errors(include_url=False, include_input=False)[0]
    field = str(first["loc"][0]) if first["loc"] else "the request"
    return AskedWrongly(field, WHAT_IS_WRONG.get(first["type"], f"is wrong: {first['msg']}"))


def rubles_with_sign(kopecks: int) -> str:
    """`+100 ₽`, `−50 ₽`."""
    return f"+{format_rubles(kopecks)}" if kopecks > 0 else format_rubles(kopecks)

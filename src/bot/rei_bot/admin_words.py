"""What stands behind /admin, read into values. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from rei_core.admin.asking import amount_of
from rei_core.errors import AmountError
from rei_core.maintenance.resources.base import USER_ID_MAX
from rei_core.trail.model import Word

REASON_CHARS_MAX: Final = 200
ALL: Final = ("all", "всё", "все")

Topic = Literal["help", "status", "user", "payments", "jobs", "top", "log"]


@dataclass(frozen=True, slots=True)
class Look:
    """A question; `user_id` where it is about one customer."""

    topic: Topic
    user_id: int | None = None


@dataclass(frozen=True, slots=True)
class Ask:
    """Something to be done. `amount_kopecks` is positive, None for all that is left of a payment."""

    word: Word
    user_id: int | None
    reason: str
    amount_kopecks: int | None = None
    payment: str = ""


@dataclass(frozen=True, slots=True)
class Wrong:
    """A command that is none: what is wrong with it."""

    problem: Literal["word", "user", "amount", "payment", "reason"]


def read(text: str) -> Look | Ask | Wrong:
    """What the admin wants, from all that stands behind /admin."""
    word, *rest = text.split() or ["help"]
    match word.casefold():
        case "help" | "status" | "top" as topic:
            wanted: Look | Ask | Wrong = Look(topic)
        case "user" | "payments" | "jobs" | "log" as topic:
            wanted = _about(topic, rest)
        case "credit" | "debit" as change:
            wanted = _money(Word(change), rest)
        case "ban" | "unban" as switch:
            wanted = _switch(Word(switch), rest)
        case "refund":
            wanted = _refund(rest)
        case _:
            wanted = Wrong("word")
    return wanted


def _about(topic: Topic, rest: list[str]) -> Look | Wrong:
    if not rest and topic != "user":
        return Look(topic)
    user_id = _user(rest)
    return Wrong("user") if user_id is None else Look(topic, user_id)


def _money(word: Word, rest: list[str]) -> Ask | Wrong:
    user_id = _user(rest)
    if user_id is None:
        return Wrong("user")
    amount = _amount(rest[1:])
    if amount is None:
        return Wrong("amount")
    reason = _reason(rest[2:])
    return Ask(word, user_id, reason, amount) if reason else Wrong("reason")


def _switch(word: Word, rest: list[str]) -> Ask | Wrong:
    user_id = _user(rest)
    if user_id is None:
        return Wrong("user")
    reason = _reason(rest[1:])
    if reason is None or (word is Word.BAN and not reason):
        return Wrong("reason")
    return Ask(word, user_id, reason)


def _refund(rest: list[str]) -> Ask | Wrong:
    if not rest or len(rest[0]) > 64:
        return Wrong("payment")
    amount = None
    if rest[1:2] and rest[1].casefold() not in ALL:
        amount = _amount(rest[1:])
    if not rest[1:] or (amount is None and rest[1].casefold() not in ALL):
        return Wrong("amount")
    reason = _reason(rest[2:])
    return Ask(Word.REFUND, None, reason, amount, rest[0]) if reason else Wrong("reason")


def _user(rest: list[str]) -> int | None:
    """The user's id: digits alone, of which there is a limit."""
    if not rest or not rest[0].isascii() or not rest[0].isdigit() or len(rest[0]) > 16:
        return None
    user_id = int(rest[0])
    return user_id if 1 <= user_id <= USER_ID_MAX else None


def _amount(rest: list[str]) -> int | None:
    try:
        return amount_of(rest[0]) if rest else None
    except AmountError:
        return None


def _reason(rest: list[str]) -> str | None:
    """One line of what is left; None if it is too long or cannot be read."""
    reason = " ".join(rest)
    if len(reason) > REASON_CHARS_MAX or not reason.isprintable():
        return None
    return reason

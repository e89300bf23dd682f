"""What the buttons say to the bot: at most 64 bytes each, and never trusted.

A button lives as long as its message: drafts, models and prices may have changed since. So a
choice travels as the checksum of its name (a renamed one is "out of date" instead of the wrong
one), and the price a customer agreed to travels with the confirmation.
"""

from __future__ import annotations

import zlib
from typing import Annotated, Literal
from uuid import UUID

import pydantic
from aiogram.filters.callback_data import CallbackData

Id = Annotated[int, pydantic.Field(ge=1, le=2**63 - 1)]
"""A row or a message; what does not fit the database's bigint leads nowhere."""
Kopecks = Annotated[int, pydantic.Field(ge=1, le=10**12)]
Field = Literal["model", "ratio", "size"]
TopUpSource = Literal["menu", "card", "text"]


class OrderMenu(CallbackData, prefix="om"):
    """Open the choices of a field."""

    draft: Id
    field: Field


class OrderPick(CallbackData, prefix="op"):
    """Take one of them."""

    draft: Id
    field: Field
    token: str


class OrderCard(CallbackData, prefix="oc"):
    """Show the order's card, with the balance as it is now."""

    draft: Id


class OrderConfirm(CallbackData, prefix="ok"):
    """Draw it, for this price and no other."""

    draft: Id
    price_kopecks: Kopecks


class OrderDrop(CallbackData, prefix="ox"):
    """Forget the order."""

    draft: Id


class JobAction(CallbackData, prefix="j"):
    """Something about a job of the customer's own."""

    job: Id
    action: Literal["refresh", "cancel", "repeat", "file"]


class HistoryPage(CallbackData, prefix="h"):
    """A page of the history, 0 the newest."""

    page: Annotated[int, pydantic.Field(ge=0, le=1000)]


class TopUpAmount(CallbackData, prefix="ta"):
    """Top up by this amount; `source` tells the menu from an order's card."""

    source: TopUpSource
    amount_kopecks: Kopecks


class TopUpRetry(CallbackData, prefix="tr"):
    """Repeat a top-up whose outcome is unknown, under the key it was first tried with."""

    source: TopUpSource
    message: Id
    amount_kopecks: Kopecks


class PaymentCheck(CallbackData, prefix="pc"):
    """Ask the provider about a payment."""

    payment: UUID


class SettingsMenu(CallbackData, prefix="sm"):
    """Open the choices of a setting."""

    field: Literal["home", "language", "model"]


class SettingsPick(CallbackData, prefix="sp"):
    """Take one of them."""

    field: Literal["language", "model"]
    token: str


class Go(CallbackData, prefix="go"):
    """Open a screen that a command opens too."""

    to: Literal["topup", "other_amount", "balance", "history", "settings", "help"]


Operation = Annotated[str, pydantic.Field(pattern=r"^bot-[0-9]{1,16}-[0-9]{1,12}-[0-9]{1,12}$")]
"""What an admin's message asked for; 45 characters at the most."""


class AdminConfirm(CallbackData, prefix="ac"):
    """Do what was asked for."""

    operation: Operation


class AdminDrop(CallbackData, prefix="ax"):
    """Leave it."""

    operation: Operation


def token(value: str) -> str:
    """A short stable stand-in for a name that may be long or hold a colon."""
    return f"{zlib.crc32(value.encode()):08x}"


def untoken(wanted: str, values: tuple[str, ...]) -> str | None:
    """The value that `wanted` stands for; None if it is not among them any more."""
    return next((value for value in values if token(value) == wanted), None)

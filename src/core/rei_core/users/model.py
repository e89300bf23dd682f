"""A customer as Rei knows them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

Language = Literal["ru", "en"]


@dataclass(frozen=True, slots=True)
class User:
    """A customer with what nearly every handler needs: the balance, in kopecks, and the ban."""

    id: int
    username: str | None
    first_name: str
    language: Language
    model: str | None
    awaiting: Literal["topup_amount"] | None
    banned: bool
    banned_until: datetime | None
    ban_reason: str | None
    balance_kopecks: int
    active_jobs: int

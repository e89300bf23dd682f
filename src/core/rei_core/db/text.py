"""Texts from outside on their way into the database."""

from __future__ import annotations

TEXT_MAX = 500


def storable(text: str) -> str:
    """The text as PostgreSQL takes it: no NUL, no lone surrogate, at most `TEXT_MAX` characters.

    An error text of a foreign service must never be what keeps a job from ending.
    """
    return without_nul(text[:TEXT_MAX]).encode("utf-8", "replace").decode("utf-8")


def without_nul(text: str) -> str:
    """The text without the one character of Unicode that PostgreSQL has no place for."""
    return text.replace("\x00", "")

"""Buttons under the worker's messages; the bot handles them.

The bot owns their wire form (`JobAction` in rei_bot.callbacks). The worker must not import the
bot, so the form is repeated here, and a test reads each of these with the bot's own class.
"""

from __future__ import annotations

from typing import Literal

from aiogram.types import InlineKeyboardButton, InlineKeyboardMarkup

from rei_core.texts import Texts


def job_action(job_id: int, action: Literal["refresh", "cancel", "repeat"]) -> str:
    """What the button sends to the bot."""
    return f"j:{job_id}:{action}"


def running(job_id: int, _: Texts) -> InlineKeyboardMarkup:
    """While the provider works: nothing but a look."""
    return _row((_.plain("🔄 Refresh"), job_action(job_id, "refresh")))


def waiting(job_id: int, _: Texts) -> InlineKeyboardMarkup:
    """While the job is queued again, it can be cancelled."""
    return _row(
        (_.plain("🔄 Refresh"), job_action(job_id, "refresh")),
        (_.plain("✖️ Cancel"), job_action(job_id, "cancel")),
    )


def ended(job_id: int, _: Texts) -> InlineKeyboardMarkup:
    """After the end."""
    return _row((_.plain("🔁 Repeat"), job_action(job_id, "repeat")))


def _row(*buttons: tuple[str, str]) -> InlineKeyboardMarkup:
    row = [InlineKeyboardButton(text=text, callback_data=data) for text, data in buttons]
    return InlineKeyboardMarkup(inline_keyboard=[row])

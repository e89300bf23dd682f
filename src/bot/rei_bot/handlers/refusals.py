"""What Rei says when it says no, and to what it does not understand."""

from __future__ import annotations

from aiogram import Bot, F, Router
from aiogram.enums import ContentType
from aiogram.types import CallbackQuery, Message

from rei_bot.replies import View, acknowledge, send
from rei_core.texts import Texts
from rei_core.users.model import User

UNSUPPORTED = {
    ContentType.ANIMATION, ContentType.AUDIO, ContentType.CONTACT, ContentType.DICE,
    ContentType.DOCUMENT, ContentType.LOCATION, ContentType.PAID_MEDIA, ContentType.POLL,
    ContentType.STICKER, ContentType.STORY, ContentType.VENUE, ContentType.VIDEO,
    ContentType.VIDEO_NOTE, ContentType.VOICE,
}  # fmt: skip
"""Not service messages such as "pinned": nobody awaits an answer to those."""


def router() -> Router:
    """The last routes: whatever nothing else took."""
    routes = Router(name="refusals")
    routes.message.register(unknown_command, F.text.startswith("/"))
    routes.message.register(unsupported, F.content_type.in_(UNSUPPORTED))
    routes.callback_query.register(out_of_date)
    return routes


async def unknown_command(message: Message, bot: Bot, _: Texts) -> None:
    """A command that is none."""
    await send(
        bot, message.chat.id, View(_("I do not know this command. Here is what I know: /help"))
    )


async def unsupported(message: Message, bot: Bot, _: Texts) -> None:
    """A sticker, a voice message and the like."""
    text = _("I understand descriptions and photos (JPEG, PNG or WebP). Try to put it into words.")
    await send(bot, message.chat.id, View(text))


async def out_of_date(callback: CallbackQuery, _: Texts) -> None:
    """A button of an old keyboard, or one that leads to nothing any more."""
    await acknowledge(callback, _.plain("This button is out of date. Please start again: /start"))


def ban_notice(user: User, support_contact: str, _: Texts) -> str:
    """Why a banned customer cannot order or pay, as HTML."""
    lines = [_("🚫 Orders and top-ups are closed for your account.")]
    if user.banned_until is not None:
        lines.append(_("Until: {date}", date=_.date(user.banned_until)))
    if user.ban_reason:
        lines.append(_("Reason: {reason}", reason=user.ban_reason))
    lines.append(_("Your balance stays yours. Questions: {contact}", contact=support_contact))
    return "\n".join(lines)

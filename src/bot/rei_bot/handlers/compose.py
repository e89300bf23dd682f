"""From a message to an order's card: a text, /generate, photos, albums, pictures as files.

The photos of an album come as updates of their own, in any order and perhaps at once. Each is
gathered into the album's draft and committed first; after a short silence the one that is last in
the draft shows the card. If its handler dies, its update comes again and it is still the last.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from aiogram import Bot, F, Router
from aiogram.filters import Command, CommandObject
from aiogram.types import Message

from rei_bot.handlers.order import draft_of_job_exists, present
from rei_bot.handlers.refusals import ban_notice
from rei_bot.replies import View, send
from rei_bot.services import Services
from rei_core.catalog import Catalog
from rei_core.db import Connection
from rei_core.db.text import without_nul
from rei_core.drafts import queries as drafts
from rei_core.drafts.model import Draft
from rei_core.jobs.model import InputRef
from rei_core.texts import Texts
from rei_core.users import queries as users
from rei_core.users.model import User

PROMPT_LENGTH_MAX = 4000
IMAGE_TYPES = ("image/jpeg", "image/png", "image/webp")
FILE_BYTES_MAX = 20 * 1024 * 1024
"""What Telegram lets a bot download."""


@dataclass(frozen=True, slots=True)
class AlbumQuiet:
    """How long an album must be silent before its card is shown."""

    seconds: float


def router() -> Router:
    """The routes of this topic; after those of every command and open question."""
    routes = Router(name="compose")
    routes.message.register(generate, Command("generate"), F.text)
    routes.message.register(photo, F.photo)
    routes.message.register(image_file, F.document.mime_type.in_(IMAGE_TYPES))
    routes.message.register(plain_text, F.text, ~F.text.startswith("/"))
    return routes


async def generate(
    message: Message, command: CommandObject, bot: Bot, user: User, services: Services, _: Texts
) -> None:
    """/generate, with the prompt behind it or without."""
    text = command.args or ""
    await _order_text(message, text, bot=bot, user=user, services=services, _=_, for_photos=False)


async def plain_text(
    message: Message, bot: Bot, user: User, services: Services, _: Texts
) -> None:  # fmt: skip
    """Any text is a prompt; it goes to the photos that wait for one, if some do."""
    text = message.text or ""
    await _order_text(message, text, bot=bot, user=user, services=services, _=_, for_photos=True)


async def photo(
    message: Message, bot: Bot, user: User, services: Services, _: Texts, album_quiet: AlbumQuiet
) -> None:
    """A photo, alone or of an album."""
    assert message.photo
    largest = message.photo[-1]
    ref = InputRef(largest.file_id, "image/jpeg", largest.file_size or 0)
    await _order_picture(
        message, ref, bot=bot, user=user, services=services, _=_, album_quiet=album_quiet
    )


async def image_file(
    message: Message, bot: Bot, user: User, services: Services, _: Texts, album_quiet: AlbumQuiet
) -> None:
    """A picture sent as a file."""
    file = message.document
    assert file is not None
    if (file.file_size or 0) > FILE_BYTES_MAX:
        await send(bot, message.chat.id, View(_("This file is too large: 20 MB at the most.")))
        return
    ref = InputRef(file.file_id, file.mime_type or IMAGE_TYPES[0], file.file_size or 0)
    await _order_picture(
        message, ref, bot=bot, user=user, services=services, _=_, album_quiet=album_quiet
    )


async def _order_text(
    message: Message,
    text: str,
    *,
    bot: Bot,
    user: User,
    services: Services,
    _: Texts,
    for_photos: bool,
) -> None:
    prompt = _spoken(text)
    if not prompt:
        example = _("Describe the picture in one message, for example: <i>a ginger cat in a "
                    "spacesuit, watercolour</i>. Or send a photo and say what to change.")  # fmt: skip
        await send(bot, message.chat.id, View(example))
        return
    refusal = _refusal(user, prompt, services, _)
    if refusal is not None:
        await send(bot, message.chat.id, refusal)
        return
    async with services.pool.acquire() as connection, connection.transaction():
        draft = None
        if for_photos:
            draft = await drafts.answer_prompt(connection, user.id, prompt)
        answered = draft is not None
        if draft is None:
            draft = await _gather(
                connection, message, user, services.catalog, prompt=prompt, inputs=()
            )
    if answered or draft.card_message_id is None:  # else this update came before: the card is there
        await present(bot, services, draft, balance_kopecks=user.balance_kopecks, _=_)


async def _order_picture(
    message: Message,
    ref: InputRef,
    *,
    bot: Bot,
    user: User,
    services: Services,
    _: Texts,
    album_quiet: AlbumQuiet,
) -> None:
    prompt = _caption(message)
    refusal = _refusal(user, prompt, services, _)
    if refusal is not None:
        if message.media_group_id is None or message.caption:  # once for an album, not ten times
            await send(bot, message.chat.id, refusal)
        return
    async with services.pool.acquire() as connection, connection.transaction():
        if user.awaiting is not None:
            await users.await_answer(connection, user.id, None)
        draft = await _gather(
            connection, message, user, services.catalog, prompt=prompt, inputs=(ref,)
        )
    if message.media_group_id is None:
        if draft.card_message_id is None:
            await present(bot, services, draft, balance_kopecks=user.balance_kopecks, _=_)
        return
    await asyncio.sleep(album_quiet.seconds)
    async with services.pool.acquire() as connection:
        whole = await drafts.find(connection, draft.id, user_id=user.id)
        if whole is None or whole.inputs[-1] != ref:
            return  # a later photo shows the card
        if await draft_of_job_exists(connection, whole):
            return  # confirmed already: the card is a progress message now
    await present(
        bot,
        services,
        whole,
        balance_kopecks=user.balance_kopecks,
        _=_,
        message_id=whole.card_message_id,
    )


async def _gather(
    connection: Connection,
    message: Message,
    user: User,
    catalog: Catalog,
    *,
    prompt: str,
    inputs: tuple[InputRef, ...],
) -> Draft:
    album = message.media_group_id
    model, ratio, size = catalog.fit(model=user.model, aspect_ratio="", image_size="")
    return await drafts.gather(
        connection,
        user_id=user.id,
        chat_id=message.chat.id,
        source_key=f"message:{message.message_id}" if album is None else f"album:{album}",
        prompt=prompt,
        inputs=inputs,
        model=model,
        aspect_ratio=ratio,
        image_size=size,
    )


def _refusal(user: User, prompt: str, services: Services, _: Texts) -> View | None:
    if user.banned:
        return View(ban_notice(user, services.settings.support_contact, _))
    if len(prompt) > PROMPT_LENGTH_MAX:
        return View(
            _("This description is too long: {length} characters, and {maximum} at the most.",
              length=len(prompt), maximum=PROMPT_LENGTH_MAX)
        )  # fmt: skip
    return None


def _spoken(text: str) -> str:
    """A text without what surrounds it, and without what no database takes."""
    return without_nul(text).strip()


def _caption(message: Message) -> str:
    """The caption as a prompt; people put /generate in front of it too."""
    caption = _spoken(message.caption or "")
    if caption.startswith("/generate"):
        caption = caption.partition(" ")[2].strip()
    return caption

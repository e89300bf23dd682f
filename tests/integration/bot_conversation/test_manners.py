"""Settings, languages, and how the bot behaves where it understands nothing."""

from __future__ import annotations

import asyncpg
import pytest
from aiogram.exceptions import TelegramBadRequest, TelegramForbiddenError
from aiogram.methods import SendMessage
from aiogram.types import Sticker

from rei_bot.dispatcher import publish_commands

from .conftest import Conversation

METHOD = SendMessage(chat_id=7, text="x")


async def test_the_language_follows_telegram_until_it_is_chosen(rei: Conversation) -> None:
    rei.language = "en"
    assert "Hello" in (await rei.say("/start")).text
    rei.language = "ru"
    assert "Здравствуйте" in (await rei.say("/start")).text
    settings = await rei.tap(await rei.say("/settings"), "Язык")
    assert "Language: English" in (await rei.tap(settings, "English")).text
    assert "Hello" in (await rei.say("/start")).text


async def test_the_chosen_model_starts_new_orders(rei: Conversation) -> None:
    await rei.give(10_000)
    menu = await rei.tap(await rei.say("/settings"), "Модель")
    assert "Nano Banana Pro" in (await rei.tap(menu, "Pro")).text
    assert "Нарисовать за 40 ₽" in " ".join((await rei.say("кот")).buttons)


async def test_every_screen_opens_from_its_button(rei: Conversation) -> None:
    home = await rei.say("/start")
    for words, sign in (
        ("Пополнить", "Выберите сумму"),
        ("картинки", "пока пусто"),
        ("Настройки", "Язык: Русский"),
        ("Помощь", "/generate"),
    ):
        assert sign in (await rei.tap_for_new(home, words)).text


async def test_support_tells_the_customers_number(rei: Conversation) -> None:
    shown = await rei.say("/support")
    assert "@your_support" in shown.text
    assert "<code>7</code>" in shown.text


async def test_unknown_commands_and_stickers_get_a_hint(rei: Conversation) -> None:
    assert "/help" in (await rei.say("/nonsense")).text
    sticker = Sticker(
        file_id="s", file_unique_id="s", type="regular", width=1, height=1,
        is_animated=False, is_video=False,
    )  # fmt: skip
    await rei.feed(rei.message(sticker=sticker))
    assert "JPEG" in rei.last.text


async def test_service_messages_and_groups_are_left_alone(rei: Conversation) -> None:
    await rei.feed(rei.message(delete_chat_photo=True))
    await rei.feed(rei.message(chat_type="group", text="кот"))
    assert rei.telegram.calls == []


@pytest.mark.parametrize(
    "data",
    ["", "x", "om:1:colour", "ok:999999:1500", "ok:1", "pc:not-a-uuid", "j:1:refresh", "op:1:size:0",
     "h:-1", "h:999999999", "sp:model:00000000", "j:99999999999999999999:refresh",
     "ok:99999999999999999999:1", "pc:" + "0" * 32],
)  # fmt: skip
async def test_buttons_that_lead_nowhere_say_so(rei: Conversation, data: str) -> None:
    shown = await rei.say("/start")
    await rei.feed(rei.press(shown, data))
    assert "устарела" in rei.alerts[-1]


async def test_every_press_is_answered(rei: Conversation) -> None:
    await rei.give(10_000)
    card = await rei.say("кот")
    for words in ("🤖", "Назад", "📐", "Назад", "Нарисовать", "Место", "Отменить", "Повторить"):
        card = await rei.tap(card, words)
    answered = {call.callback_query_id for call in rei.telegram.named("AnswerCallbackQuery")}
    assert len(answered) == 8


async def test_a_press_too_old_to_answer_still_counts(rei: Conversation) -> None:
    await rei.give(10_000)
    card = await rei.say("кот")
    rei.telegram.fail["AnswerCallbackQuery"] = TelegramBadRequest(
        METHOD, "Bad Request: query is too old and response timeout expired or query ID is invalid"
    )
    assert "Заказ принят" in (await rei.tap(card, "Нарисовать")).text


async def test_a_card_that_was_deleted_is_shown_anew(rei: Conversation) -> None:
    await rei.give(10_000)
    card = await rei.say("кот")
    del rei.telegram.chat[card.message_id]
    await rei.feed(rei.press(card, card.button("Нарисовать")))
    assert "Заказ принят" in rei.last.text


async def test_a_customer_who_blocked_the_bot_is_no_failure(rei: Conversation) -> None:
    rei.telegram.fail["SendMessage"] = TelegramForbiddenError(
        METHOD, "Forbidden: bot was blocked by the user"
    )
    await rei.feed(rei.message(text="/start"))


async def test_an_order_whose_customer_blocks_the_bot_is_rung(rei: Conversation) -> None:
    await rei.give(10_000)
    card = await rei.say("кот")
    rei.telegram.fail["EditMessageText"] = TelegramForbiddenError(METHOD, "Forbidden: blocked")
    await rei.feed(rei.press(card, card.button("Нарисовать")))
    assert len(rei.bell.rung) == 1


async def test_errors_of_the_database_and_of_telegram_reach_the_gate(rei: Conversation) -> None:
    rei.telegram.fail["SendMessage"] = TelegramBadRequest(
        METHOD, "Bad Request: can't parse entities"
    )
    with pytest.raises(TelegramBadRequest):
        await rei.feed(rei.message(text="/start"))
    await rei.pool.execute("ALTER TABLE drafts RENAME TO gone")
    with pytest.raises(asyncpg.UndefinedTableError):
        await rei.feed(rei.message(text="кот"))
    await rei.pool.execute("ALTER TABLE gone RENAME TO drafts")


async def test_the_menu_of_commands_is_published_in_both_languages(rei: Conversation) -> None:
    await publish_commands(rei.bot)
    calls = {call.language_code: call.commands for call in rei.telegram.named("SetMyCommands")}
    assert calls[None][0].description == "Draw a picture"
    assert calls["ru"][0].description == "Нарисовать картинку"

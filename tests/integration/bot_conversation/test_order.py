"""From a prompt to a job: the card, its choices, the confirmation and what may stand in its way."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from aiogram.types import Document

from rei_bot.dispatcher import build_dispatcher
from rei_core.catalog import Catalog
from rei_core.errors import FailureClass, ImageProviderError
from rei_core.images.circuits import record_failure
from rei_core.jobs import claim_queries

from .conftest import ALBUM_QUIET_SECONDS, Conversation, Shown, photo


async def ordered(rei: Conversation, prompt: str = "кот") -> Shown:
    """A confirmed card."""
    return await rei.tap(await rei.say(prompt), "Нарисовать")


async def open_circuit(rei: Conversation, code: str) -> None:
    error = ImageProviderError(FailureClass.OUR_FAULT, code)
    async with rei.pool.acquire() as connection:
        await record_failure(
            connection,
            model=rei.services.catalog.default.id,
            error=error,
            failures_max=1,
            probe_seconds=60,
        )


async def test_start_greets_by_name_and_tells_the_lowest_price(rei: Conversation) -> None:
    shown = await rei.say("/start")
    assert "Аня &lt;b&gt;" in shown.text
    assert "15 ₽" in shown.text


async def test_a_prompt_becomes_a_card_and_a_confirmed_card_one_job(rei: Conversation) -> None:
    await rei.give(10_000)
    card = await rei.say("кот & <пёс>")
    assert "кот &amp; &lt;пёс&gt;" in card.text
    assert "Баланс после заказа: 85 ₽" in card.text
    assert await rei.count("jobs") == 0
    after = await rei.tap(card, "Нарисовать за 15 ₽")
    assert await rei.balance() == 8_500
    assert rei.bell.rung == [await rei.pool.fetchval("SELECT id FROM jobs")]
    assert "Вы следующий в очереди" in after.text
    assert await rei.pool.fetchval("SELECT progress_message_id FROM jobs") == card.message_id


async def test_a_second_press_of_confirm_shows_the_same_job(rei: Conversation) -> None:
    await rei.give(10_000)
    card = await rei.say("кот")
    press = rei.press(card, card.button("Нарисовать"))
    twin = rei.press(card, card.button("Нарисовать"))
    await rei.feed(press)
    await rei.feed(twin)
    await rei.feed(press)  # the same update, after a crash
    assert await rei.count("jobs") == 1
    assert await rei.balance() == 8_500
    assert "Заказ принят" in rei.shown(card).text


async def test_ten_presses_at_once_are_one_job(rei: Conversation) -> None:
    await rei.give(100_000)
    card = await rei.say("кот")
    presses = [rei.press(card, card.button("Нарисовать")) for _ in range(10)]
    await asyncio.gather(*(rei.feed(press) for press in presses))
    assert await rei.count("jobs") == 1
    assert await rei.balance() == 98_500


async def test_the_same_prompt_update_twice_shows_one_card(rei: Conversation) -> None:
    update = rei.message(text="кот")
    await rei.feed(update)
    await rei.feed(update)
    assert await rei.count("drafts") == 1
    assert len(rei.telegram.named("SendMessage")) == 1


async def test_model_ratio_and_size_are_chosen_on_the_card(rei: Conversation) -> None:
    await rei.give(100_000)
    card = await rei.say("кот")
    card = await rei.tap(card, "Nano Banana 2")
    card = await rei.tap(card, "Pro")
    card = await rei.tap(card, "📐")
    card = await rei.tap(card, "16:9")
    card = await rei.tap(card, "🔍")
    card = await rei.tap(card, "4K")
    assert "Nano Banana Pro" in card.text
    assert "16:9, размер 4K" in card.text
    await rei.tap(card, "Нарисовать за 75 ₽")
    row = await rei.pool.fetchrow("SELECT model, aspect_ratio, image_size, price_kopecks FROM jobs")
    assert row is not None
    assert tuple(row) == ("gemini-3-pro-image", "16:9", "4K", 7500)


async def test_a_sub_menu_leads_back_to_the_card(rei: Conversation) -> None:
    await rei.give(10_000)
    card = await rei.say("кот")
    menu = await rei.tap(card, "📐")
    assert any(label.startswith("✅ 1:1") for label in menu.buttons)
    assert (await rei.tap(menu, "Назад")).buttons == card.buttons


async def test_an_order_can_be_dropped_for_nothing(rei: Conversation) -> None:
    await rei.give(10_000)
    dropped = await rei.tap(await rei.say("кот"), "Отменить")
    assert "Деньги не списаны" in dropped.text
    assert dropped.buttons == {}
    assert await rei.balance() == 10_000


async def test_too_little_money_is_told_with_what_is_missing(rei: Conversation) -> None:
    await rei.give(1_000)
    card = await rei.say("кот")
    assert "Не хватает 5 ₽" in card.text
    assert not any("Нарисовать" in label for label in card.buttons)
    payment = await rei.tap_for_new(card, "Пополнить на 50 ₽")
    assert payment.button("Оплатить 50 ₽").startswith("https://pay.example/")
    assert "Не хватает" in rei.shown(card).text  # the order is still there to come back to
    rei.provider.end("succeeded")
    assert "Зачислено 50 ₽" in (await rei.tap(payment, "Проверить")).text
    card = await rei.tap(card, "Я пополнил")
    assert "Заказ принят" in (await rei.tap(card, "Нарисовать")).text
    assert await rei.balance() == 4_500


async def test_money_gone_between_card_and_confirm_offers_a_top_up(rei: Conversation) -> None:
    await rei.give(2_000)
    first, second = await rei.say("кот"), await rei.say("пёс")
    await rei.tap(first, "Нарисовать")
    refused = await rei.tap(second, "Нарисовать")
    assert "Не хватает 10 ₽" in refused.text
    assert await rei.count("jobs") == 1
    assert rei.orders("accepted") == rei.orders("insufficient_funds") == 1


async def test_a_price_that_changed_is_shown_before_it_is_charged(rei: Conversation) -> None:
    await rei.give(10_000)
    card = await rei.say("кот")
    dearer = rei.services.catalog.model_dump()
    dearer["models"][0]["prices_kopecks"]["1K"] = 9900
    services = replace(rei.services, catalog=Catalog.model_validate(dearer))
    rei.dispatcher = build_dispatcher(services, album_quiet_seconds=ALBUM_QUIET_SECONDS)
    again = await rei.tap(card, "Нарисовать за 15 ₽")
    assert "цена изменились" in again.text
    assert await rei.count("jobs") == 0
    await rei.tap(again, "Нарисовать за 99 ₽")
    assert await rei.balance() == 100


async def test_paused_orders_charge_nothing_and_say_so(rei: Conversation) -> None:
    await rei.give(10_000)
    await open_circuit(rei, "bad_key")
    card = await ordered(rei)
    assert "приостановлены" in card.text
    assert rei.orders("provider_paused") == 1
    assert "Деньги не списаны" in card.text
    assert await rei.balance() == 10_000
    assert rei.bell.rung == []


async def test_a_retired_model_asks_for_another_one(rei: Conversation) -> None:
    await rei.give(10_000)
    await open_circuit(rei, "model_gone")
    card = await ordered(rei)
    assert "Эта модель сейчас недоступна" in card.text
    card = await rei.tap(await rei.tap(card, "🤖"), "Pro")
    assert "Заказ принят" in (await rei.tap(card, "Нарисовать")).text


async def test_more_orders_than_allowed_wait_on_their_card(rei: Conversation) -> None:
    await rei.give(10_000)
    for number in range(3):
        await ordered(rei, f"кот {number}")
    card = await ordered(rei, "ещё кот")
    assert "уже 3 заказа в работе" in card.text
    assert await rei.count("jobs") == 3


async def test_a_banned_customer_is_told_politely_and_keeps_the_balance(rei: Conversation) -> None:
    await rei.give(10_000)
    card = await rei.say("кот")
    menu = await rei.say("/topup")
    await rei.ban("спам")
    assert "Причина: спам" in (await rei.say("пёс")).text
    assert "закрыты" in (await rei.tap(card, "Нарисовать")).text
    assert "закрыты" in (await rei.tap(menu, "200")).text
    assert "закрыты" in (await rei.say("/topup")).text
    assert "100 ₽" in (await rei.say("/balance")).text
    assert await rei.count("jobs") + await rei.count("payments") == 0


async def test_generate_without_a_prompt_explains_itself(rei: Conversation) -> None:
    assert "например" in (await rei.say("/generate")).text
    assert await rei.count("drafts") == 0
    assert "✏️ кот" in (await rei.say("/generate   кот")).text


async def test_a_prompt_that_is_too_long_is_refused(rei: Conversation) -> None:
    assert "слишком длинное" in (await rei.say("ы" * 4001)).text
    assert await rei.count("drafts") == 0
    card = await rei.say("&" * 4000)
    assert "заказ" in card.text
    assert len(card.text) <= 4096


async def test_a_photo_with_a_caption_is_an_order(rei: Conversation) -> None:
    await rei.give(10_000)
    await rei.feed(rei.message(photo=photo("p1"), caption="/generate сделай зиму"))
    assert "✏️ сделай зиму" in rei.last.text
    assert "1 фото" in rei.last.text
    await rei.tap(rei.last, "Нарисовать")
    inputs = await rei.pool.fetchval("SELECT inputs FROM jobs")
    assert inputs == [{"file_id": "p1", "mime_type": "image/jpeg", "size_bytes": 1000}]


async def test_a_photo_without_a_word_asks_and_the_next_text_answers(rei: Conversation) -> None:
    await rei.give(10_000)
    await rei.feed(rei.message(photo=photo("p1")))
    assert "Опишите" in rei.last.text
    card = await rei.say("сделай зиму")
    assert "1 фото" in card.text
    assert await rei.count("drafts") == 1
    assert "1 фото" not in (await rei.say("просто кот")).text


async def test_generate_after_a_photo_draws_without_it(rei: Conversation) -> None:
    await rei.feed(rei.message(photo=photo("p1")))
    assert "фото" not in (await rei.say("/generate кот")).text


async def test_pictures_as_files_are_taken_and_other_files_are_not(rei: Conversation) -> None:
    def file(mime_type: str, size: int) -> Document:
        return Document(file_id="d", file_unique_id="d", mime_type=mime_type, file_size=size)

    await rei.feed(rei.message(document=file("image/png", 1000), caption="зима"))
    assert "✏️ зима" in rei.last.text
    await rei.feed(rei.message(document=file("image/png", 21 * 1024 * 1024), caption="зима"))
    assert "20 МБ" in rei.last.text
    await rei.feed(rei.message(document=file("application/pdf", 1000), caption="зима"))
    assert "JPEG" in rei.last.text
    assert await rei.count("drafts") == 1


async def test_an_album_is_one_card_in_any_order_and_at_once(rei: Conversation) -> None:
    await rei.give(10_000)
    updates = [
        rei.message(photo=photo(f"p{i}"), media_group_id="g", caption="зима" if i == 2 else None)
        for i in range(5)
    ]
    await asyncio.gather(*(rei.feed(update) for update in reversed(updates)))
    for update in updates:  # all of them again, after a crash
        await rei.feed(update)
    assert await rei.count("drafts") == 1
    assert len(rei.telegram.named("SendMessage")) == 1
    assert "5 фото" in rei.last.text
    assert "зима" in rei.last.text
    await rei.tap(rei.last, "Нарисовать")
    assert len(await rei.pool.fetchval("SELECT inputs FROM jobs")) == 5


async def test_photos_that_come_one_after_the_other_edit_the_card(rei: Conversation) -> None:
    await rei.give(10_000)
    for i in range(3):
        await rei.feed(rei.message(photo=photo(f"p{i}"), media_group_id="g", caption="зима"))
    assert len(rei.telegram.named("SendMessage")) == 1
    assert "3 фото" in rei.last.text


async def test_a_photo_that_comes_after_the_order_leaves_it_alone(rei: Conversation) -> None:
    await rei.give(10_000)
    late = rei.message(photo=photo("p2"), media_group_id="g")
    await rei.feed(rei.message(photo=photo("p1"), media_group_id="g", caption="зима"))
    card = await rei.tap(rei.last, "Нарисовать")
    await rei.feed(late)
    assert "Заказ принят" in rei.shown(card).text


async def test_more_photos_than_the_model_takes_block_the_card(rei: Conversation) -> None:
    await rei.give(10_000)
    small = rei.services.catalog.model_dump()
    small["models"][0]["input_images_max"] = 1
    services = replace(rei.services, catalog=Catalog.model_validate(small))
    rei.dispatcher = build_dispatcher(services, album_quiet_seconds=ALBUM_QUIET_SECONDS)
    for i in range(2):
        await rei.feed(rei.message(photo=photo(f"p{i}"), media_group_id="g", caption="зима"))
    assert "не больше 1 фото" in rei.last.text
    assert not any("Нарисовать" in label for label in rei.last.buttons)
    card = await rei.tap(await rei.tap(rei.last, "🤖"), "Pro")
    assert any("Нарисовать" in label for label in card.buttons)


async def test_a_job_claimed_before_the_card_was_edited_shows_as_drawing(rei: Conversation) -> None:
    await rei.give(10_000)
    card = await rei.say("кот")

    async def claim_at_once(job_id: int) -> None:
        async with rei.pool.acquire() as connection, connection.transaction():
            await claim_queries.claim(
                connection, worker="w", lease_seconds=30, limit=1, processing_max=10
            )

    rei.bell.on_ring = claim_at_once
    assert "Рисую" in (await rei.tap(card, "Нарисовать")).text


async def test_another_customers_draft_is_out_of_date(rei: Conversation) -> None:
    await rei.give(10_000)
    await rei.give(10_000, user_id=8)
    card = await rei.say("кот")
    await rei.feed(rei.press(card, card.button("Нарисовать"), user_id=8))
    assert await rei.count("jobs") == 0
    assert "устарела" in rei.alerts[-1]


async def test_buttons_of_an_ordered_card_are_out_of_date(rei: Conversation) -> None:
    await rei.give(10_000)
    card = await rei.say("кот")
    menu, drop = card.button("📐"), card.button("Отменить")
    placed = await rei.tap(card, "Нарисовать")
    for data in (menu, drop):
        await rei.feed(rei.press(card, data))
    assert len(rei.alerts) == 2
    assert rei.shown(card).text == placed.text

"""A job after its order: place, cancel, repeat, the file; and the history they are reached from."""

from __future__ import annotations

from rei_core.jobs import claim_queries, end_queries
from rei_core.jobs.model import Job, Output

from .conftest import Conversation, Shown


async def ordered(rei: Conversation, prompt: str = "кот", user_id: int = 7) -> Shown:
    """A confirmed card."""
    return await rei.tap(await rei.say(prompt, user_id), "Нарисовать", user_id)


async def claimed(rei: Conversation) -> Job:
    async with rei.pool.acquire() as connection, connection.transaction():
        jobs = await claim_queries.claim(
            connection, worker="w", lease_seconds=30, limit=1, processing_max=10
        )
    return jobs[0]


async def completed(rei: Conversation) -> Job:
    job = await claimed(rei)
    async with rei.pool.acquire() as connection, connection.transaction():
        output = Output("image/png", 1, 1, b"png")
        assert await end_queries.complete(connection, job.id, attempt=job.attempt, output=output)
    return job


async def test_a_queued_job_tells_its_place_and_moves_up(rei: Conversation) -> None:
    await rei.give(10_000, user_id=8)
    await rei.give(10_000)
    await ordered(rei, "пёс", 8)
    card = await ordered(rei)
    assert "Место в очереди: 2" in card.text
    await claimed(rei)
    assert "следующий" in (await rei.tap(card, "Место")).text


async def test_a_cancel_while_queued_gives_the_money_back(rei: Conversation) -> None:
    await rei.give(10_000)
    card = await ordered(rei)
    press = rei.press(card, card.button("Отменить"))
    await rei.feed(press)
    await rei.feed(press)  # the same update, after a crash
    assert "Мы вернули 15 ₽ на баланс. Баланс: <b>100 ₽</b>" in rei.shown(card).text
    assert await rei.balance() == 10_000
    assert rei.alerts == []


async def test_a_cancel_that_comes_too_late_says_so(rei: Conversation) -> None:
    await rei.give(10_000)
    card = await ordered(rei)
    await claimed(rei)
    after = await rei.tap(card, "Отменить")
    assert "поздно" in rei.alerts[-1]
    assert "Рисую" in after.text
    assert await rei.balance() == 8_500


async def test_a_failed_job_says_why_and_that_the_money_is_back(rei: Conversation) -> None:
    await rei.give(10_000)
    card = await ordered(rei)
    job = await claimed(rei)
    async with rei.pool.acquire() as connection, connection.transaction():
        await end_queries.fail(
            connection, job.id, attempt=job.attempt, error_code="blocked", error_detail="SAFETY"
        )
    await rei.feed(rei.press(card, card.button("Место")))
    after = rei.shown(card)
    assert "правилам безопасности" in after.text
    assert "вернули 15 ₽" in after.text
    assert "SAFETY" not in after.text


async def test_another_customers_job_is_out_of_date(rei: Conversation) -> None:
    await rei.give(10_000)
    card = await ordered(rei)
    for words in ("Место", "Отменить"):
        await rei.feed(rei.press(card, card.button(words), user_id=8))
    assert len(rei.alerts) == 2
    assert await rei.balance() == 8_500


async def test_the_history_turns_its_pages_both_ways(rei: Conversation) -> None:
    await rei.give(100_000)
    for number in range(12):
        card = await ordered(rei, f"кот {number}")
        await rei.tap(card, "Отменить")
    page = await rei.say("/history")
    assert "кот 11" in page.text
    assert "деньги возвращены" in page.text
    assert "кот 6»" not in page.text
    page = await rei.tap(page, "Раньше")
    assert "<b>6.</b> «кот 6»" in page.text
    page = await rei.tap(page, "Раньше")
    assert "кот 0" in page.text
    assert not any("Раньше" in label for label in page.buttons)
    page = await rei.tap(page, "Новее")
    assert "кот 6»" in page.text


async def test_an_empty_history_invites(rei: Conversation) -> None:
    assert "пока пусто" in (await rei.say("/history")).text


async def test_a_repeat_is_a_new_card_and_a_second_one_a_second_order(rei: Conversation) -> None:
    await rei.give(10_000)
    await ordered(rei)
    await completed(rei)
    history = await rei.say("/history")
    press = rei.press(history, history.button("🔁 1"))
    await rei.feed(press)
    await rei.feed(press)  # the same update, after a crash: the same draft
    assert await rei.count("drafts") == 2
    await rei.tap(rei.last, "Нарисовать")
    assert await rei.count("jobs") == 2
    card = await rei.tap_for_new(history, "🔁 1")
    await rei.tap(card, "Нарисовать")
    assert await rei.count("jobs") == 3


async def test_the_file_comes_from_us_first_and_from_telegram_later(rei: Conversation) -> None:
    await rei.give(10_000)
    await ordered(rei)
    job = await completed(rei)
    history = await rei.say("/history")
    await rei.tap(history, "📎 1")
    assert rei.telegram.named("SendDocument")[-1].document.filename == f"rei-{job.id}.png"
    await rei.pool.execute("UPDATE job_outputs SET document_file_id = 'doc-1', data = NULL")
    await rei.tap(history, "📎 1")
    assert rei.telegram.named("SendDocument")[-1].document == "doc-1"
    await rei.pool.execute(
        "UPDATE job_outputs SET document_file_id = NULL, photo_file_id = 'photo-1'"
    )
    await rei.tap(history, "📎 1")
    assert rei.telegram.named("SendPhoto")[-1].photo == "photo-1"
    await rei.pool.execute("UPDATE job_outputs SET photo_file_id = NULL")
    assert "не хранится" in (await rei.tap_for_new(history, "📎 1")).text


async def test_the_balance_tells_where_the_money_went(rei: Conversation) -> None:
    await rei.give(10_000)
    card = await ordered(rei)
    await rei.tap(card, "Отменить")
    await ordered(rei)
    shown = await rei.say("/balance")
    assert "Баланс: <b>85 ₽</b>" in shown.text
    assert "1 заказ в работе" in shown.text
    assert "+15 ₽ · возврат за заказ" in shown.text
    assert "−15 ₽ · заказ" in shown.text
    assert "+100 ₽ · корректировка" in shown.text

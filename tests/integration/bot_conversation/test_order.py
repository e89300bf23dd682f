"""From a prompt to a job: the card, its choices, the confirmation and what may stand in its way."""

from __future__ import annotations

from .conftest import Conversation


async def test_start_greets_by_name_and_tells_the_lowest_price(rei: Conversation) -> None:
    shown = await rei.say("/start")
    assert "Аня &lt;b&gt;" in shown.text
    assert "15\u00a0₽" in shown.text


async def test_a_prompt_becomes_a_card_and_a_confirmed_card_one_job(rei: Conversation) -> None:
    await rei.give(10_000)
    card = await rei.say("кот & <пёс>")
    assert "кот &amp; &lt;пёс&gt;" in card.text
    assert "15\u00a0₽" in card.text
    assert await rei.count("jobs") == 0
    after = await rei.tap(card, "15")
    assert await rei.count("jobs") == 1
    assert await rei.balance() == 8_500
    assert rei.bell.rung == [await rei.pool.fetchval("SELECT id FROM jobs")]
    assert "Cancel" in " ".join(after.buttons)
    assert await rei.pool.fetchval("SELECT progress_message_id FROM jobs") == card.message_id

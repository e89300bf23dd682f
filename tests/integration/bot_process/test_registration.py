"""Telling Telegram where updates go: by one pod at a time, never in the way of a start."""

from __future__ import annotations

import asyncio

import pytest

from rei_bot import backoff
from rei_bot.registration import webhook_of
from rei_core.errors import ConfigurationError
from rei_core.updates.queries import try_lock_registration

from .conftest import SECRET, Stage, error, until


@pytest.fixture(autouse=True)
def _quick_repeats(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backoff, "SECONDS_MIN", 0.05)
    monkeypatch.setattr(backoff, "SECONDS_MAX", 0.2)


async def test_the_webhook_is_set_with_all_that_it_needs_and_stays(stage: Stage) -> None:
    async with stage.bot():
        await until(lambda: stage.telegram.of("setWebhook"))
    [told] = stage.telegram.of("setWebhook")
    assert told["url"] == "https://bot.example.com/webhook/telegram"
    assert told["secret_token"] == SECRET
    assert told["max_connections"] == 40
    assert set(told["allowed_updates"]) == {"message", "callback_query"}
    assert told.get("drop_pending_updates") in (None, False)
    assert stage.telegram.of("deleteWebhook") == []


async def test_the_menu_of_commands_is_published_in_both_languages(stage: Stage) -> None:
    async with stage.bot():
        await until(lambda: len(stage.telegram.of("setMyCommands")) == 5)
    languages = [told.get("language_code") for told in stage.telegram.of("setMyCommands")]
    assert languages == [None, "ru", "be", "uk", "kk"]


async def test_one_pod_at_a_time_sets_it(stage: Stage) -> None:
    async with stage.pool.acquire() as another_pod:
        turn = another_pod.transaction()
        await turn.start()
        assert await try_lock_registration(another_pod)
        async with stage.bot():
            await until(lambda: len(stage.telegram.of("setMyCommands")) == 5)
            assert stage.telegram.of("setWebhook") == []
            await turn.rollback()
            await until(lambda: stage.telegram.of("setWebhook"))


async def test_telegram_being_away_keeps_no_bot_down(stage: Stage) -> None:
    refusal = error(502, "Bad Gateway")
    stage.telegram.refuse = {"setWebhook": [refusal] * 3, "setMyCommands": [refusal] * 3}
    async with stage.bot() as rei:  # ready although nothing could be told
        assert await rei.post_update(stage.telegram.message("/help")) == 200
        await until(lambda: len(stage.telegram.of("setWebhook")) == 4)
        await until(lambda: len(stage.telegram.of("setMyCommands")) == 8)


async def test_a_webhook_call_that_hangs_ends_with_the_process(stage: Stage) -> None:
    stage.telegram.gates["setWebhook"] = asyncio.Event()
    async with stage.bot() as rei:
        await until(lambda: stage.telegram.of("setWebhook"))
        rei.process.stop()
        await asyncio.wait_for(rei.task, 5)


@pytest.mark.parametrize(
    ("changes", "setting"),
    [
        ({"public_url": None}, "REI_PUBLIC_URL"),
        ({"webhook_secret": None}, "REI_WEBHOOK_SECRET"),
        ({"webhook_secret": ""}, "REI_WEBHOOK_SECRET"),
        ({"webhook_secret": "has a space"}, "REI_WEBHOOK_SECRET"),
        ({"webhook_secret": "line\n"}, "REI_WEBHOOK_SECRET"),
        ({"webhook_secret": "s" * 257}, "REI_WEBHOOK_SECRET"),
    ],
)
async def test_what_webhook_mode_lacks_is_said_before_it_starts(
    stage: Stage, changes: dict[str, object], setting: str
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        webhook_of(stage.settings("webhook", **changes))
    assert caught.value.setting == setting
    assert "Set it to" in caught.value.remedy
    assert "has a space" not in str(caught.value)

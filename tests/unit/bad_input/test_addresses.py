"""Addresses and tokens that settings let through and that turn out to be none at the start."""

from __future__ import annotations

import traceback
from collections.abc import Callable

import pytest
from aiogram import Bot
from hypothesis import given, settings
from hypothesis import strategies as st

from rei_bot import main as bot_main
from rei_core.db import create_pool
from rei_core.errors import ConfigurationError
from rei_core.settings import BotSettings, WorkerSettings
from rei_worker import main as worker_main

DATABASE = {"database_url": "postgresql://db/rei"}


@pytest.mark.parametrize(
    "url",
    [
        "geheim",
        "mysql://rei:geheim@127.0.0.1/rei",
        # What a password generator makes, written down as it is.
        "postgresql://rei:geheim/x@127.0.0.1:5432/rei",
        "postgresql://rei:geheim#x@127.0.0.1:5432/rei",
        "postgresql://rei:geheim?x@127.0.0.1:5432/rei",
        "postgresql://rei:[geheim@127.0.0.1:5432/rei",
        "postgresql://rei:a]geheim[@127.0.0.1:5432/rei",
        "postgresql://rei:geheim@127.0.0.1:99999/rei",
        "postgresql://rei:geheim@127.0.0.1:5432/rei?sslmode=geheim",
    ],
)
async def test_a_database_url_that_is_none_is_said_without_a_word_of_it(url: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        await create_pool(url, application="test", size_max=2)
    assert refused.value.setting == "REI_DATABASE_URL"
    assert "geheim" not in "".join(traceback.format_exception(refused.value)).replace(url, "")


def bot_of_bot(token: str) -> Bot:
    values = {"BOT_TOKEN": token, "YOOKASSA_SHOP_ID": "1", "YOOKASSA_SECRET_KEY": "s"}
    return bot_main.telegram_bot(BotSettings.model_validate({**DATABASE, **values}))


def bot_of_worker(token: str) -> Bot:
    values = {"BOT_TOKEN": token, "GEMINI_API_KEY": "k"}
    return worker_main.telegram_bot(WorkerSettings.model_validate({**DATABASE, **values}))


@pytest.mark.parametrize("make", [bot_of_bot, bot_of_worker])
@settings(max_examples=50, deadline=None, derandomize=True, database=None)
@given(token=st.text(min_size=1, max_size=60) | st.sampled_from(["42", ":", "42:", "x:y", "4 2:y"]))
async def test_a_token_that_is_none_is_said_without_a_word_of_it(
    make: Callable[[str], Bot], token: str
) -> None:
    marked = f"{token}geheim"
    try:
        bot = make(marked)
    except ConfigurationError as error:
        refused = error
    else:
        assert bot.token == marked
        return
    assert refused.setting == "BOT_TOKEN"
    assert "geheim" not in "".join(traceback.format_exception(refused)).replace(marked, "")

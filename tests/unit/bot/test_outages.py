"""Which failures are held against an update, and how long is waited after one."""

from __future__ import annotations

import asyncpg
import pydantic
import pytest
from aiogram.exceptions import (
    ClientDecodeError,
    TelegramBadRequest,
    TelegramEntityTooLarge,
    TelegramNetworkError,
    TelegramRetryAfter,
    TelegramServerError,
)
from aiogram.methods import GetMe
from aiogram.types import Update

from rei_bot.backoff import Backoff
from rei_bot.polling import problems
from rei_bot.updates import is_outage

METHOD = GetMe()


def unreadable() -> pydantic.ValidationError:
    with pytest.raises(pydantic.ValidationError) as caught:
        Update.model_validate({"update_id": 1, "message": {"text": "my secret wish"}})
    return caught.value


@pytest.mark.parametrize(
    "error",
    [
        TelegramNetworkError(METHOD, "cut"),
        TelegramServerError(METHOD, "Bad Gateway"),
        TelegramRetryAfter(METHOD, "slower", retry_after=3),
        ClientDecodeError("no JSON", ValueError("x"), "<html>"),
        asyncpg.ConnectionDoesNotExistError("gone"),
        asyncpg.CannotConnectNowError("starting up"),
        asyncpg.TooManyConnectionsError("full"),
        asyncpg.DeadlockDetectedError("again"),
        asyncpg.InterfaceError("pool is closing"),
        ConnectionResetError(),
        TimeoutError(),
    ],
)
def test_an_outage_is_not_the_updates_fault(error: Exception) -> None:
    assert is_outage(error)


@pytest.mark.parametrize(
    "error",
    [
        KeyError("x"),
        AssertionError(),
        TelegramBadRequest(METHOD, "can't parse entities"),
        TelegramEntityTooLarge(METHOD, "too large"),
        asyncpg.CheckViolationError("balance"),
        asyncpg.UndefinedColumnError("x"),
    ],
)
def test_anything_else_may_be(error: Exception) -> None:
    assert not is_outage(error)


def test_an_answer_that_we_cannot_read_is_no_outage() -> None:
    assert not is_outage(ClientDecodeError("odd", unreadable(), {}))


def test_pauses_double_up_to_a_bound_and_start_over() -> None:
    backoff = Backoff(seconds_min=1)
    error = TelegramServerError(METHOD, "x")
    pauses = [backoff.failed(error) for _ in range(10)]
    for pause, wanted in zip(pauses, [1, 2, 4, 8, 16, 32, 60, 60, 60, 60], strict=True):
        assert 0.75 * wanted <= pause <= 1.25 * wanted
    backoff.succeeded()
    assert backoff.failed(error) <= 1.25


def test_telegrams_own_wish_comes_first() -> None:
    assert Backoff().failed(TelegramRetryAfter(METHOD, "slower", retry_after=90)) == 90


def test_what_is_wrong_with_an_update_is_told_without_its_words() -> None:
    told = problems(unreadable())
    assert "message.message_id: Field required" in told
    assert "secret" not in told

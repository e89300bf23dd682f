"""What each of Telegram's errors means for a delivery."""

from __future__ import annotations

from typing import Any

import aiohttp
import pytest
from aiogram.exceptions import (
    ClientDecodeError,
    TelegramAPIError,
    TelegramBadRequest,
    TelegramEntityTooLarge,
    TelegramForbiddenError,
    TelegramNetworkError,
    TelegramNotFound,
    TelegramRetryAfter,
    TelegramServerError,
    TelegramUnauthorizedError,
)
from aiogram.methods import GetMe, TelegramMethod
from hypothesis import given
from hypothesis import strategies as st

from rei_worker.delivery.outcome import (
    AGE_SECONDS_MAX,
    DELAY_SECONDS_MAX,
    GiveUp,
    Postpone,
    outcome_of,
    photo_refused,
)

from .samples import delivery

ANY: TelegramMethod[Any] = GetMe()
TOKEN_URL = "https://api.telegram.org/bot123456:SECRET/sendPhoto"


def error(kind: type[TelegramAPIError], message: str = "") -> TelegramAPIError:
    return kind(method=ANY, message=message)


def network(cause: Exception) -> TelegramNetworkError:
    """As aiogram raises it."""
    wrapped = TelegramNetworkError(method=GetMe(), message=f"{type(cause).__name__}: {cause}")
    wrapped.__cause__ = cause
    return wrapped


def never_connected() -> TelegramNetworkError:
    key: Any = type("Key", (), {"host": "h", "port": 443, "ssl": True})()
    return network(aiohttp.ClientConnectorError(key, OSError(111, "refused")))


FLOOD = TelegramRetryAfter(method=GetMe(), message="Too Many Requests", retry_after=600)


def of(failure: Exception, **changes: Any) -> Postpone | GiveUp:
    return outcome_of(failure, delivery(**changes), attempts_max=3, jitter=0.5)


@pytest.mark.parametrize(
    "kind", [TelegramForbiddenError, TelegramBadRequest, TelegramEntityTooLarge]
)
def test_what_can_never_arrive_is_given_up_at_once(kind: type[TelegramAPIError]) -> None:
    assert isinstance(of(error(kind, "no")), GiveUp)


NOT_COUNTED = [
    FLOOD,
    error(TelegramServerError, "Bad Gateway"),
    error(TelegramNotFound, "Not Found"),
    error(TelegramUnauthorizedError, "Unauthorized"),
    never_connected(),
]


@pytest.mark.parametrize("failure", NOT_COUNTED, ids=lambda failure: type(failure).__name__)
def test_trouble_that_is_not_the_messages_is_not_counted(failure: Exception) -> None:
    decision = of(failure, failures=1000, attempt=1000)
    assert isinstance(decision, Postpone)
    assert not decision.counts
    assert isinstance(of(failure, age_seconds=AGE_SECONDS_MAX), GiveUp)


COUNTED = [
    network(TimeoutError()),
    network(aiohttp.ServerDisconnectedError()),
    ClientDecodeError("Failed to decode object", ValueError(), "<html>"),
    ZeroDivisionError(),
]


@pytest.mark.parametrize("failure", COUNTED, ids=lambda failure: type(failure).__name__)
def test_what_may_be_the_messages_fault_is_counted(failure: Exception) -> None:
    decision = of(failure, failures=2)
    assert isinstance(decision, Postpone)
    assert decision.counts
    assert isinstance(of(failure, failures=3), GiveUp)


def test_a_flood_limit_is_waited_out_in_full() -> None:
    decision = of(FLOOD)
    assert isinstance(decision, Postpone)
    assert 600 <= decision.delay_seconds <= 601


def test_no_token_gets_into_the_details() -> None:
    decision = of(network(aiohttp.InvalidURL(TOKEN_URL)))
    assert "SECRET" not in decision.detail
    assert "InvalidURL" in decision.detail


@given(st.integers(1, 100_000), st.floats(min_value=0, max_value=1, exclude_max=True))
def test_back_off_is_bounded(attempt: int, jitter: float) -> None:
    decision = outcome_of(
        error(TelegramServerError), delivery(attempt=attempt), attempts_max=3, jitter=jitter
    )
    assert isinstance(decision, Postpone)
    assert 0 < decision.delay_seconds <= DELAY_SECONDS_MAX * 1.25


@pytest.mark.parametrize(
    ("failure", "refused"),
    [
        (error(TelegramEntityTooLarge), True),
        (error(TelegramBadRequest, "Bad Request: PHOTO_INVALID_DIMENSIONS"), True),
        (error(TelegramBadRequest, "Bad Request: IMAGE_PROCESS_FAILED"), True),
        (error(TelegramBadRequest, "Bad Request: chat not found"), False),
        (error(TelegramForbiddenError, "Forbidden: bot was blocked by the user"), False),
        (error(TelegramServerError, "Bad Gateway"), False),
    ],
)
def test_a_refused_photo_is_told_from_a_refused_chat(failure: Exception, refused: bool) -> None:
    assert photo_refused(failure) is refused

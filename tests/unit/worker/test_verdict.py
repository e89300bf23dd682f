"""What becomes of a failed attempt: every class of failure to its end."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rei_core.errors import FailureClass, ImageProviderError
from rei_worker.execution import (
    PROVIDER_DELAY_SECONDS_MAX,
    RETRY_DELAY_SECONDS_MAX,
    NoPermit,
    Refusal,
    Retry,
    retry_delay_seconds,
    verdict,
)
from rei_worker.inputs import InputLost, InputUnreachable, InputUnusable

from .samples import job

LATER = FailureClass.RETRY_LATER


def of(error: Exception, *, attempt: int = 1, attempts_max: int = 4) -> Retry | Refusal:
    return verdict(
        job(attempt=attempt, attempts_max=attempts_max), error, base_seconds=2, jitter=0.5
    )


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ImageProviderError(FailureClass.USER_FAULT, "blocked"), "blocked"),
        (ImageProviderError(FailureClass.USER_FAULT, "no_image"), "no_image"),
        (ImageProviderError(FailureClass.OUR_FAULT, "bad_key"), "bad_key"),
        (ImageProviderError(FailureClass.OUR_FAULT, "model_gone"), "model_gone"),
        (InputLost("gone"), "input_lost"),
        (InputUnusable("words"), "input_unusable"),
    ],
)
def test_what_no_repeat_mends_is_refunded_at_once(error: Exception, code: str) -> None:
    decision = of(error)
    assert isinstance(decision, Refusal)
    assert decision.code == code


@pytest.mark.parametrize(
    ("error", "last_code"),
    [
        (ImageProviderError(LATER, "unavailable"), "provider_unavailable"),
        (ImageProviderError(LATER, "timeout"), "provider_unavailable"),
        (InputUnreachable("503"), "telegram_unavailable"),
        (ZeroDivisionError(), "internal"),
    ],
)
def test_what_may_pass_is_tried_again_and_refunded_after_the_last_attempt(
    error: Exception, last_code: str
) -> None:
    first, last = of(error), of(error, attempt=4)
    assert isinstance(first, Retry)
    assert first.counts
    assert isinstance(last, Refusal)
    assert last.code == last_code


def test_our_own_limit_never_uses_up_an_attempt() -> None:
    decision = of(NoPermit("none left"), attempt=4)
    assert isinstance(decision, Retry)
    assert not decision.counts


@given(st.floats(min_value=0, max_value=1e9), st.integers(1, 100))
def test_the_providers_wish_is_honoured_within_reason(wish: float, attempt: int) -> None:
    error = ImageProviderError(LATER, "rate_limited", retry_after_seconds=wish)
    decision = of(error, attempt=attempt, attempts_max=1000)
    assert isinstance(decision, Retry)
    assert decision.delay_seconds >= min(wish, PROVIDER_DELAY_SECONDS_MAX)
    assert decision.delay_seconds <= PROVIDER_DELAY_SECONDS_MAX


@given(
    st.integers(1, 10_000),
    st.floats(min_value=0.01, max_value=60),
    st.floats(min_value=0, max_value=1, exclude_max=True),
)
def test_delays_grow_and_stay_bounded(attempt: int, base: float, jitter: float) -> None:
    delay = retry_delay_seconds(attempt, base_seconds=base, jitter=jitter)
    later = retry_delay_seconds(attempt + 1, base_seconds=base, jitter=jitter)
    assert 0 < delay <= later <= RETRY_DELAY_SECONDS_MAX * 1.25


def test_delays_double() -> None:
    delays = [retry_delay_seconds(n, base_seconds=2, jitter=0.5) for n in (1, 2, 3)]
    assert delays == [2, 4, 8]

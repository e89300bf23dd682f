"""What keyboards Telegram accepts."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rei_sandbox.telegram import markup
from rei_sandbox.telegram.errors import BotApiError


def inline(*buttons: Any) -> dict[str, Any]:
    return {"inline_keyboard": [list(buttons)]}


@given(st.text(min_size=1, max_size=70))
def test_callback_data_holds_64_bytes_of_utf8_and_no_more(data: str) -> None:
    data = data.encode(errors="ignore").decode() or "x"
    button = {"text": "ok", "callback_data": data}
    if len(data.encode()) <= 64:
        assert markup.check(inline(button)) == inline(button)
    else:
        with pytest.raises(BotApiError, match="BUTTON_DATA_INVALID"):
            markup.check(inline(button))


@pytest.mark.parametrize(
    ("button", "problem"),
    [
        ({"text": "x"}, "Text buttons are unallowed in the inline keyboard"),
        ({"text": " ", "callback_data": "a"}, "button text must be non-empty"),
        ({"callback_data": "a"}, 'Can\'t find field "text"'),
        ("x", 'Can\'t find field "text"'),
        ({"text": "x", "callback_data": ""}, "BUTTON_DATA_INVALID"),
        ({"text": "x", "url": "javascript:alert(1)"}, "Wrong HTTP URL"),
        ({"text": "x", "url": "http://["}, "Wrong HTTP URL"),
    ],
)
def test_wrong_inline_buttons_are_refused(button: Any, problem: str) -> None:
    with pytest.raises(BotApiError, match=problem):
        markup.check(inline(button))


@pytest.mark.parametrize(
    "value", ["x", 7, [], {"inline_keyboard": 7}, {"inline_keyboard": [7]}, {"keyboard": "x"}]
)
def test_what_is_no_keyboard_is_refused(value: Any) -> None:
    with pytest.raises(BotApiError):
        markup.check(value)


def test_a_hundred_buttons_and_no_more() -> None:
    button = {"text": "x", "callback_data": "a"}
    assert markup.check(inline(*[button] * 100)) is not None
    with pytest.raises(BotApiError, match="reply markup is too long"):
        markup.check(inline(*[button] * 101))


def test_a_keyboard_of_megabytes_is_refused() -> None:
    with pytest.raises(BotApiError, match="reply markup is too long"):
        markup.check(inline({"text": "x" * 100_000, "callback_data": "a"}))


def test_the_pay_page_on_loopback_is_a_link() -> None:
    button = {"text": "pay", "url": "http://127.0.0.1:8090/pay/1"}
    assert markup.check(inline(button)) == inline(button)


@pytest.mark.parametrize("empty", [None, {}, {"inline_keyboard": []}, {"inline_keyboard": [[]]}])
def test_no_buttons_are_no_markup(empty: Any) -> None:
    assert markup.check(empty) is None


def test_edits_take_inline_keyboards_only() -> None:
    reply = markup.check({"keyboard": [["yes"]], "resize_keyboard": True})
    assert reply == {"keyboard": [[{"text": "yes"}]], "resize_keyboard": True}
    with pytest.raises(BotApiError, match="inline keyboard expected"):
        markup.inline_only(reply)

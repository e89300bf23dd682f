"""reply_markup: what keyboards Telegram accepts, and which of them belong to the message."""

from __future__ import annotations

import json
from typing import Any, Final
from urllib.parse import urlsplit

from rei_sandbox.telegram.errors import bad_request

CALLBACK_DATA_BYTES_MAX: Final = 64
BUTTONS_MAX: Final = 100
REPLY_BUTTONS_MAX: Final = 300
MARKUP_LENGTH_MAX: Final = 16 * 1024
"""As JSON; the real limit is near this and nowhere written down."""
_ACTIONS: Final = (
    "url", "callback_data", "web_app", "login_url", "switch_inline_query",
    "switch_inline_query_current_chat", "switch_inline_query_chosen_chat", "copy_text",
    "callback_game", "pay",
)  # fmt: skip

Markup = dict[str, Any]


def check(markup: Any) -> Markup | None:
    """The markup in Telegram's shape, or None when there is none."""
    if markup is None or markup == {}:
        return None
    if not isinstance(markup, dict):
        raise bad_request("object expected as reply markup")
    if len(json.dumps(markup)) > MARKUP_LENGTH_MAX:
        raise bad_request("reply markup is too long")
    if "inline_keyboard" in markup:
        rows = [[_inline_button(each) for each in row] for row in _rows(markup["inline_keyboard"])]
        rows = [row for row in rows if row]
        if sum(map(len, rows)) > BUTTONS_MAX:
            raise bad_request("reply markup is too long")
        return {"inline_keyboard": rows} if rows else None
    if "keyboard" in markup:
        rows = [[_reply_button(each) for each in row] for row in _rows(markup["keyboard"])]
        if sum(map(len, rows)) > REPLY_BUTTONS_MAX:
            raise bad_request("reply markup is too long")
        return {**markup, "keyboard": rows}
    if markup.get("remove_keyboard") or markup.get("force_reply"):
        return markup
    return None


def inline_only(markup: Markup | None) -> Markup | None:
    """The part that edits accept and that a Message shows."""
    if markup is not None and "inline_keyboard" not in markup:
        raise bad_request("inline keyboard expected")
    return markup


def _rows(value: Any) -> list[list[Any]]:
    if not isinstance(value, list) or not all(isinstance(row, list) for row in value):
        raise bad_request("field of the keyboard must be of the type Array of Arrays")
    return value


def _inline_button(button: Any) -> dict[str, Any]:
    if not isinstance(button, dict) or not isinstance(button.get("text"), str):
        raise bad_request("can't parse inline keyboard button: Can't find field \"text\"")
    if not button["text"].strip():
        raise bad_request("inline keyboard button text must be non-empty")
    action = next((name for name in _ACTIONS if button.get(name) is not None), None)
    if action is None:
        raise bad_request(
            "can't parse inline keyboard button: Text buttons are unallowed in the inline keyboard"
        )
    if action == "callback_data" and not (
        1 <= len(str(button["callback_data"]).encode()) <= CALLBACK_DATA_BYTES_MAX
    ):
        raise bad_request("BUTTON_DATA_INVALID")
    if action == "url":
        _check_url(str(button["url"]))
    return {"text": button["text"], action: button[action]}


def _check_url(url: str) -> None:
    """The real service wants a public host too; here the pay page lives on loopback."""
    try:
        address = urlsplit(url)
        good = address.scheme in {"http", "https", "tg"} and bool(address.netloc)
    except ValueError:
        good = False
    if not good:
        raise bad_request(f"inline keyboard button URL '{url}' is invalid: Wrong HTTP URL")


def _reply_button(button: Any) -> dict[str, Any]:
    if isinstance(button, str):
        button = {"text": button}
    if not isinstance(button, dict) or not str(button.get("text", "")).strip():
        raise bad_request("keyboard button text must be non-empty")
    return dict(button)

"""getUpdates, setWebhook, deleteWebhook, getWebhookInfo: one way of receiving at a time."""

from __future__ import annotations

from rei_sandbox.telegram.errors import bad_request, conflict
from rei_sandbox.telegram.model import Json
from rei_sandbox.telegram.params import Params
from rei_sandbox.telegram.state import TelegramState
from rei_sandbox.telegram.updates import POLL_LIMIT_MAX
from rei_sandbox.telegram.webhook import (
    CONNECTIONS_DEFAULT,
    CONNECTIONS_MAX,
    Webhook,
    check_secret,
    check_url,
)


async def get_updates(state: TelegramState, params: Params) -> list[Json]:
    offset, limit = params.integer("offset"), params.integer("limit")
    timeout_seconds = params.integer("timeout") or 0
    if state.sender.webhook is not None:
        raise conflict(
            "can't use getUpdates method while webhook is active; "
            "use deleteWebhook to delete the webhook first"
        )
    _set_allowed(state, params)
    return await state.updates.poll(
        offset=offset, limit=limit or POLL_LIMIT_MAX, timeout_seconds=timeout_seconds
    )


async def set_webhook(state: TelegramState, params: Params) -> bool:
    """An empty address deletes it."""
    url, secret_token = params.text("url"), params.text("secret_token")
    if not url:
        return await delete_webhook(state, params)
    check_url(url)
    check_secret(secret_token)
    wanted = params.integer("max_connections") or CONNECTIONS_DEFAULT
    _set_allowed(state, params)
    _drop_if_asked(state, params)
    state.updates.stop_poller("setWebhook request")
    await state.sender.set(Webhook(url, secret_token, min(max(wanted, 1), CONNECTIONS_MAX)))
    return True


async def delete_webhook(state: TelegramState, params: Params) -> bool:
    _drop_if_asked(state, params)
    await state.sender.set(None)
    return True


async def get_webhook_info(state: TelegramState, _params: Params) -> Json:
    webhook = state.sender.webhook
    info: Json = {
        "url": webhook.url if webhook else "",
        "has_custom_certificate": False,
        "pending_update_count": len(state.updates.pending),
    }
    if webhook is not None:
        info["max_connections"] = webhook.max_connections
        if webhook.last_error_date:
            info["last_error_date"] = webhook.last_error_date
            info["last_error_message"] = webhook.last_error_message
    if state.updates.allowed:
        info["allowed_updates"] = list(state.updates.allowed)
    return info


def _set_allowed(state: TelegramState, params: Params) -> None:
    """An empty list means the usual kinds; no list leaves what was set before."""
    allowed = params.json("allowed_updates")
    if allowed is None:
        return
    if not isinstance(allowed, list) or not all(isinstance(kind, str) for kind in allowed):
        raise bad_request("can't parse allowed_updates: expected an Array of String")
    state.updates.allowed = tuple(dict.fromkeys(kind[:64] for kind in allowed[:64]))


def _drop_if_asked(state: TelegramState, params: Params) -> None:
    if params.boolean("drop_pending_updates"):
        state.updates.clear()

"""How people and tests steer the sandbox: `/_sandbox/…`, all in JSON.

    GET    /_sandbox/healthz               is it up
    GET    /_sandbox/faults                what waits, what has happened, what can be ordered
    POST   /_sandbox/faults                {service, kind, operation, count, delay_seconds, subject}
    DELETE /_sandbox/faults[?service=…]    drop what waits
    GET    /_sandbox/state                 numbers of calls, payments, notifications, messages
    GET    /_sandbox/calls[?service=…]     the last thousand calls
    GET    /_sandbox/notifications         YooKassa's notifications and what became of them
    POST   /_sandbox/notification-url      {url}: send them there from now on
    POST   /_sandbox/reset                 forget everything

    /_sandbox/telegram/…                   the users' side of the chats: see telegram.control

There is no password: the sandbox listens on loopback and holds nothing of worth.
"""

from __future__ import annotations

import dataclasses
import json
import re
from dataclasses import dataclass
from typing import Any, Final

from aiohttp import web

from rei_sandbox.calls import Calls
from rei_sandbox.faults import KINDS, OPERATIONS, FaultRefused, Faults
from rei_sandbox.settings import SandboxSettings
from rei_sandbox.telegram.state import TelegramState
from rei_sandbox.yookassa.service import YooKassa

NUMBER_MAX: Final = 10**9
_FIELDS: Final = {
    "service": (str,),
    "kind": (str,),
    "operation": (str,),
    "count": (int,),
    "delay_seconds": (int, float),
    "subject": (str,),
}


@dataclass(frozen=True)
class Sandbox:
    """The parts of a running sandbox."""

    settings: SandboxSettings
    faults: Faults
    calls: Calls
    yookassa: YooKassa
    telegram: TelegramState


SANDBOX: Final = web.AppKey("rei_sandbox", Sandbox)


def setup(app: web.Application) -> None:
    """Add the control routes to `app`."""
    app.router.add_get("/_sandbox/healthz", _healthz)
    app.router.add_get("/_sandbox/faults", _faults)
    app.router.add_post("/_sandbox/faults", _order)
    app.router.add_delete("/_sandbox/faults", _clear)
    app.router.add_get("/_sandbox/state", _state)
    app.router.add_get("/_sandbox/calls", _calls)
    app.router.add_get("/_sandbox/notifications", _notifications)
    app.router.add_post("/_sandbox/notification-url", _notification_url)
    app.router.add_post("/_sandbox/reset", _reset)


async def _healthz(_request: web.Request) -> web.Response:
    return web.json_response({"ok": True})


async def _faults(request: web.Request) -> web.Response:
    faults = request.app[SANDBOX].faults
    return web.json_response(
        {
            "waiting": [dataclasses.asdict(order) for order in faults.active()],
            "taken": faults.taken(),
            "allowed": {
                service: {"kinds": kinds, "operations": OPERATIONS.get(service, ())}
                for service, kinds in KINDS.items()
            },
        }
    )


async def _order(request: web.Request) -> web.Response:
    try:
        wanted = _checked(await _json(request))
        order = request.app[SANDBOX].faults.add(
            wanted.pop("service", ""), wanted.pop("kind", ""), **wanted
        )
    except FaultRefused as refused:
        return _bad(str(refused), refused.parameter)
    return web.json_response(dataclasses.asdict(order), status=201)


async def _clear(request: web.Request) -> web.Response:
    cleared = request.app[SANDBOX].faults.clear(request.query.get("service", ""))
    return web.json_response({"cleared": cleared})


async def _state(request: web.Request) -> web.Response:
    sandbox = request.app[SANDBOX]
    return web.json_response(
        {
            "calls": sandbox.calls.counts(),
            "payments": sandbox.yookassa.shop.counts(),
            "notifications": {
                **sandbox.yookassa.notifier.counts(),
                "url": sandbox.yookassa.notifier.url,
            },
            "faults": {
                "waiting": [dataclasses.asdict(order) for order in sandbox.faults.active()],
                "taken": sandbox.faults.taken(),
            },
            "telegram": sandbox.telegram.counts(),
        }
    )


async def _calls(request: web.Request) -> web.Response:
    calls = request.app[SANDBOX].calls.last(request.query.get("service", ""))
    shown = [{**dataclasses.asdict(call), "at": call.at.isoformat()} for call in calls]
    return web.json_response({"calls": shown})


async def _notifications(request: web.Request) -> web.Response:
    history = request.app[SANDBOX].yookassa.notifier.history
    shown = [{**dataclasses.asdict(sent), "at": sent.at.isoformat()} for sent in history]
    return web.json_response({"notifications": shown})


async def _notification_url(request: web.Request) -> web.Response:
    try:
        url = (await _json(request)).get("url")
    except FaultRefused as refused:
        return _bad(str(refused), refused.parameter)
    if not isinstance(url, str) or not re.fullmatch(r"https?://\S+", url):
        return _bad("url: an http(s) address is wanted", "url")
    request.app[SANDBOX].yookassa.notifier.url = url
    return web.json_response({"url": url})


async def _reset(request: web.Request) -> web.Response:
    sandbox = request.app[SANDBOX]
    sandbox.faults.forget()
    sandbox.calls.clear()
    sandbox.yookassa.shop.clear()
    await sandbox.yookassa.notifier.clear()
    sandbox.telegram.reset()
    return web.json_response({"ok": True})


async def _json(request: web.Request) -> dict[str, Any]:
    try:
        body = json.loads(await request.text() or "{}")
    except (ValueError, LookupError, RecursionError):  # LookupError: a charset that is none
        raise FaultRefused("body", "JSON is wanted") from None
    if not isinstance(body, dict):
        raise FaultRefused("body", "a JSON object is wanted")
    return body


def _checked(body: dict[str, Any]) -> dict[str, Any]:
    """The known fields with values of the right type; null is as good as absent."""
    for name, value in body.items():
        if name not in _FIELDS:
            raise FaultRefused(name, f"unknown; one of: {', '.join(_FIELDS)}")
        kinds = _FIELDS[name]
        if value is not None and (not isinstance(value, kinds) or isinstance(value, bool)):
            raise FaultRefused(name, f"{kinds[0].__name__} is wanted")
        if isinstance(value, int) and abs(value) > NUMBER_MAX:  # more than a float may hold
            raise FaultRefused(name, f"no more than {NUMBER_MAX} is wanted")
    return {name: value for name, value in body.items() if value is not None}


def _bad(problem: str, parameter: str) -> web.Response:
    return web.json_response({"error": problem, "parameter": parameter}, status=400)

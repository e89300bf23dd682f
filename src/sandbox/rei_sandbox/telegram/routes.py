"""The Bot API at `/bot{token}/{method}`, and files at `/file/bot{token}/{path}`.

Order of checks, as at the real one: token, method, then what a fault breaks, then parameters.
`done_no_answer` carries the call out, waits `delay_seconds` and cuts the connection; `hang` does
nothing. A method called in the answer to a webhook gets no answer, and no fault.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

from aiohttp import web

from rei_sandbox.calls import Calls
from rei_sandbox.faults import HTTP_KINDS, TELEGRAM_FILE, Fault, Faults
from rei_sandbox.telegram import control
from rei_sandbox.telegram.errors import (
    BotApiError,
    blocked_by_user,
    too_many_requests,
    whole_seconds,
)
from rei_sandbox.telegram.files import StoredFile
from rei_sandbox.telegram.methods import METHODS, Method
from rei_sandbox.telegram.params import Params, read_params
from rei_sandbox.telegram.state import TelegramState
from rei_sandbox.wire import drop, hang

RETRY_AFTER_SECONDS: Final = 3.0
"""What a `rate_limited` fault asks for when it has no delay of its own."""


def setup(app: web.Application, *, faults: Faults, calls: Calls, state: TelegramState) -> None:
    """Add the Bot API, and its control at `/_sandbox/telegram/`, to `app`."""
    api = Api(faults, calls, state)
    state.reply_hook = api.reply
    app.router.add_route("GET", "/bot{token}/{method}", api.call)
    app.router.add_route("POST", "/bot{token}/{method}", api.call)
    app.router.add_get("/file/bot{token}/{path:.+}", api.file)
    control.setup(app, state=state)


class Api:
    """Each call, and what is common to all of them."""

    def __init__(self, faults: Faults, calls: Calls, state: TelegramState) -> None:
        self._faults = faults
        self._calls = calls
        self._state = state

    async def call(self, request: web.Request) -> web.StreamResponse:
        """A method over HTTP."""
        method: Method | None = None
        params, fault, outcome = Params({}, {}), None, "ok"
        try:
            self._state.authorize(request.match_info["token"])
            method = _method(request.match_info["method"])
            params = await read_params(request)
            fault = self._fault(method, params)
            if fault is not None and fault.kind == "hang":
                return await hang(request, seconds=fault.delay_seconds)
            _refuse(fault)
            result = await method.action(self._state, params)
            return await _sent(request, _answer(result), fault)
        except BotApiError as refused:
            outcome = str(refused.error_code)
            return await _sent(request, _refusal(refused), fault)
        finally:
            self._record(method, params, f"fault:{fault.kind}" if fault else outcome)

    async def file(self, request: web.Request) -> web.StreamResponse:
        """The bytes of a file, by the path that getFile gave."""
        path, fault, outcome = request.match_info["path"], None, "ok"
        try:
            self._state.authorize(request.match_info["token"])
            fault = self._faults.take("telegram", TELEGRAM_FILE, kinds=HTTP_KINDS)
            if fault is not None and fault.kind == "hang":
                return await hang(request, seconds=fault.delay_seconds)
            _refuse(fault)
            data = self._file(path).data
            answer = web.Response(body=data, content_type="application/octet-stream")
            return await _sent(request, answer, fault)
        except BotApiError as refused:
            outcome = str(refused.error_code)
            return await _sent(request, _refusal(refused), fault)
        finally:
            outcome = f"fault:{fault.kind}" if fault else outcome
            self._calls.record("telegram", TELEGRAM_FILE, outcome, detail=path)

    async def reply(self, params: Params) -> None:
        """Carry out the call that a bot put into its answer to a webhook."""
        method: Method | None = None
        outcome = "ok"
        try:
            method = _method(params.text("method"))
            await method.action(self._state, params)
        except BotApiError as refused:
            outcome = str(refused.error_code)
        finally:
            self._record(method, params, outcome)

    def _fault(self, method: Method, params: Params) -> Fault | None:
        kinds = (*HTTP_KINDS, "blocked") if method.writes else HTTP_KINDS
        subject = params.text("chat_id")
        return self._faults.take("telegram", method.name, subject=subject, kinds=kinds)

    def _file(self, path: str) -> StoredFile:
        file = self._state.files.by_path(path)
        if file is None:
            raise BotApiError(404, "Not Found")
        return file

    def _record(self, method: Method | None, params: Params, outcome: str) -> None:
        name = method.name if method else "unknown"
        detail = params.text("text") or params.text("caption")
        self._calls.record(
            "telegram", name, outcome, subject=params.text("chat_id")[:32], detail=detail
        )


def _method(name: str) -> Method:
    method = METHODS.get(name.lower())
    if method is None:
        raise BotApiError(404, "Not Found: method not found")
    return method


def _refuse(fault: Fault | None) -> None:
    """Raise what the fault wants, if it is a refusal."""
    match fault.kind if fault is not None else "":
        case "rate_limited":
            assert fault is not None
            raise too_many_requests(fault.delay_seconds or RETRY_AFTER_SECONDS)
        case "unavailable":
            raise BotApiError(502, "Bad Gateway")
        case "internal":
            raise BotApiError(500, "Internal Server Error")
        case "blocked":
            raise blocked_by_user()


def _answer(result: Any) -> web.Response:
    return web.json_response({"ok": True, "result": result})


def _refusal(refused: BotApiError) -> web.Response:
    wait = refused.retry_after_seconds
    headers = {} if wait is None else {"Retry-After": str(whole_seconds(wait))}
    return web.json_response(refused.body(), status=refused.error_code, headers=headers)


async def _sent(
    request: web.Request, answer: web.Response, fault: Fault | None
) -> web.StreamResponse:
    """The answer on the wire, or the cut that a fault wants instead."""
    if fault is None or fault.kind != "done_no_answer":
        return answer
    await asyncio.sleep(fault.delay_seconds)
    return drop(request)

"""Gemini, Telegram and YooKassa, as much of each as a benchmark asks for, answering at once.

Gemini sleeps first, for as long as `POST /control/reset` said. It remembers when each call began
and ended: that is how the jobs of any queue are timed from outside.
"""

from __future__ import annotations

import asyncio
import base64
import io
import itertools
import time
from typing import Any

import uvloop
from aiohttp import web
from PIL import Image

from rei_bench.programs import config, tell

CALLS_MAX = 100_000
AMOUNT_RUBLES = "200.00"


class StandIns:
    """The three of them on one port."""

    def __init__(self) -> None:
        self._seconds = 0.0
        self._began: list[float] = []
        self._ended: list[float] = []
        self._ids = itertools.count(1)
        self._answer = gemini_answer()

    async def generate(self, request: web.Request) -> web.Response:
        if len(self._began) >= CALLS_MAX:
            raise web.HTTPTooManyRequests
        self._began.append(time.time())
        await request.read()
        await asyncio.sleep(self._seconds)
        self._ended.append(time.time())
        return web.json_response(self._answer)

    async def telegram(self, request: web.Request) -> web.Response:
        method = request.match_info["method"]
        form = await request.post()
        result: Any = True
        if method.startswith(("send", "edit")):
            result = self._message(method, int(str(form.get("chat_id", 1))))
        return web.json_response({"ok": True, "result": result})

    def _message(self, method: str, chat_id: int) -> dict[str, Any]:
        number = next(self._ids)
        file = {"file_id": f"file-{number}", "file_unique_id": f"unique-{number}"}
        message: dict[str, Any] = {
            "message_id": number,
            "date": int(time.time()),
            "chat": {"id": chat_id, "type": "private"},
        }
        if method == "sendPhoto":
            message["photo"] = [{**file, "width": 8, "height": 8}]
        elif method == "sendDocument":
            message["document"] = file
        return message

    async def payment(self, request: web.Request) -> web.Response:
        return web.json_response(
            {
                "id": request.match_info["id"],
                "status": "succeeded",
                "paid": True,
                "amount": {"value": AMOUNT_RUBLES, "currency": "RUB"},
                "created_at": "2026-11-24T10:51:18.139Z",
                "captured_at": "2026-11-24T10:52:18.139Z",
                "refundable": True,
                "test": False,
                "metadata": {},
            }
        )

    async def reset(self, request: web.Request) -> web.Response:
        self._seconds = float((await request.json())["seconds"])
        self._began, self._ended = [], []
        return web.json_response({})

    async def calls(self, request: web.Request) -> web.Response:
        del request
        return web.json_response({"began": self._began, "ended": self._ended})


def gemini_answer() -> dict[str, Any]:
    """A picture as Gemini answers it."""
    picture = io.BytesIO()
    Image.new("RGB", (8, 8), "orange").save(picture, "PNG")
    data = base64.b64encode(picture.getvalue()).decode()
    part = {"inlineData": {"mimeType": "image/png", "data": data}}
    content = {"role": "model", "parts": [part]}
    return {
        "candidates": [{"content": content, "finishReason": "STOP", "index": 0}],
        "responseId": "bench",
    }


async def main() -> None:
    standins = StandIns()
    app = web.Application()
    app.router.add_post("/v1beta/models/{call}", standins.generate)
    app.router.add_route("*", "/bot{token}/{method}", standins.telegram)
    app.router.add_get("/yookassa/v3/payments/{id}", standins.payment)
    app.router.add_post("/control/reset", standins.reset)
    app.router.add_get("/control/calls", standins.calls)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", config()["port"], backlog=2048).start()
    tell("ready")
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(main())

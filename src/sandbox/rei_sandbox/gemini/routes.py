"""The API at `/gemini/v1beta` (and `/gemini/v1`, which Google's own SDK uses by default).

Order of checks, as at the real one: key, then what a fault breaks, then model and request.
`done_no_answer` makes the picture, counts it as made, waits `delay_seconds` and cuts the
connection; `hang` makes nothing; `slow` takes `delay_seconds` longer. Only what
was really made is counted as `ok` or as its block.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import random
from collections.abc import Awaitable, Callable
from typing import Any, Final

from aiohttp import web

from rei_sandbox.calls import Calls
from rei_sandbox.faults import Fault, Faults
from rei_sandbox.gemini import answers, errors
from rei_sandbox.gemini.drawing import draw
from rei_sandbox.gemini.errors import GeminiRefusal
from rei_sandbox.gemini.models import MODELS, Model
from rei_sandbox.gemini.requests import Prompt, prompt_of
from rei_sandbox.settings import SandboxSettings
from rei_sandbox.wire import drop, hang

BASE: Final = "/gemini/{version:v1|v1beta}"
DRAWING_MAX: Final = 2
"""Pictures drawn at a time: a 4K one takes 50 MB while it is drawn."""
PAGE_SIZE_DEFAULT: Final = 50

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Json = dict[str, Any]


def setup(app: web.Application, *, settings: SandboxSettings, faults: Faults, calls: Calls) -> None:
    """Add the API's routes to `app`."""
    api = Api(settings, faults, calls)
    app.router.add_get(f"{BASE}/models", api.handler("probe", api.list_models))
    app.router.add_get(f"{BASE}/models/{{model}}", api.handler("probe", api.get_model))
    app.router.add_post(
        f"{BASE}/models/{{model}}:generateContent", api.handler("generate", api.generate)
    )


class Api:
    """Each call of the API, and what is common to all of them."""

    def __init__(self, settings: SandboxSettings, faults: Faults, calls: Calls) -> None:
        self._settings = settings
        self._faults = faults
        self._calls = calls
        self._jitter = random.Random(settings.seed)
        self._drawing = asyncio.Semaphore(DRAWING_MAX)

    def handler(
        self, operation: str, action: Callable[[web.Request, Fault | None], Awaitable[Any]]
    ) -> Handler:
        """The HTTP handler that carries out `action`."""

        async def handle(request: web.Request) -> web.StreamResponse:
            model = request.match_info.get("model", "")
            fault: Fault | None = None
            outcome = "ok"
            try:
                self._authenticate(request)
                fault = self._faults.take("gemini", operation, subject=model)
                if fault is not None and fault.kind == "hang":
                    return await hang(request, seconds=fault.delay_seconds)
                _refuse(fault, model, request.match_info["version"])
                answer = await action(request, fault)
                if isinstance(answer, web.StreamResponse):
                    return answer
                outcome = _outcome(answer)
                return await _sent(request, answer, fault)
            except GeminiRefusal as refusal:
                outcome = refusal.status.lower()
                return web.json_response(refusal.body(), status=refusal.code)
            finally:
                outcome = f"fault:{fault.kind}" if fault is not None else outcome
                self._calls.record("gemini", operation, outcome, subject=model)

        return handle

    async def list_models(self, request: web.Request, _fault: Fault | None) -> Json:
        size, start = request.query.get("pageSize", ""), request.query.get("pageToken", "0")
        if not start.isdigit() or (size and not size.isdigit()):
            raise errors.invalid_argument("Invalid page token or size")
        first, number = int(start), int(size or 0) or PAGE_SIZE_DEFAULT
        shown = list(MODELS.values())[first : first + number]
        answer: Json = {"models": [model.as_json() for model in shown]}
        if first + number < len(MODELS):
            answer["nextPageToken"] = str(first + number)
        return answer

    async def get_model(self, request: web.Request, _fault: Fault | None) -> Json:
        return _model(request, method="").as_json()

    async def generate(self, request: web.Request, fault: Fault | None) -> Json:
        model = _model(request, method="generateContent")
        body = _json(await request.text())
        prompt = await asyncio.to_thread(prompt_of, body, model)
        await self._work(model)
        if fault is not None and fault.kind == "slow":
            await asyncio.sleep(fault.delay_seconds)
        faulty = _faulty(fault, prompt, model)
        if faulty is not None:
            return faulty
        self._calls.record(
            "gemini", "made", model.id, subject=f"{prompt.ratio} {prompt.size}", detail=prompt.text
        )
        match answers.blocked_by(prompt):
            case "forbidden":
                return answers.forbidden(prompt, model)
            case "unsafe":
                return answers.unsafe(prompt, model)
            case "text":
                return answers.text_only(prompt, model)
        return answers.picture(prompt, model, await self._drawn(prompt, model))

    async def _drawn(self, prompt: Prompt, model: Model) -> bytes:
        width, height = model.dimensions(ratio=prompt.ratio, size=prompt.size)
        caption = f"{model.id} · {prompt.ratio} · {prompt.size} · {width}×{height}"
        shrink = min(1.0, self._settings.gemini_side_pixels_max / max(width, height))
        width, height = round(width * shrink), round(height * shrink)
        async with self._drawing:
            return await asyncio.to_thread(
                draw,
                prompt=prompt.text,
                caption=caption,
                width=width,
                height=height,
                inputs=prompt.inputs,
            )

    async def _work(self, model: Model) -> None:
        seconds = self._settings.gemini_latency_seconds * (2 if model.slow else 1)
        await asyncio.sleep(seconds * self._jitter.uniform(0.8, 1.2))

    def _authenticate(self, request: web.Request) -> None:
        key = request.headers.get("x-goog-api-key") or request.query.get("key")
        if not key:
            raise errors.api_key_missing()
        if not hmac.compare_digest(key.encode(), self._settings.gemini_api_key.encode()):
            raise errors.api_key_invalid()


def _refuse(fault: Fault | None, model: str, version: str) -> None:
    """Raise what the fault wants, if it is a refusal."""
    match fault.kind if fault is not None else "":
        case "rate_limited":
            raise errors.rate_limited(fault.delay_seconds if fault is not None else 0)
        case "quota_exhausted":
            raise errors.quota_exhausted(model)
        case "unavailable":
            raise errors.unavailable()
        case "internal":
            raise errors.internal()
        case "bad_key":
            raise errors.api_key_invalid()
        case "model_gone":
            raise errors.model_not_found(model, version=version, method="generateContent")


def _faulty(fault: Fault | None, prompt: Prompt, model: Model) -> Json | None:
    """An answer with HTTP 200 that holds no picture, if the fault wants one."""
    match fault.kind if fault is not None else "":
        case "blocked":
            return answers.forbidden(prompt, model)
        case "no_image":
            return answers.no_image(prompt, model)
        case "not_an_image":
            return answers.picture(prompt, model, b"this is not a picture")
    return None


async def _sent(request: web.Request, answer: Json, fault: Fault | None) -> web.StreamResponse:
    """The answer on the wire, or what a fault makes of it."""
    kind = fault.kind if fault is not None else ""
    if fault is not None and kind == "done_no_answer":
        await asyncio.sleep(fault.delay_seconds)
        return drop(request)
    text = json.dumps(answer, ensure_ascii=False)
    if kind == "truncated":
        text = text[: max(1, len(text) // 2)]
    if kind == "garbage":
        return web.Response(text="<!doctype html><title>Error</title>", content_type="text/html")
    return web.Response(text=text, content_type="application/json")


def _model(request: web.Request, *, method: str) -> Model:
    name = request.match_info["model"]
    model = MODELS.get(name)
    if model is None:
        raise errors.model_not_found(name, version=request.match_info["version"], method=method)
    return model


def _json(text: str) -> Json:
    try:
        body = json.loads(text)
    except ValueError:
        raise errors.invalid_argument("Invalid JSON payload received.") from None
    if not isinstance(body, dict):
        raise errors.invalid_argument("Invalid JSON payload received. An object is wanted.")
    return body


def _outcome(answer: Json) -> str:
    """What to count an answer as: ok, blocked, image_safety, no_image."""
    if "promptFeedback" in answer:
        return "blocked"
    reason = str(answer.get("candidates", [{}])[0].get("finishReason", "STOP")).lower()
    return "ok" if reason == "stop" else reason

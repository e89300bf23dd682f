"""docs/api against the code: the same routes, and no answer to generated requests but those described.

The requests are schemathesis': what fits the description, and what just does not. They go over
real HTTP to a running bot and a running sandbox.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
import schemathesis
from aiohttp import web
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from rei_bot.process import BotProcess
from rei_core.ledger.audit import audit
from rei_sandbox.app import Running, build_app, running
from rei_sandbox.settings import SandboxSettings

from ..bot_process.conftest import SECRET, SECRET_HEADER, Rei, Stage
from .profiles import PROFILE, SECONDS_MAX

pytestmark = pytest.mark.timeout(SECONDS_MAX)

DOCS = Path(__file__).parents[3] / "docs" / "api"
BOT = schemathesis.openapi.from_path(DOCS / "bot.yaml")
SANDBOX = schemathesis.openapi.from_path(DOCS / "sandbox.yaml")
ENDLESS = "/_sandbox/chat/events"
"""A stream without an end: no request that ends."""
MODES = [GenerationMode.POSITIVE, GenerationMode.NEGATIVE]
ANSWER_SECONDS_MAX = 60

Case = schemathesis.Case[Any]
Ready = Callable[[Case], None]
CONFORMANCE = [status_code_conformance, content_type_conformance, response_schema_conformance]


def operations(schema: Any) -> dict[tuple[str, str], Any]:
    """Each described operation by (method, path)."""
    found = [result.ok() for result in schema.get_all_operations()]
    return {(operation.method.upper(), operation.path): operation for operation in found}


def routes(app: web.Application) -> set[tuple[str, str]]:
    """(method, path) of what an application answers; HEAD comes with each GET."""
    return {
        (route.method, route.resource.canonical)
        for route in app.router.routes()
        if route.resource is not None and route.method != "HEAD"
    }


def bots_routes(process: BotProcess) -> set[tuple[str, str]]:
    return routes(process._webhooks._runner.app) | routes(process._status._runner.app)


async def throw(operation: Any, base_url: str, *, ready: Ready = lambda case: None) -> int:
    """Generated requests at one operation; how many of them were taken (2xx)."""
    taken = 0

    def examine(case: Case) -> None:
        nonlocal taken
        ready(case)
        response = case.call(base_url=base_url, timeout=ANSWER_SECONDS_MAX)
        assert response.status_code < 500 or response.status_code == 503
        case.validate_response(response, checks=CONFORMANCE)
        taken += response.status_code < 300

    takes_something = operation.body or any(True for _ in operation.iter_parameters())
    for mode in MODES if takes_something else MODES[:1]:
        test = given(case=operation.as_strategy(generation_mode=mode))(examine)
        # In a thread of its own, as the server is in this one.
        await asyncio.to_thread(hypothesis_settings(PROFILE, max_examples=50)(test))
    return taken


async def test_the_bots_description_has_the_bots_routes(stage: Stage) -> None:
    async with stage.bot() as rei:
        assert set(operations(BOT)) == bots_routes(rei.process)


def test_the_sandboxs_description_has_the_sandboxs_routes() -> None:
    found = routes(build_app(SandboxSettings()))
    steering = {(method, path) for method, path in found if path.startswith("/_sandbox/")}
    assert set(operations(SANDBOX)) == steering


@pytest.mark.parametrize("operation", operations(BOT).values(), ids=str)
async def test_the_bot_answers_as_described(stage: Stage, operation: Any) -> None:
    def show_the_secret(case: Case) -> None:
        case.headers[SECRET_HEADER] = SECRET

    await stage.customer()
    async with running(SandboxSettings(port=0)) as sandbox, stage_of(stage, sandbox).bot() as rei:
        webhooks, status = str(rei.http.base_url), str(rei.status.base_url)
        is_webhook = operation.path.startswith("/webhook/")
        taken = await throw(
            operation,
            webhooks if is_webhook else status,
            ready=show_the_secret if "telegram" in operation.path else lambda case: None,
        )
        assert taken > 0
        await _all_is_well(stage, rei)


async def test_the_bot_believes_nobody_without_the_secret(stage: Stage) -> None:
    def hide_the_secret(case: Case) -> None:
        case.headers.pop(SECRET_HEADER, None)

    operation = operations(BOT)["POST", "/webhook/telegram"]
    async with stage.bot() as rei:
        assert await throw(operation, str(rei.http.base_url), ready=hide_the_secret) == 0
        assert await stage.count("telegram_updates") == 0
        await _all_is_well(stage, rei)


def stage_of(stage: Stage, sandbox: Running) -> Stage:
    """The stage with a YooKassa that knows none of the payments that are spoken of."""
    stage.yookassa_url = f"{sandbox.url}/yookassa/v3"
    return stage


async def _all_is_well(stage: Stage, rei: Rei) -> None:
    """The process lives and works, no money has moved, and the books are clean."""
    assert (await rei.status.get("/readyz")).status_code == 200
    assert await rei.post_update(stage.telegram.message("/help")) == 200
    assert await stage.count("jobs") == 0
    assert await stage.count("transfers WHERE kind <> 'adjustment'") == 0
    async with stage.pool.acquire() as connection:
        assert (await audit(connection)).violations == ()


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/json; charset=no-such", b'{"service": "gemini"}'),
        ("application/json", b"[" * 100_000),
        ("application/json", b"\xff\xfe"),
        (
            "application/json",
            b'{"service": "gemini", "kind": "hang", "count": 1' + b"0" * 400 + b"}",
        ),
        (
            "application/json",
            b'{"service": "gemini", "kind": "hang", "delay_seconds": 1' + b"0" * 400 + b"}",
        ),
        ("application/json", b'{"service": "gemini", "kind": "hang", "delay_seconds": NaN}'),
    ],
)
async def test_a_fault_ordered_oddly_is_refused(content_type: str, body: bytes) -> None:
    """What no schema leads a generator to."""
    async with (
        running(SandboxSettings(port=0)) as sandbox,
        httpx.AsyncClient(trust_env=False) as http,
    ):
        answer = await http.post(
            f"{sandbox.url}/_sandbox/faults", content=body, headers={"Content-Type": content_type}
        )
        assert answer.status_code == 400
        assert set(answer.json()) == {"error", "parameter"}
        assert sandbox.sandbox.faults.active() == ()


@pytest.mark.parametrize(
    "operation",
    [each for (_method, path), each in operations(SANDBOX).items() if path != ENDLESS],
    ids=str,
)
async def test_the_sandbox_answers_as_described(operation: Any) -> None:
    async with running(SandboxSettings(port=0)) as sandbox:
        users = sandbox.sandbox.telegram
        user_id = users.add_user("Аня", "ru").user_id

        def of_somebody(case: Case) -> None:
            if "user_id" in (case.path_parameters or {}) and case.meta is not None:
                case.path_parameters["user_id"] = user_id

        await throw(operation, sandbox.url)
        await throw(operation, sandbox.url, ready=of_somebody)
        assert sandbox.sandbox.calls.last() == []  # the control is none of the stand-ins' calls

"""Nothing but the webhooks answers on the port that the world reaches, whatever the path is."""

from __future__ import annotations

import pytest
from aiohttp import web

from ..bot_process.conftest import SECRET, SECRET_HEADER, Stage
from .conftest import ask

NOWHERE = (
    "/", "//", "/metrics", "//metrics", "///metrics", "/metrics/", "/metrics?x=1", "/metrics;x",
    "/METRICS", "/%6detrics", "/%2fmetrics", "/./metrics", "/.//metrics", "/metrics%00",
    "/metrics%20", "/metrics#x", "\\metrics", "/\\metrics",
    "/webhook", "/webhook/", "/webhook/../metrics", "/webhook/./../metrics",
    "/webhook/%2e%2e/metrics", "/webhook/..%2fmetrics", "/webhook/%2e%2e%2fmetrics",
    "/webhook/..;/metrics", "/webhook/..\\metrics", "/webhook/telegram/../../metrics",
    "/webhook/telegram/metrics", "/webhook/yookassa/metrics", "/webhook/yookassa/..%2f..%2fmetrics",
    "/healthz", "//healthz", "/webhook/../healthz", "/readyz", "/webhook/%2e%2e/readyz",
    "http://127.0.0.1/metrics", "http://127.0.0.1:8082/metrics", "127.0.0.1:8082", "*",
    "/webhook/telegram/", "/webhook//telegram", "/Webhook/telegram", "/_sandbox/state",
    "/debug", "/admin", "/docs", "/openapi.json", "/static/../../etc/passwd",
    "/..%2f..%2f..%2fetc/passwd", "/.env", "/.git/config", "/favicon.ico",
)  # fmt: skip
METHODS = (
    "GET",
    "HEAD",
    "POST",
    "PUT",
    "PATCH",
    "DELETE",
    "OPTIONS",
    "TRACE",
    "CONNECT",
    "METRICS",
)
CLOSED = {400, 404, 405}
TELLTALES = (b"rei_bot_", b"# HELP", b"database", b"root:", b"Traceback", b"aiohttp.web_")


async def test_the_public_ports_routes_are_the_webhooks_and_no_more(stage: Stage) -> None:
    async with stage.bot() as rei:
        assert _routes(rei.process._webhooks._runner) == {
            ("POST", "/webhook/telegram"),
            ("POST", "/webhook/yookassa"),
        }
        assert _routes(rei.process._status._runner) == {
            (method, path)
            for method in ("GET", "HEAD")
            for path in ("/healthz", "/readyz", "/metrics")
        }


async def test_no_trick_with_the_path_leads_anywhere(stage: Stage) -> None:
    async with stage.bot() as rei:
        for target in NOWHERE:
            for method in ("GET", "POST"):
                status, answer = await ask(rei.process.port, target, method=method)
                assert status in CLOSED, (method, target, status)
                assert not any(word in answer for word in TELLTALES), (method, target, answer)
        assert (await rei.status.get("/metrics")).status_code == 200


async def test_no_method_opens_what_get_does_not(stage: Stage) -> None:
    async with stage.bot() as rei:
        for method in METHODS:
            for target in ("/metrics", "/healthz", "/readyz", "/webhook/", "/"):
                status, answer = await ask(rei.process.port, target, method=method)
                assert status in CLOSED, (method, target, status)
                assert not any(word in answer for word in TELLTALES), (method, target)
        for method in METHODS:
            if method != "POST":
                for target in ("/webhook/telegram", "/webhook/yookassa"):
                    status, _answer = await ask(rei.process.port, target, method=method)
                    assert status in CLOSED, (method, target, status)


async def test_no_header_of_a_proxy_leads_to_another_path(stage: Stage) -> None:
    async with stage.bot() as rei:
        for name in (
            "X-Original-URL", "X-Rewrite-URL", "X-Forwarded-Prefix", "X-Forwarded-Path",
            "X-HTTP-Method-Override", "X-Forwarded-Host", "Forwarded",
        ):  # fmt: skip
            value = "GET" if name.endswith("Override") else "/metrics"
            headers = f"{name}: {value}\r\n".encode()
            for target, method in (("/", "GET"), ("/webhook/telegram", "POST")):
                status, answer = await ask(rei.process.port, target, method=method, headers=headers)
                assert status in {*CLOSED, 401}, (name, target, status)
                assert b"rei_bot_" not in answer


async def test_while_polling_there_is_no_way_in_for_updates(stage: Stage) -> None:
    async with stage.bot("polling") as rei:
        assert _routes(rei.process._webhooks._runner) == {("POST", "/webhook/yookassa")}
        update = stage.telegram.message("/help")
        assert await rei.post_update(update, secret=SECRET) == 404


async def test_the_own_networks_port_takes_no_webhooks(stage: Stage) -> None:
    async with stage.bot() as rei:
        for path in ("/webhook/telegram", "/webhook/yookassa"):
            answer = await rei.status.post(path, json={}, headers={SECRET_HEADER: SECRET})
            assert answer.status_code == 404
        for path in ("/metrics", "/healthz", "/readyz"):
            for method in ("POST", "PUT", "DELETE"):
                assert (await rei.status.request(method, path)).status_code == 405


@pytest.mark.parametrize("target", ["/webhook/telegram", "/webhook/yookassa", "/metrics"])
async def test_an_answer_tells_nothing_about_what_is_behind(stage: Stage, target: str) -> None:
    async with stage.bot() as rei:
        for method in ("GET", "POST"):
            _status, answer = await ask(rei.process.port, target, method=method, body=b"{")
            for word in (SECRET, stage.database_url, "postgres", "File ", "rei_core", "asyncpg"):
                assert word.encode() not in answer


def _routes(runner: web.AppRunner) -> set[tuple[str, str]]:
    return {
        (route.method, route.resource.canonical if route.resource else "")
        for route in runner.app.router.routes()
    }

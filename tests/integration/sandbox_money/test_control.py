"""Faults by HTTP and by the command line, the state, the reset."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from click.testing import CliRunner, Result

from rei_sandbox.app import Running
from rei_sandbox.cli import sandbox as command

YOOKASSA = "/yookassa/v3/me"
AUTH = ("100500", "test_sandbox_secret_key")


async def rei_sandbox(*words: str, **environment: str) -> Result:
    """Run `rei sandbox WORDS`, off the loop on which the sandbox itself runs."""
    return await asyncio.to_thread(CliRunner().invoke, command, words, env=environment)


async def test_it_is_up(http: httpx.AsyncClient) -> None:
    assert (await http.get("/_sandbox/healthz")).json() == {"ok": True}


@pytest.mark.parametrize(
    ("kind", "status"), [("rate_limited", 429), ("internal", 500), ("unavailable", 503)]
)
async def test_an_ordered_fault_happens_once(
    http: httpx.AsyncClient, kind: str, status: int
) -> None:
    made = await http.post("/_sandbox/faults", json={"service": "yookassa", "kind": kind})
    assert made.status_code == 201
    assert (await http.get(YOOKASSA, auth=AUTH)).status_code == status
    assert (await http.get(YOOKASSA, auth=AUTH)).status_code == 200
    answer = (await http.get("/_sandbox/faults")).json()
    assert answer["waiting"] == []
    assert answer["taken"] == {f"yookassa.{kind}": 1}


async def test_a_fault_needs_valid_credentials_to_be_used_up(http: httpx.AsyncClient) -> None:
    await http.post("/_sandbox/faults", json={"service": "yookassa", "kind": "internal"})
    assert (await http.get(YOOKASSA)).status_code == 401
    assert (await http.get(YOOKASSA, auth=AUTH)).status_code == 500


@pytest.mark.parametrize(
    ("body", "parameter", "words"),
    [
        ({"service": "stripe", "kind": "hang"}, "service", "telegram, yookassa, gemini"),
        ({"service": "gemini", "kind": "lost"}, "kind", "not_an_image"),
        ({"service": "yookassa", "kind": "hang", "operation": "pay"}, "operation", "create"),
        ({"service": "yookassa", "kind": "lost", "operation": "get"}, "operation", "notification"),
        ({"service": "yookassa", "kind": "hang", "operation": "notification"}, "kind", "forged"),
        ({"service": "gemini", "kind": "hang", "count": 0}, "count", "between 1"),
        ({"service": "gemini", "kind": "hang", "count": "3"}, "count", "int"),
        ({"service": "gemini", "kind": "hang", "count": True}, "count", "int"),
        ({"service": "gemini", "kind": "hang", "delay_seconds": -1}, "delay_seconds", "between"),
        ({"service": "gemini", "kind": "hang", "times": 3}, "times", "unknown"),
        ([], "body", "object"),
    ],
)
async def test_a_mistyped_fault_is_refused_with_what_is_allowed(
    http: httpx.AsyncClient, body: Any, parameter: str, words: str
) -> None:
    answer = await http.post("/_sandbox/faults", json=body)
    assert (answer.status_code, answer.json()["parameter"]) == (400, parameter)
    assert words in answer.json()["error"]


async def test_a_payment_may_hang_and_is_not_made(
    shop: httpx.AsyncClient, payment: Callable[..., dict[str, Any]], sandbox: Running
) -> None:
    sandbox.sandbox.faults.add("yookassa", "hang", operation="create")
    key = {"Idempotence-Key": "key"}
    with pytest.raises(httpx.ReadTimeout):
        await shop.post("/payments", json=payment(), headers=key, timeout=httpx.Timeout(10, read=1))
    assert sandbox.sandbox.yookassa.shop.payments == {}
    assert (await shop.post("/payments", json=payment(), headers=key)).status_code == 200


@pytest.mark.parametrize("operation", ["create", "get", "list", "refund", "cancel", "capture"])
async def test_each_operation_has_faults_of_its_own(
    shop: httpx.AsyncClient, sandbox: Running, operation: str
) -> None:
    sandbox.sandbox.faults.add("yookassa", "rate_limited", operation=operation)
    calls = {
        "create": ("POST", "/payments"),
        "get": ("GET", "/payments/any"),
        "list": ("GET", "/payments"),
        "refund": ("POST", "/refunds"),
        "cancel": ("POST", "/payments/any/cancel"),
        "capture": ("POST", "/payments/any/capture"),
    }
    got = {name: (await shop.request(*call, json={})).status_code for name, call in calls.items()}
    assert [name for name, status in got.items() if status == 429] == [operation]


async def test_the_state_counts_and_the_reset_forgets(
    http: httpx.AsyncClient,
    shop: httpx.AsyncClient,
    payment: Callable[..., dict[str, Any]],
    receiver: Any,
) -> None:
    key = {"Idempotence-Key": "key"}
    made = (await shop.post("/payments", json=payment(), headers=key)).json()
    await http.post(f"/pay/{made['id']}", data={"action": "pay"})
    await receiver.wait_for(1)
    await http.get("/_sandbox/healthz")  # the notification's answer has been read by now
    state = (await http.get("/_sandbox/state")).json()
    assert state["payments"] == {"succeeded": 1, "total": 1, "refunds": 0}
    assert state["notifications"]["sent"] == 1
    assert state["calls"]["yookassa"]["create"] == {"ok": 1}
    calls = (await http.get("/_sandbox/calls", params={"service": "yookassa"})).json()["calls"]
    assert calls[0]["operation"] == "create"
    assert "test_sandbox_secret_key" not in str(calls)
    assert (await http.post("/_sandbox/reset")).json() == {"ok": True}
    state = (await http.get("/_sandbox/state")).json()
    assert (state["calls"], state["payments"]["total"]) == ({}, 0)
    assert (await shop.get(f"/payments/{made['id']}")).status_code == 404


async def test_the_command_orders_shows_and_drops(
    sandbox: Running, http: httpx.AsyncClient
) -> None:
    url = ("--url", sandbox.url)
    ordered = await rei_sandbox(
        "fault", "gemini", "rate_limited", "--count", "2", "--delay", "7", *url
    )
    assert ordered.exit_code == 0, ordered.output
    assert ordered.output == "ordered: gemini rate_limited of * ×2 after 7 s\n"
    await rei_sandbox("fault", "yookassa", "internal", *url)
    assert (await http.get(YOOKASSA, auth=AUTH)).status_code == 500
    shown = await rei_sandbox("faults", REI_SANDBOX_URL=sandbox.url)
    assert "waiting: gemini rate_limited of * ×2" in shown.output
    assert "happened: yookassa.internal ×1" in shown.output
    assert "dropped: 1" in (await rei_sandbox("clear", *url)).output
    assert sandbox.sandbox.faults.active() == ()


async def test_the_command_says_what_is_wrong(sandbox: Running) -> None:
    wrong = await rei_sandbox("fault", "gemini", "lost", "--url", sandbox.url)
    assert wrong.exit_code == 1
    assert "gemini has no 'lost'; one of: rate_limited" in wrong.output
    nobody = await rei_sandbox("faults", "--url", "http://127.0.0.1:9")
    assert nobody.exit_code == 1
    assert "Start one with `rei sandbox`" in nobody.output


async def test_it_serves_others_only_when_told_so(sandbox: Running) -> None:
    refused = await rei_sandbox(REI_SANDBOX_HOST="0.0.0.0")
    assert refused.exit_code == 1
    assert "rei sandbox --host 0.0.0.0" in refused.output
    port = sandbox.url.rsplit(":", 1)[1]
    taken = await asyncio.to_thread(
        subprocess.run,
        [
            sys.executable,
            "-c",
            f"from rei_sandbox.cli import sandbox; sandbox(['--port', '{port}'])",
        ],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert taken.returncode == 1
    assert "Choose another port with --port" in taken.stderr


async def test_it_serves_until_it_is_told_to_end() -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-u",
        "-c",
        "from rei_sandbox.cli import sandbox; sandbox(['--port', '0'])",
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        line = (await asyncio.wait_for(process.stdout.readline(), 30)).decode()
        url = line.split()[-1].rstrip("/")
        async with httpx.AsyncClient(base_url=url, trust_env=False) as client:
            assert (await client.get("/_sandbox/healthz")).json() == {"ok": True}
        process.terminate()
        assert await asyncio.wait_for(process.wait(), 10) == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


@pytest.mark.parametrize("words", [(), ("fault",), ("faults",), ("clear",)])
async def test_every_word_explains_itself(words: tuple[str, ...]) -> None:
    shown = await rei_sandbox(*words, "--help")
    assert shown.exit_code == 0
    assert len(shown.output) > 100

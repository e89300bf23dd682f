"""`rei operator` as a real process, over HTTP: kopf's watches, kubernetes.aio's calls, signals."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from rei_core.db import Pool
from rei_sandbox.services import free_port

DEADLINE_SECONDS = 90.0
PERIOD: dict[str, Any] = {"periodSeconds": 2_678_400}
STANDS_STILL = """
import runpy, sys
from rei_operator import operator, reconciler

async def run(self):
    while not self._stopping:
        await self._changed.wait()
        self._changed.clear()

operator.TICK_AGE_SECONDS_MAX = 1.0
reconciler.Reconciler.run = run
sys.argv[1:] = ["operator"]
runpy.run_module("rei_core", run_name="__main__")
"""
"""An operator whose reconciler's loop does not turn; all else of it goes on."""


async def until(what: Callable[[], Any]) -> None:
    """Poll until it is true; the deadline is the test's failure."""
    async with asyncio.timeout(DEADLINE_SECONDS):
        while not what():  # noqa: ASYNC110 - another process does it
            await asyncio.sleep(0.05)


class Process:
    """A running `rei operator`."""

    def __init__(self, process: asyncio.subprocess.Process, port: int, log: Path) -> None:
        self._process = process
        self._log = log
        self.url = f"http://127.0.0.1:{port}"

    async def get(self, path: str) -> httpx.Response | None:
        try:
            async with httpx.AsyncClient(timeout=10) as client:
                return await client.get(self.url + path)
        except httpx.TransportError:
            return None

    async def answers(self, path: str, status: int) -> httpx.Response:
        async with asyncio.timeout(DEADLINE_SECONDS):
            while True:
                answer = await self.get(path)
                if answer is not None and answer.status_code == status:
                    return answer
                await asyncio.sleep(0.1)

    async def end(self) -> int:
        if self._process.returncode is None:
            self._process.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(DEADLINE_SECONDS):
                return await self._process.wait()
        except TimeoutError:
            self._process.kill()
            raise

    async def died(self) -> int:
        async with asyncio.timeout(DEADLINE_SECONDS):
            return await self._process.wait()

    def log(self) -> str:
        return self._log.read_text()


Start = Callable[..., Any]


@pytest.fixture
def start(database_url: str, kubeconfig: Path, tmp_path: Path) -> Start:
    """Starts operators."""

    @asynccontextmanager
    async def started(*python: str, **changes: str) -> AsyncIterator[Process]:
        port, log = free_port(), tmp_path / "operator.log"
        environment = os.environ | {
            "REI_DATABASE_URL": database_url,
            "YOOKASSA_SHOP_ID": "1",
            "YOOKASSA_SECRET_KEY": "test_secret-of-the-shop",
            "YOOKASSA_API_URL": "http://127.0.0.1:9",
            "KUBECONFIG": str(kubeconfig),
            "REI_NAMESPACE": "rei",
            "REI_OPERATOR_HOST": "127.0.0.1",
            "REI_OPERATOR_PORT": str(port),
            "REI_QUEUE_METRICS_SECONDS": "0.2",
            **changes,
        }
        with log.open("ab") as output:
            process = await asyncio.create_subprocess_exec(
                sys.executable, *(python or ("-m", "rei_core", "operator")),
                env=environment, stdout=output, stderr=output,
            )  # fmt: skip
        running = Process(process, port, log)
        try:
            yield running
        finally:
            await running.end()

    return started


@pytest.mark.timeout(400)
async def test_from_apply_to_status_and_back_to_nothing(
    pool: Pool, cluster: Any, api_server: Any, customer: int, start: Start
) -> None:
    before = cluster.apply("LedgerAudit", "before", PERIOD)
    async with start() as process:
        await until(lambda: cluster.condition(before, "Consistent")[0] == "True")
        await process.answers("/readyz", 200)
        after = cluster.apply("LedgerAudit", "after", PERIOD)
        spec = {"userID": 7, "amountKopecks": 50, "reason": "sorry", "operationID": "t-1"}
        ticket = cluster.apply("BalanceAdjustment", "ticket", spec)
        ban = cluster.apply("UserBan", "fraud", {"userID": 7, "reason": "fraud"})
        await until(lambda: cluster.condition(after, "Ready")[0] == "True")
        await until(lambda: cluster.condition(ticket, "Succeeded")[0] == "True")
        await until(lambda: cluster.status(ban).get("banned"))
        assert await pool.fetchval("SELECT balance_kopecks FROM balances") == 1050
        cluster.remove(ban)
        async with asyncio.timeout(DEADLINE_SECONDS):
            while await pool.fetchval("SELECT count(*) FROM user_bans"):  # noqa: ASYNC110 - a row has no event
                await asyncio.sleep(0.05)
        metrics = (await process.answers("/metrics", 200)).text
        assert 'rei_maintenance_runs_total{kind="LedgerAudit",result="succeeded"} 2.0' in metrics
        assert "rei_queue_queued 0.0" in metrics
        assert (await process.answers("/healthz", 200)).text == "ok"
        assert await process.end() == 0
        log = process.log()
    for secret in ("secret-of-the-shop", "token-of-the-test", "Traceback"):
        assert secret not in log
    for raw in cluster.objects.values():
        assert not raw["metadata"].get("finalizers")
        assert not raw["metadata"].get("annotations")
    patches = {one[2] for one in api_server.requests if one[0] == "PATCH"}
    assert patches == {"application/merge-patch+json"}


@pytest.mark.timeout(400)
async def test_killed_at_a_failpoint_the_next_process_ends_it(
    pool: Pool, cluster: Any, customer: int, start: Start
) -> None:
    spec = {"userID": 7, "amountKopecks": 50, "reason": "sorry", "operationID": "t-1"}
    ticket = cluster.apply("BalanceAdjustment", "ticket", spec)
    async with start(REI_FAILPOINT="BalanceAdjustment:adjust") as process:
        assert await process.died() == 137
    assert await pool.fetchval("SELECT balance_kopecks FROM balances") == 1050
    assert cluster.status(ticket) == {}
    async with start() as process:
        await until(lambda: cluster.condition(ticket, "Succeeded")[0] == "True")
    assert await pool.fetchval("SELECT balance_kopecks FROM balances") == 1050
    assert cluster.status(ticket)["balanceAfterKopecks"] == 1050
    assert cluster.events(ticket) == ["BalanceAdjusted"]


@pytest.mark.timeout(400)
async def test_without_a_cluster_it_says_so(start: Start, tmp_path: Path) -> None:
    async with start(KUBECONFIG=str(tmp_path / "none")) as process:
        assert await process.died() != 0
        log = process.log()
    assert "KUBECONFIG" in log
    assert "Traceback" not in log


@pytest.mark.usefixtures("api_server")
async def test_a_loop_that_stands_still_is_not_healthy(start: Start) -> None:
    """Kubernetes asks for it, and begins another operator."""
    async with start("-c", STANDS_STILL) as process:
        await process.answers("/healthz", 503)

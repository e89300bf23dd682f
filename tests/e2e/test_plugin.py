"""`kubectl rei` against pods: what looks runs in the operator's, what changes something is a resource."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from .forward import forwarded
from .outside import PORT
from .release import NAMESPACE, Release

PLUGIN = Path(sys.executable).with_name("kubectl-rei")
SECONDS_MAX = 200.0


@pytest.fixture
async def customer(release: Release) -> int:
    """Somebody who has said hello to the bot."""
    async with (
        forwarded(release.outside, "service/sandbox", PORT) as port,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}/_sandbox/telegram") as http,
        release.database() as pool,
    ):
        made = await http.post("/users", json={"first_name": "Ася", "language_code": "ru"})
        user: int = made.json()["user"]["id"]
        await http.post(f"/users/{user}/messages", json={"text": "/start"})
        async with asyncio.timeout(SECONDS_MAX):
            while not await pool.fetchval("SELECT 1 FROM balances WHERE user_id = $1", user):  # noqa: ASYNC110 - PostgreSQL has no event for it
                await asyncio.sleep(0.2)
    return user


async def test_the_shop_at_a_glance(release: Release) -> None:
    status = await rei(release, "status")
    assert status
    _, findings = await run(release, "doctor", "-o", "json")
    assert {"FAIL"}.isdisjoint(each["verdict"] for each in json.loads(findings)), findings


async def test_a_credit_sent_twice_is_given_once_and_a_debit_takes_it_back(
    release: Release, customer: int
) -> None:
    before = (await rei(release, "user", str(customer)))["balance_kopecks"]
    words = ("credit", str(customer), "300.50", "--reason", "ticket 17")
    for _ in range(2):
        code, said = await run(release, *words)
        assert code == 0, said
    assert (await rei(release, "user", str(customer)))["balance_kopecks"] == before + 30_050
    code, said = await run(
        release, "debit", str(customer), "300.50", "--reason", "ticket 17, a mistake"
    )
    assert code == 0, said
    assert (await rei(release, "user", str(customer)))["balance_kopecks"] == before
    adjustments = (await release.kubectl.json("get", "balanceadjustments"))["items"]
    assert len(adjustments) == 2
    told = json.dumps(await rei(release, "log"))
    assert "kubernetes:" in told, "the Kubernetes user is not in the trail"


async def test_a_ban_and_its_end(release: Release, customer: int) -> None:
    for word, banned in (("ban", True), ("unban", False)):
        options = ("--reason", "spam") if word == "ban" else ()
        code, said = await run(release, word, str(customer), *options)
        assert code == 0, said
        assert bool((await rei(release, "user", str(customer)))["bans"]) is banned


async def test_a_backup_now(release: Release) -> None:
    code, said = await run(release, "backup")
    assert code == 0, said


async def rei(release: Release, *words: str) -> Any:
    """What a word that looks says as JSON."""
    code, said = await run(release, *words, "-o", "json")
    assert code == 0, said
    return json.loads(said)


async def run(release: Release, *words: str) -> tuple[int, str]:
    """Exit status and what was said, as a person with this kubeconfig."""
    environment = {
        **os.environ,
        "KUBECTL": str(release.kubectl.program),
        "KUBECONFIG": str(release.kubectl.kubeconfig),
    }
    process = await asyncio.create_subprocess_exec(
        PLUGIN, *words, f"--namespace={NAMESPACE}", env=environment,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    said, complained = await asyncio.wait_for(process.communicate(), SECONDS_MAX)
    assert process.returncode is not None
    return process.returncode, said.decode() or complained.decode()

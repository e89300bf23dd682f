"""What the logs of real processes tell: one order from Telegram's update to its row of the ledger, and
more of it once somebody asks for more."""

from __future__ import annotations

import asyncio
import json
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from rei_core import log_levels
from rei_core.db import create_pool
from rei_core.ledger.model import Transfer
from rei_sandbox.demo.person import Person
from rei_sandbox.demo.story import CUSTOMER_ID, Story
from rei_sandbox.stage import Outside, Stage

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(240)]

Line = dict[str, Any]

OF_NOBODY = {
    "bot started", "telegram told", "polling started", "worker.started", "doorbell.group_lost",
    "log_levels.changed",
}  # fmt: skip
"""Lines about the process itself."""


@dataclass(frozen=True, slots=True)
class Shop:
    """Bot and worker, and what the demo's customer has bought there: a top-up, a picture, a refusal,
    an outage."""

    stage: Stage
    statement: list[Transfer]

    def lines(self) -> list[Line]:
        """Everything that bot and worker have written so far."""
        texts = [program.log.read_text() for program in (self.stage.bot, self.stage.worker)]
        return [json.loads(line) for text in texts for line in text.splitlines()]


@pytest.fixture(scope="module")
def shop() -> Iterator[Shop]:
    with tempfile.TemporaryDirectory(prefix="rei-", ignore_cleanup_errors=True) as folder:
        stage = Stage(Path(folder), durable=False, mode="webhook")
        with stage.running():
            yield Shop(stage, asyncio.run(bought(stage, Path(folder))))


def the_one(found: list[Line]) -> Line:
    assert len(found) == 1, found
    return found[0]


async def bought(stage: Stage, folder: Path) -> list[Transfer]:
    """The demo's story; its rows of the ledger."""
    pool = await create_pool(stage.database_url, application="test", size_max=2)
    async with httpx.AsyncClient(
        base_url=stage.sandbox_url, timeout=30, trust_env=False, follow_redirects=True
    ) as http:
        story = Story(
            http=http, pool=pool, folder=folder, outside=Outside(), tell=lambda line: None
        )
        told = await story.play()
    await pool.close()
    return told.statement


async def asks_for_the_balance(stage: Stage) -> None:
    async with httpx.AsyncClient(base_url=stage.sandbox_url, timeout=30, trust_env=False) as http:
        anya = Person(http, user_id=CUSTOMER_ID)
        await anya.say("/balance")
        await anya.reads("Баланс")


def test_every_row_of_the_ledger_is_found_from_the_update_that_caused_it_and_back(
    shop: Shop,
) -> None:
    written, statement = shop.lines(), shop.statement
    wanted = sorted(f"{row.kind}/{row.ref_type}/{row.ref_id}" for row in statement)
    assert sorted(line["transfer"] for line in written if line.get("transfer")) == wanted
    assert [name.partition("/")[0] for name in wanted] == [
        "capture", "capture", "hold", "hold", "hold", "release", "topup",
    ]  # fmt: skip
    for row in statement:
        line = the_one(
            [one for one in written
             if one.get("transfer") == f"{row.kind}/{row.ref_type}/{row.ref_id}"]
        )  # fmt: skip
        assert line["user_id"] == CUSTOMER_ID
        if row.ref_type == "payment":
            made = the_one([one for one in written if one["event"] == "payment created"])
            assert made["payment_id"] == line["payment_id"] == row.ref_id
            assert made["provider_payment_id"] == line["provider_payment_id"]
            assert made["update_id"] > 0
        else:
            ordered = the_one(
                [one for one in written
                 if one["event"] == "order taken" and one["job_id"] == int(row.ref_id)]
            )  # fmt: skip
            assert ordered["update_id"] > 0
            if row.kind != "hold":
                assert (line["job_id"], line["component"]) == (int(row.ref_id), "worker")
                assert line["attempt"] >= 1


def test_every_line_that_is_about_somebody_leads_to_an_update_a_job_or_a_payment(
    shop: Shop,
) -> None:
    leads = {"update_id", "job_id", "provider_payment_id", "payment_id"}
    astray = [
        line
        for line in shop.lines()
        if line["event"] not in OF_NOBODY
        and not line["logger"].startswith("alembic.")
        and not leads & line.keys()
    ]
    assert astray == []
    of_jobs = [line for line in shop.lines() if line["logger"] == "rei_worker.execution"]
    assert len({(line["job_id"], line["attempt"]) for line in of_jobs}) == 5, "two were retried"


def test_a_running_bot_says_more_when_it_is_told_to_and_less_again(shop: Shop) -> None:
    stage = shop.stage

    def details() -> list[Line]:
        return [line for line in shop.lines() if line["level"] == "debug"]

    def said(times: int, event: str) -> None:
        until = time.monotonic() + 30
        while len([line for line in shop.lines() if line["event"] == event]) < times:
            assert time.monotonic() < until, f"{event}: not {times} times"
            time.sleep(0.1)

    pids = (stage.bot.pid, stage.worker.pid)
    asyncio.run(asks_for_the_balance(stage))
    assert details() == []
    log_levels.write(stage.log_levels, {"rei_bot.updates": "DEBUG"})
    said(2, "log_levels.changed")  # by bot and worker
    asyncio.run(asks_for_the_balance(stage))
    said(1, "update ended")  # the chat shows the answer before that
    [told] = details()
    assert (told["event"], told["logger"], told["result"]) == (
        "update ended", "rei_bot.updates", "handled",
    )  # fmt: skip
    log_levels.write(stage.log_levels, {"rei_bot.updates": None})
    said(4, "log_levels.changed")
    asyncio.run(asks_for_the_balance(stage))
    assert len(details()) == 1
    assert (stage.bot.pid, stage.worker.pid) == pids

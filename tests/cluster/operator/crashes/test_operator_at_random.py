"""The operator killed from outside in the middle of what moves much money at once.

A sweep of stuck jobs and a reconciliation, killed by kill -9 once so and so much of it is done, as a
seed decides, and killed again while it is made up for. The ledger is audited while nobody lives,
and in the end everybody has what they would have had.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace

import pytest

from rei_core.jobs import accept_queries, claim_queries
from rei_core.jobs.model import Order
from rei_core.payments.service import TopUpTerms, start_topup
from rei_core.payments.yookassa import YooKassaClient

from ..stage import RARELY, SHOP_KEY, Json, Stage
from .contents import ledger_problems
from .kinds import NAME, create, end_of
from .lives import Lives
from .table import Row, Table, differences, require_equal
from .theatre import Theatre

ROUNDS = 4
DEATHS = 2
"""In each round: the one in the middle of the work, and one of the operator that makes up for it."""
LOOK_SECONDS = 0.002
SLOWLY = """
CREATE FUNCTION slowly() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_sleep(0.02);
    RETURN NULL;
END $$;
CREATE TRIGGER slowly AFTER UPDATE ON {table} FOR EACH STATEMENT EXECUTE FUNCTION slowly()
"""
"""Or it would be over before anybody can see that it has begun. So most deaths come in the middle of
a transaction, too."""
CUSTOMERS = 40
JOBS_EACH = 10
PRICE_KOPECKS = 300
TOPUP_KOPECKS = 20_000


@dataclass(frozen=True, kw_only=True)
class Bulk:
    """Work that is done bit by bit: `done` counts what is, of `total`."""

    kind: str
    spec: Json
    prepare: Callable[[Stage], Awaitable[None]]
    table: str
    done: str
    total: int
    report_counts: bool = True
    """Whether the run's own report survives a death to the last number."""


async def _stuck_jobs(stage: Stage) -> None:
    for user_id in range(1, CUSTOMERS + 1):
        await stage.customer(user_id, kopecks=JOBS_EACH * PRICE_KOPECKS)
    async with stage.pool.acquire() as connection, connection.transaction():
        for user_id in range(1, CUSTOMERS + 1):
            for number in range(JOBS_EACH):
                order = Order(
                    user_id=user_id, idempotency_key=f"o-{number}", model="m", prompt="a cat",
                    aspect_ratio="1:1", image_size="1K", price_kopecks=PRICE_KOPECKS,
                    chat_id=user_id,
                )  # fmt: skip
                await accept_queries.accept(
                    connection, order, active_jobs_max=99, attempts_max=2, deadline_seconds=600
                )
        while await claim_queries.claim(
            connection, worker="w", lease_seconds=3600, limit=1000, processing_max=1000
        ):
            pass
        await connection.execute("UPDATE jobs SET started_at = now() - interval '1 hour'")


async def _paid_and_not_told(stage: Stage) -> None:
    settings = stage.settings()
    provider = YooKassaClient(
        shop_id=settings["YOOKASSA_SHOP_ID"],
        secret_key=SHOP_KEY,
        base_url=settings["YOOKASSA_API_URL"],
    )
    shop = stage.sandbox.sandbox.yookassa.shop
    try:
        for user_id in range(1, CUSTOMERS + 1):
            await stage.customer(user_id)
            payment = await start_topup(
                stage.pool, provider, user_id=user_id, chat_id=user_id,
                amount_kopecks=TOPUP_KOPECKS, request_key=f"t-{user_id}",
                terms=TopUpTerms(return_url="https://t.me/", description="Top-up"),
            )  # fmt: skip
            assert payment.provider_payment_id is not None
            assert shop.pay(shop.get(payment.provider_payment_id))
    finally:
        await provider.aclose()
    await stage.pool.execute("UPDATE payments SET created_at = now() - interval '1 hour'")


SWEEP = Bulk(
    kind="StuckJobPolicy",
    spec=RARELY | {"batchSize": 5},
    prepare=_stuck_jobs,
    table="jobs",
    done="SELECT count(*) FROM jobs WHERE status = 'failed'",
    total=CUSTOMERS * JOBS_EACH,
)
RECONCILIATION = Bulk(
    kind="PaymentReconciliation",
    spec=RARELY | {"concurrency": 1},
    prepare=_paid_and_not_told,
    table="payments",
    done="SELECT count(*) FROM payments WHERE status = 'succeeded'",
    total=CUSTOMERS,
    report_counts=False,
)


@pytest.mark.timeout(900)
@pytest.mark.parametrize("bulk", [SWEEP, RECONCILIATION], ids=lambda bulk: bulk.kind)
async def test_killed_in_the_middle_everybody_gets_what_is_theirs_once(
    theatre: Theatre, table: Table, bulk: Bulk
) -> None:
    async with theatre.stage() as stage:
        await _prepare(bulk, stage)
        await Lives(theatre.processes, stage).through(_tell(bulk, stage))
        calm = await _end(bulk, stage)
        assert await _done(bulk, stage) == bulk.total
    seed = int(os.environ.get("REI_CRASH_SEED", "1"))
    chance = random.Random(seed)
    plans = [sorted(chance.sample(range(1, bulk.total * 3 // 4), DEATHS)) for _ in range(ROUNDS)]

    async def killed(number: int, plan: Sequence[int]) -> Row:
        row = await _killed_at(theatre, bulk, plan, calm=calm)
        told = f"round {number} (seed {seed}): {row.place}"
        row = replace(row, place=told, number=number)
        table.add(row)
        return row

    async with asyncio.TaskGroup() as group:
        rounds = [
            group.create_task(killed(number, plan)) for number, plan in enumerate(plans, start=1)
        ]
    require_equal([task.result() for task in rounds])


async def _killed_at(theatre: Theatre, bulk: Bulk, plan: Sequence[int], *, calm: Json) -> Row:
    deaths: list[int] = []
    problems: list[str] = []
    async with theatre.stage() as stage:
        await _prepare(bulk, stage)
        lives = Lives(theatre.processes, stage)

        async def killing() -> None:
            for threshold in plan:
                while await _done(bulk, stage) < threshold:  # noqa: ASYNC110 - another process does it
                    await asyncio.sleep(LOOK_SECONDS)
                await lives.kill()
                deaths.append(await _done(bulk, stage))
                problems.extend(await ledger_problems(stage.database_url))

        async def story() -> None:
            await asyncio.gather(_tell(bulk, stage), killing())

        began = time.monotonic()
        await lives.through(story())
        seconds = time.monotonic() - began
        problems += differences(calm, await _end(bulk, stage))
    if lives.codes != [*[-signal.SIGKILL] * len(plan), 0]:
        problems.append(f"the operators ended with {lives.codes}")
    if deaths[0] >= bulk.total:
        problems.append("killed too late to be in the middle")
    place = f"{' and '.join(map(str, deaths))} of {bulk.total}"
    return Row(
        f"Operator: {bulk.kind}, at random", place, lives.codes[0], len(lives.codes), seconds,
        tuple(problems),
    )  # fmt: skip


async def _prepare(bulk: Bulk, stage: Stage) -> None:
    await bulk.prepare(stage)
    await stage.pool.execute(SLOWLY.format(table=bulk.table))


async def _tell(bulk: Bulk, stage: Stage) -> None:
    await create(stage, bulk.kind, bulk.spec)
    await stage.condition(bulk.kind, NAME, "Ready", "True", "RunSucceeded")


async def _done(bulk: Bulk, stage: Stage) -> int:
    count: int = await stage.pool.fetchval(bulk.done)
    return count


async def _end(bulk: Bulk, stage: Stage) -> Json:
    """In whatever order they were served; and without what a run says of itself, where that may
    miss what was done in the moment of its death."""
    end = await end_of(stage)
    end["rows"]["transfers"].sort(key=repr)
    if not bulk.report_counts:
        del end["rows"]["runs"], end["statuses"]
    return end

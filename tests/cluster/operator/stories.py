"""What happens outside of the operator before a recurring resource runs, and what must come of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from rei_core.jobs import accept_queries, claim_queries
from rei_core.jobs.model import Order
from rei_core.maintenance.resources import REQUESTED_AT
from rei_core.payments.service import TopUpTerms, start_topup
from rei_core.payments.yookassa import YooKassaClient
from rei_sandbox.yookassa.requests import NewPayment

from .stage import RARELY, SHOP_KEY, Json, Stage

Outside = Callable[[Stage, int], Awaitable[None]]
"""Something outside; the customer whom it happens to."""

PRICE_KOPECKS = 300
TOPUP_KOPECKS = 20_000
UNKNOWN_KOPECKS = 12_300


@dataclass(frozen=True, kw_only=True)
class Story:
    """A recurring kind's: `before` prepares something for it to do, `after` looks whether it did."""

    kind: str
    spec: Json
    before: Outside
    after: Outside
    changed: int
    events: tuple[str, ...]
    columns: dict[str, str] = field(default_factory=dict)
    """Of `kubectl get`, after the run."""


async def a_stuck_job(stage: Stage, user_id: int) -> None:
    await stage.customer(user_id, kopecks=1000)
    order = Order(
        user_id=user_id, idempotency_key="o-1", model="m", prompt="a cat", aspect_ratio="1:1",
        image_size="1K", price_kopecks=PRICE_KOPECKS, chat_id=user_id,
    )  # fmt: skip
    async with stage.pool.acquire() as connection, connection.transaction():
        await accept_queries.accept(
            connection, order, active_jobs_max=9, attempts_max=2, deadline_seconds=600
        )
        await claim_queries.claim(
            connection, worker="w", lease_seconds=3600, limit=1, processing_max=9
        )
        await connection.execute("UPDATE jobs SET started_at = now() - interval '1 hour'")
    assert await stage.balance(user_id) == 1000 - PRICE_KOPECKS


async def it_is_failed_and_refunded(stage: Stage, user_id: int) -> None:
    jobs = await stage.pool.fetch("SELECT status, error_code FROM jobs WHERE user_id = $1", user_id)
    assert [tuple(job) for job in jobs] == [("failed", "timeout")]
    assert await stage.balance(user_id) == 1000


async def old_updates(stage: Stage, user_id: int) -> None:
    del user_id
    await stage.pool.execute(
        "INSERT INTO telegram_updates (update_id, received_at)"
        " VALUES (1, now() - interval '99 d'), (2, now())"
    )


async def the_old_one_is_gone(stage: Stage, user_id: int) -> None:
    del user_id
    rows = await stage.pool.fetch("SELECT update_id FROM telegram_updates")
    assert [row["update_id"] for row in rows] == [2]


async def a_payment_nobody_told_us_of(stage: Stage, user_id: int) -> None:
    """One of a customer of ours, whose notification was lost, and one that is none of ours."""
    await stage.customer(user_id)
    settings = stage.settings()
    provider = YooKassaClient(
        shop_id=settings["YOOKASSA_SHOP_ID"],
        secret_key=SHOP_KEY,
        base_url=settings["YOOKASSA_API_URL"],
    )
    try:
        payment = await start_topup(
            stage.pool,
            provider,
            user_id=user_id,
            chat_id=user_id,
            amount_kopecks=TOPUP_KOPECKS,
            request_key="t-1",
            terms=TopUpTerms(return_url="https://t.me/", description="Top-up"),
        )
    finally:
        await provider.aclose()
    shop = stage.sandbox.sandbox.yookassa.shop
    assert payment.provider_payment_id is not None
    assert shop.pay(shop.get(payment.provider_payment_id))
    stranger = shop.create(
        NewPayment(
            amount_kopecks=UNKNOWN_KOPECKS,
            capture=True,
            return_url="https://t.me/",
            method="bank_card",
            description="",
            metadata={},
            has_receipt=False,
        )
    )
    assert shop.pay(stranger)
    await stage.pool.execute("UPDATE payments SET created_at = now() - interval '1 hour'")
    assert await stage.balance(user_id) == 0


async def it_is_credited_and_the_other_is_not(stage: Stage, user_id: int) -> None:
    assert await stage.balance(user_id) == TOPUP_KOPECKS
    status = await stage.status("PaymentReconciliation", "one")
    assert [one["amountKopecks"] for one in status["unknownPayments"]] == [UNKNOWN_KOPECKS]


async def a_customer(stage: Stage, user_id: int) -> None:
    await stage.customer(user_id, kopecks=500)


async def the_books_are_told(stage: Stage, user_id: int) -> None:
    del user_id
    status = await stage.status("LedgerAudit", "one")
    conditions = {one["type"]: one["status"] for one in status["conditions"]}
    assert conditions == {"Ready": "True", "Consistent": "True"}
    assert sum(status["accountsKopecks"].values()) == 0


STORIES = (
    Story(
        kind="StuckJobPolicy",
        spec=RARELY,
        before=a_stuck_job,
        after=it_is_failed_and_refunded,
        changed=1,
        events=("StuckJobsEnded",),
        columns={"CHANGED": "1", "FAILED": "0", "KOPECKS": str(PRICE_KOPECKS)},
    ),
    Story(
        kind="JobRetentionPolicy",
        spec=RARELY | {"pauseMilliseconds": 0},
        before=old_updates,
        after=the_old_one_is_gone,
        changed=1,
        events=("OldRowsRemoved",),
        columns={"CHANGED": "1", "FAILED": "0"},
    ),
    Story(
        kind="PaymentReconciliation",
        spec=RARELY,
        before=a_payment_nobody_told_us_of,
        after=it_is_credited_and_the_other_is_not,
        changed=1,
        events=("PaymentsSettled", "UnknownPayments"),
        columns={"CHANGED": "1", "UNKNOWN": "1", "KOPECKS": str(TOPUP_KOPECKS)},
    ),
    Story(
        kind="LedgerAudit",
        spec=RARELY,
        before=a_customer,
        after=the_books_are_told,
        changed=0,
        events=("LedgerConsistent",),
        columns={"CONSISTENT": "True", "VIOLATIONS": "0"},
    ),
)


async def run_now(stage: Stage, kind: str, name: str) -> Json:
    """Ask for a run as a person does, wait until it is answered; the object then."""
    asked = datetime.now(UTC).isoformat()
    await stage.kubectl("annotate", "--overwrite", kind.lower(), name, f"{REQUESTED_AT}={asked}")
    return await answered(stage, kind, name, asked)


async def answered(stage: Stage, kind: str, name: str, asked: str) -> Json:
    """Wait until the status tells that this request was answered."""

    async def look() -> Json | None:
        raw = await stage.get(kind, name)
        told = raw.get("status", {}).get("lastRequestedTime")
        same = told and datetime.fromisoformat(told) == datetime.fromisoformat(asked)
        return raw if same else None

    return await stage.until(look, kind, name, what=f"the run asked for at {asked}")


async def until_known(stage: Stage, kind: str, name: str) -> None:
    """Until the operator has told of it; with a short period it may have run by then, or not."""

    async def look() -> bool:
        return bool((await stage.status(kind, name)).get("observedGeneration"))

    await stage.until(look, kind, name, what="it is known")


async def latest_moment(stage: Stage, kind: str, name: str) -> datetime:
    """The moment that the latest run of a resource is of."""
    moment: datetime = await stage.pool.fetchval(
        "SELECT max(scheduled_for) FROM maintenance_runs"
        " WHERE kind = $1 AND namespace = $2 AND name = $3",
        kind, stage.namespace, name,
    )  # fmt: skip
    return moment


async def until_told_of(stage: Stage, kind: str, name: str, moment: datetime) -> None:
    """Until the status tells of the run of this moment, or of a later one, that it succeeded."""

    async def look() -> bool:
        at = (await stage.status(kind, name)).get("lastScheduledTime")
        return at is not None and datetime.fromisoformat(at) >= moment

    await stage.until(look, kind, name, what="the run is told")
    await stage.condition(kind, name, "Ready", "True", "RunSucceeded")


async def pods_ended(stage: Stage, job: str) -> None:
    """Wait for the end of a pod's process: what became of its run may be told before."""

    async def look() -> bool:
        return bool(stage.kubelet.exit_codes.get(job))

    await stage.until(look, "Job", job, what="a pod of it has ended")


async def runs(stage: Stage, kind: str, name: str) -> list[str]:
    """How the runs of a resource ended, in order."""
    rows = await stage.pool.fetch(
        "SELECT status FROM maintenance_runs WHERE kind = $1 AND namespace = $2 AND name = $3"
        " ORDER BY id",
        kind, stage.namespace, name,
    )  # fmt: skip
    return [row["status"] for row in rows]

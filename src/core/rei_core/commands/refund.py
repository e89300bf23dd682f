"""`rei refund`: the refunds whose outcome nobody knows, and a person's word on one of them."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import TypeVar
from uuid import UUID

import click
from rich.console import Console
from rich.table import Table

from rei_core.commands import who
from rei_core.db import Pool, close_pool, create_pool
from rei_core.db.migrate import require_schema
from rei_core.maintenance.reconciliation.queries import PendingRefund, pending_refunds
from rei_core.money import format_rubles
from rei_core.payments import found_refunds
from rei_core.payments.model import Refund
from rei_core.payments.yookassa import YooKassaClient
from rei_core.settings import CoreSettings, YooKassaSettings, load

SHOWN_MAX = 200
REASON_CHARS_MAX = 300

Answer = TypeVar("Answer")


@click.group()
def refund() -> None:
    """Refunds of payments that are debited and not finished."""


@refund.command("list")
def list_command() -> None:
    """Every refund that waits for its end, the oldest first.

    A PaymentReconciliation finishes them. What is older than a day, and still here, it could not
    find out: look at the payment in YooKassa's profile, then `rei refund close`.
    """
    found = asyncio.run(_with_pool(_pending))
    table = Table("refund", "begun", "amount", "payment", "operation")
    for one in found:
        begun = f"{one.created_at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
        amount = format_rubles(one.amount_kopecks)
        table.add_row(str(one.id), begun, amount, str(one.payment_id), one.operation_id)
    Console(width=None if sys.stdout.isatty() else 200).print(table)


async def _pending(pool: Pool) -> list[PendingRefund]:
    async with pool.acquire() as connection:
        return await pending_refunds(
            connection, created_before=datetime.max.replace(tzinfo=UTC), limit=SHOWN_MAX
        )


@refund.command()
@click.argument("refund_id", type=click.UUID)
@click.option("--sent-as", metavar="ID", help="It was carried out: its id at YooKassa.")
@click.option("--not-sent", is_flag=True, help="It never was: give the debit back.")
@click.option("--reason", required=True, help="How you know. It stays in the refund's row.")
def close(*, refund_id: UUID, sent_as: str | None, not_sent: bool, reason: str) -> None:
    """End the refund REFUND_ID, whose outcome nobody could find out.

    YooKassa is asked again: what contradicts its answer is refused. A wrong word costs nobody
    money: a refund that was carried out is found in YooKassa's list by the next
    PaymentReconciliation, and taken off the balance.
    """
    if (sent_as is None) != not_sent:
        raise click.UsageError("give either --sent-as or --not-sent")
    if not 0 < len(reason.strip()) <= REASON_CHARS_MAX:
        raise click.UsageError(f"--reason has 1 to {REASON_CHARS_MAX} characters")

    async def closed(pool: Pool) -> Refund:
        settings = load(YooKassaSettings)
        provider = YooKassaClient(
            shop_id=settings.yookassa_shop_id,
            secret_key=settings.yookassa_secret_key.get_secret_value(),
            base_url=settings.yookassa_api_url,
        )
        try:
            return await found_refunds.close(
                pool,
                provider,
                refund_id,
                provider_refund_id=sent_as,
                reason=reason.strip(),
                actor=who.person("rei refund close"),
            )
        finally:
            await provider.aclose()

    done = asyncio.run(_with_pool(closed))
    what = "carried out" if done.status == "succeeded" else "never sent; the debit is given back"
    click.echo(f"The refund {done.id} of {format_rubles(done.amount_kopecks)} is closed: {what}.")


async def _with_pool(work: Callable[[Pool], Awaitable[Answer]]) -> Answer:
    url = load(CoreSettings).database_url.get_secret_value()
    await require_schema(url)
    pool = await create_pool(url, application="rei-refund", size_max=2)
    try:
        return await work(pool)
    finally:
        await close_pool(pool)

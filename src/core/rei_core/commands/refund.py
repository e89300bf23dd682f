"""`rei refund`: start one, those whose outcome nobody knows, and a person's word on one of them."""

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

from rei_core.admin import service
from rei_core.admin.service import Changed
from rei_core.commands import who
from rei_core.commands.change import (
    AMOUNT,
    announce,
    by_option,
    confirmed,
    operation_option,
    reason_option,
    show,
    told_in_rubles,
    yes_option,
)
from rei_core.commands.look import Output, output_option
from rei_core.commands.session import with_connection, with_pool
from rei_core.db import Connection, Pool
from rei_core.maintenance.reconciliation.queries import PendingRefund, pending_refunds
from rei_core.money import format_rubles
from rei_core.payments import found_refunds
from rei_core.payments.model import Refund
from rei_core.payments.receipts import receipt_of
from rei_core.payments.service import Asked
from rei_core.payments.yookassa import YooKassaClient
from rei_core.settings import YooKassaSettings, load

Answer = TypeVar("Answer")
SHOWN_MAX = 200
REASON_CHARS_MAX = 300


@click.group()
def refund() -> None:
    """Refunds of payments: start one, see those that are not finished, close one by your word."""


@refund.command()
@click.argument("payment")
@click.argument("amount", type=AMOUNT, required=False)
@reason_option
@operation_option
@by_option
@yes_option
@output_option
def start(
    *,
    payment: str,
    amount: int | None,
    reason: str,
    operation_id: str | None,
    by: str | None,
    yes: bool,
    output: Output,
) -> None:
    """Send money of PAYMENT back to where the customer paid from.

    PAYMENT is our id or YooKassa's (`rei payments` shows both), AMOUNT what goes back: all that is
    left of it by default. It is taken off the balance first, so what the customer has spent cannot
    be refunded: give it back by `rei credit` before, if that is meant.

    The same command again goes on with the same refund. If the outcome is unknown, repeat it; a
    PaymentReconciliation finishes it, too.

    Example:  rei refund start 2f1c9a5e-000f-5000-8000-1d2e3f4a5b6c --reason "ticket 17"
    """
    why = reason.strip()
    if not 0 < len(why) <= REASON_CHARS_MAX:
        raise click.UsageError(f"--reason has 1 to {REASON_CHARS_MAX} characters")
    actor = who.person("rei refund start", by=by)

    async def started(
        pool: Pool, provider: YooKassaClient, settings: YooKassaSettings
    ) -> Changed:  # fmt: skip
        wanted = await service.refund_wanted(
            pool, payment, amount_kopecks=amount, reason=why, operation_id=operation_id
        )
        confirmed(wanted.amount_kopecks, yes=yes)
        announce(wanted.operation_id)
        return await service.refund(
            pool, provider, wanted, asked=Asked(actor, why), receipt=receipt_of(settings)
        )

    with told_in_rubles():
        changed = asyncio.run(_with_yookassa(started))
    show(changed, output)


@refund.command("list")
def list_command() -> None:
    """Every refund that waits for its end, the oldest first.

    A PaymentReconciliation finishes them. What is older than a day, and still here, it could not
    find out: look at the payment in YooKassa's profile, then `rei refund close`.
    """
    found = asyncio.run(with_connection(_pending))
    table = Table("refund", "begun", "amount", "payment", "operation")
    for one in found:
        begun = f"{one.created_at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
        amount = format_rubles(one.amount_kopecks)
        table.add_row(str(one.id), begun, amount, str(one.payment_id), one.operation_id)
    Console(width=None if sys.stdout.isatty() else 200).print(table)


async def _pending(connection: Connection) -> list[PendingRefund]:
    return await pending_refunds(
        connection, created_before=datetime.max.replace(tzinfo=UTC), limit=SHOWN_MAX
    )


@refund.command()
@click.argument("refund_id", type=click.UUID)
@click.option("--sent-as", metavar="ID", help="It was carried out: its id at YooKassa.")
@click.option("--not-sent", is_flag=True, help="It never was: give the debit back.")
@click.option("--reason", required=True, help="How you know. It stays in the refund's row.")
@by_option
def close(
    *, refund_id: UUID, sent_as: str | None, not_sent: bool, reason: str, by: str | None
) -> None:
    """End the refund REFUND_ID, whose outcome nobody could find out.

    YooKassa is asked again: what contradicts its answer is refused. A wrong word costs nobody
    money: a refund that was carried out is found in YooKassa's list by the next
    PaymentReconciliation, and taken off the balance.
    """
    if (sent_as is None) != not_sent:
        raise click.UsageError("give either --sent-as or --not-sent")
    if not 0 < len(reason.strip()) <= REASON_CHARS_MAX:
        raise click.UsageError(f"--reason has 1 to {REASON_CHARS_MAX} characters")

    async def closed(pool: Pool, provider: YooKassaClient, _: YooKassaSettings) -> Refund:
        return await found_refunds.close(
            pool,
            provider,
            refund_id,
            provider_refund_id=sent_as,
            reason=reason.strip(),
            actor=who.person("rei refund close", by=by),
        )

    done = asyncio.run(_with_yookassa(closed))
    what = "carried out" if done.status == "succeeded" else "never sent; the debit is given back"
    click.echo(f"The refund {done.id} of {format_rubles(done.amount_kopecks)} is closed: {what}.")


async def _with_yookassa(
    work: Callable[[Pool, YooKassaClient, YooKassaSettings], Awaitable[Answer]],
) -> Answer:
    """Do `work` on the database of REI_DATABASE_URL, with the way to YooKassa."""
    settings = load(YooKassaSettings)

    async def on_both(pool: Pool) -> Answer:
        client = YooKassaClient(
            shop_id=settings.yookassa_shop_id,
            secret_key=settings.yookassa_secret_key.get_secret_value(),
            base_url=settings.yookassa_api_url,
        )
        try:
            return await work(pool, client, settings)
        finally:
            await client.aclose()

    return await with_pool(on_both)

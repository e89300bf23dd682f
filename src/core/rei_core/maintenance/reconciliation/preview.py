"""What a reconciliation would do, found out by reading only: here and at YooKassa."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta

from rei_core.db import Pool
from rei_core.maintenance.model import RunResult
from rei_core.maintenance.reconciliation import queries
from rei_core.maintenance.reconciliation.questions import Questions
from rei_core.maintenance.reconciliation.service import LOOKED_FOR_MAX
from rei_core.maintenance.resources.payments import PaymentReconciliationSpec
from rei_core.money import format_rubles
from rei_core.payments.model import Payment
from rei_core.payments.port import PaymentProvider


async def preview(
    pool: Pool, provider: PaymentProvider, spec: PaymentReconciliationSpec
) -> RunResult:
    """Ask about the open payments, settle none; count the rest that a run would ask about.

    YooKassa's list is not read: a payment that only it knows is found by a run, which never credits
    it. Failures of the provider are counted, as in a run.
    """
    async with pool.acquire() as connection:
        now = await queries.now(connection)
        before = now - timedelta(minutes=spec.older_than_minutes)
        limit = spec.max_per_run
        refunds = await queries.pending_refunds(connection, created_before=before, limit=limit)
        room = limit - len(refunds)
        payments = await queries.open_payments(
            connection, created_before=before, after=None, limit=room
        )
        lost = await queries.unanswered(
            connection,
            created_before=before,
            created_since=now - LOOKED_FOR_MAX,
            limit=room - len(payments),
        )
    questions = Questions(RunResult(), concurrency=spec.concurrency)
    kopecks: Counter[str] = Counter()

    async def ask(payment: Payment) -> None:
        assert payment.provider_payment_id is not None
        remote = await provider.get(payment.provider_payment_id)
        if remote.status in ("succeeded", "canceled"):
            questions.changed()
            kopecks[remote.status] += payment.amount_kopecks

    await questions.ask_each(payments, ask, subject=lambda payment: f"payment {payment.id}")
    result = questions.result.plus(examined=len(refunds) + len(lost))
    return (
        result.noting(
            f"{format_rubles(kopecks['succeeded'])} would be credited, payments of "
            f"{format_rubles(kopecks['canceled'])} closed"
        )
        .noting(f"{len(refunds)} pending refunds would be asked about")
        .noting(f"{len(lost)} payments without an answer would be looked for in YooKassa's list")
    )

"""What a reconciliation would do, found out by reading only: here and at YooKassa."""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta

from rei_core.db import Pool
from rei_core.maintenance.model import RunResult
from rei_core.maintenance.reconciliation import queries
from rei_core.maintenance.reconciliation.questions import Questions
from rei_core.maintenance.reconciliation.service import (
    LOOKED_FOR_MAX,
    SUCCEEDED,
    carried_out,
    not_booked,
    with_rows,
)
from rei_core.maintenance.resources.payments import PaymentReconciliationSpec
from rei_core.money import format_rubles
from rei_core.payments.model import Payment, PaymentStatus
from rei_core.payments.port import PaymentProvider


async def preview(
    pool: Pool, provider: PaymentProvider, spec: PaymentReconciliationSpec
) -> RunResult:
    """Ask what a run would ask, and settle, credit and debit nothing.

    What a run would change is counted as changed, and its money told in the notes. Failures of the
    provider are counted, as in a run.
    """
    return await _Preview(pool, provider, spec).all()


class _Preview:
    def __init__(
        self, pool: Pool, provider: PaymentProvider, spec: PaymentReconciliationSpec
    ) -> None:
        self._pool = pool
        self._provider = provider
        self._spec = spec
        self._questions = Questions(RunResult(), concurrency=spec.concurrency)
        self._kopecks: Counter[str] = Counter()
        self._counts: Counter[str] = Counter()
        self._asked: set[str] = set()
        """What YooKassa was asked about by its id: its list need not tell it once more."""

    async def all(self) -> RunResult:
        async with self._pool.acquire() as connection:
            now = await queries.now(connection)
        await self._ask_about_open(now)
        if self._spec.lookback_days and not self._questions.provider_is_away:
            since = now - timedelta(days=self._spec.lookback_days)
            await self._read_payments(since)
            await self._read_refunds(since)
        return self._told()

    async def _ask_about_open(self, now: datetime) -> None:
        before, limit = (
            now - timedelta(minutes=self._spec.older_than_minutes),
            self._spec.max_per_run,
        )
        async with self._pool.acquire() as connection:
            refunds = await queries.pending_refunds(connection, created_before=before, limit=limit)
            room = limit - len(refunds)
            payments = await queries.open_payments(
                connection, created_before=before, after=None, limit=room
            )
            unanswered = await queries.unanswered(
                connection,
                created_before=before,
                created_since=now - LOOKED_FOR_MAX,
                limit=room - len(payments),
            )
        self._counts["refunds"] = len(refunds)
        self._counts["unanswered"] = len(unanswered)
        self._examined(len(refunds) + len(unanswered))
        await self._questions.ask_each(
            payments, self._ask, subject=lambda payment: f"payment {payment.id}"
        )

    async def _ask(self, payment: Payment) -> None:
        assert payment.provider_payment_id is not None
        self._asked.add(payment.provider_payment_id)
        remote = await self._provider.get(payment.provider_payment_id)
        if remote.status in ("succeeded", "canceled"):
            self._would(remote.status, payment.amount_kopecks)

    async def _read_payments(self, since: datetime) -> None:
        listed = self._provider.list(created_since=since, status="succeeded")
        async for page in self._questions.pages(listed, subject=SUCCEEDED):
            for remote, row in await with_rows(self._pool, page):
                if remote.id in self._asked:
                    continue
                self._examined(1)
                if row is None:
                    self._counts["unknown"] += remote.refunded_kopecks < remote.amount_kopecks
                elif row.status is not PaymentStatus.SUCCEEDED:
                    self._would("succeeded", row.amount_kopecks)

    async def _read_refunds(self, since: datetime) -> None:
        async for page in carried_out(self._provider, self._questions, since=since):
            self._examined(len(page))
            for remote in await not_booked(self._pool, page):
                self._would("refunded", remote.amount_kopecks)

    def _examined(self, count: int) -> None:
        self._questions.result = self._questions.result.plus(examined=count)

    def _would(self, what: str, kopecks: int) -> None:
        self._questions.changed()
        self._kopecks[what] += kopecks

    def _told(self) -> RunResult:
        kopecks, counts = self._kopecks, self._counts
        return (
            self._questions.result.noting(
                f"{format_rubles(kopecks['succeeded'])} would be credited, payments of "
                f"{format_rubles(kopecks['canceled'])} closed"
            )
            .noting(
                f"refunds of {format_rubles(kopecks['refunded'])} that YooKassa has carried out "
                "would be taken off balances, or reported where they cannot"
            )
            .noting(
                f"{counts['refunds']} pending refunds would be asked about, "
                f"{counts['unanswered']} payments without an answer looked for"
            )
            .noting(f"{counts['unknown']} succeeded payments are unknown here, and only reported")
        )

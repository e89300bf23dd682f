"""Finding out what YooKassa knows and we do not: for when notifications, or we, were away.

Money moves only by `payments.service`: `settle`, which credits once whoever asks, and
`refund_payment`, which goes on with a refund under its own operation. So any part of a run may be
repeated, by two processes at once too, and nothing here needs a lock or a fence. What a killed
run counted twice or not at all is only its report.

A top-up whose creation YooKassa never answered is looked for in its list, by the id of ours that
the payment carries. It is never asked for again: the key that would make that harmless is forgotten
after a day, and then the question would make a payment that nobody wants. If the list was read to
its end and does not hold it, and that day is over, it has never existed, and its row is closed.

Payments that succeeded and that no row of ours explains are reported, never credited: whose they
are is for a person to find out. Refunds of our payments that no row explains are debited
(`payments.found_refunds`): whose they are is certain. What cannot be debited is reported.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

import structlog

from rei_core.db import Pool
from rei_core.errors import (
    InsufficientFunds,
    PaymentMismatch,
    PaymentOutcomeUnknown,
    PaymentProviderError,
    PaymentRejected,
    ReiError,
)
from rei_core.maintenance.model import Progress
from rei_core.maintenance.reconciliation import queries
from rei_core.maintenance.reconciliation.model import (
    UNKNOWN_MAX,
    Reconciliation,
    UnbookedRefund,
    UnknownPayment,
)
from rei_core.maintenance.reconciliation.queries import PendingRefund
from rei_core.maintenance.reconciliation.questions import Questions
from rei_core.maintenance.resources.payments import PaymentReconciliationSpec
from rei_core.money import format_rubles
from rei_core.payments import found_refunds, service
from rei_core.payments import queries as payments
from rei_core.payments.model import Payment, PaymentStatus
from rei_core.payments.port import PaymentProvider, Receipt, RemotePayment, RemoteRefund
from rei_core.payments.service import METADATA_KEY

log = structlog.get_logger(__name__)

PAGE: Final = 200
"""Payments asked about between two writes of the progress."""
KEY_FORGOTTEN_AFTER: Final = timedelta(hours=26)
"""YooKassa keeps keys for about a day; two hours for clocks and for calls that were on their way."""
LOOKED_FOR_MAX: Final = timedelta(days=30)
"""Longer ago than that nobody reads the list for a creation without an answer."""
CLOCK_ERROR_MAX: Final = timedelta(minutes=10)
PROBLEM_CHARS_MAX: Final = 200
SUCCEEDED: Final = "the list of succeeded payments"


async def reconcile(
    pool: Pool,
    provider: PaymentProvider,
    spec: PaymentReconciliationSpec,
    progress: Progress,
    *,
    receipt: Receipt | None = None,
) -> Reconciliation:
    """Bring what is open to its end, and tell what nobody can explain.

    `receipt` is what refunds say to the tax office: the same as when they were asked for. Failures
    of the provider are counted; those of our database are raised, as is `RunLost`.
    """
    return await _Run(pool, provider, spec, progress, receipt).all()


class _Run:
    def __init__(
        self,
        pool: Pool,
        provider: PaymentProvider,
        spec: PaymentReconciliationSpec,
        progress: Progress,
        receipt: Receipt | None,
    ) -> None:
        self._pool = pool
        self._provider = provider
        self._spec = spec
        self._progress = progress
        self._receipt = receipt
        # What an earlier attempt could not find out is asked again.
        earlier = replace(progress.result, failed=0, notes=())
        self._questions = Questions(earlier, concurrency=spec.concurrency)
        self._unknown: list[UnknownPayment] = []
        self._unknown_count = 0
        self._unbooked: list[UnbookedRefund] = []
        self._unbooked_count = 0
        self._room = spec.max_per_run

    async def all(self) -> Reconciliation:
        async with self._pool.acquire() as connection:
            now = await queries.now(connection)
        before = now - timedelta(minutes=self._spec.older_than_minutes)
        # Refunds first: they are few, and their money is nobody's until they are finished.
        await self._finish_refunds(before)
        await self._settle_open(before)
        await self._look_for_unanswered(before, now)
        await self._find_unknown(now)
        # Last: a payment that was just credited may have been refunded since.
        await self._find_refunds(now)
        return Reconciliation(
            self._questions.result,
            tuple(self._unknown),
            self._unknown_count,
            tuple(self._unbooked),
            self._unbooked_count,
        )

    async def _finish_refunds(self, before: datetime) -> None:
        async with self._pool.acquire() as connection:
            refunds = await queries.pending_refunds(
                connection, created_before=before, limit=self._room
            )
        self._room -= len(refunds)
        await self._questions.ask_each(
            refunds, self._finish_refund, subject=lambda refund: f"refund {refund.id}"
        )
        await self._remember()

    async def _finish_refund(self, refund: PendingRefund) -> None:
        try:
            await service.refund_payment(
                self._pool,
                self._provider,
                payment_id=refund.payment_id,
                amount_kopecks=refund.amount_kopecks,
                operation_id=refund.operation_id,
                receipt=self._receipt,
            )
        except PaymentRejected as error:
            if not await self._is_reversed(refund):
                raise
            self._questions.changed(amount_kopecks=refund.amount_kopecks)
            self._questions.note(f"refund {refund.id} was refused, the debit is back: {error}")
        else:
            self._questions.changed()

    async def _is_reversed(self, refund: PendingRefund) -> bool:
        async with self._pool.acquire() as connection:
            found = await payments.find_refund(connection, refund.operation_id)
        return found is not None and found.status == "failed"

    async def _settle_open(self, before: datetime) -> None:
        last: Payment | None = None
        while self._room > 0 and not self._questions.provider_is_away:
            async with self._pool.acquire() as connection:
                page = await queries.open_payments(
                    connection, created_before=before, after=last, limit=min(PAGE, self._room)
                )
            if not page:
                return
            last = page[-1]
            self._room -= len(page)
            await self._questions.ask_each(
                page, self._settle, subject=lambda payment: f"payment {payment.id}"
            )
            await self._remember()

    async def _settle(self, payment: Payment) -> None:
        settled = await service.settle(self._pool, self._provider, payment)
        if settled.credited_now:
            self._questions.changed(amount_kopecks=payment.amount_kopecks)
        elif settled.payment.status is PaymentStatus.CANCELED:
            self._questions.changed()

    async def _look_for_unanswered(self, before: datetime, now: datetime) -> None:
        if self._room <= 0 or self._questions.provider_is_away:
            return
        async with self._pool.acquire() as connection:
            rows = await queries.unanswered(
                connection,
                created_before=before,
                created_since=now - LOOKED_FOR_MAX,
                limit=self._room,
            )
        if not rows:
            return
        missing = {row.id: row for row in rows}
        found: list[RemotePayment] = []
        try:
            since = rows[0].created_at - CLOCK_ERROR_MAX
            async for remote in self._provider.list(created_since=since):
                if missing.pop(our_id(remote), None) is not None:
                    found.append(remote)  # noqa: PERF401 - if the list breaks off, these stay
        except PaymentProviderError as error:  # not read to its end: what is not in it may exist
            self._questions.failed("the list of payments", error)
            missing = {}
        await self._questions.ask_each(found, self._settle_found, subject=_remote)
        forgotten = now - KEY_FORGOTTEN_AFTER
        gone = [row.id for row in missing.values() if row.created_at < forgotten]
        async with self._pool.acquire() as connection:
            closed = await queries.close_never_created(connection, gone)
        result = self._questions.result
        self._questions.result = result.plus(examined=len(missing), changed=closed)
        await self._remember()

    async def _settle_found(self, remote: RemotePayment) -> None:
        """Settle a payment of the list by its own truth: it is fetched once more."""
        settled = await service.settle_by_provider_id(self._pool, self._provider, remote.id)
        if settled is None:
            return
        if settled.credited_now:
            self._questions.changed(amount_kopecks=settled.payment.amount_kopecks)
        else:
            self._questions.changed()

    async def _find_unknown(self, now: datetime) -> None:
        if self._spec.lookback_days == 0 or self._questions.provider_is_away:
            return
        since = now - timedelta(days=self._spec.lookback_days)
        listed = self._provider.list(created_since=since, status="succeeded")
        async for page in self._questions.pages(listed, subject=SUCCEEDED):
            await self._compare(page)
        if self._unknown_count:
            log.error("reconciliation.unknown_payments", payments=self._unknown_count)
            total = sum(one.amount_kopecks for one in self._unknown)
            self._questions.note(
                f"{self._unknown_count} payments succeeded at YooKassa and are unknown here;"
                f" the newest {len(self._unknown)} make {format_rubles(total)}"
            )
        await self._remember()

    async def _compare(self, page: list[RemotePayment]) -> None:
        """Settle what is ours and was not credited; remember what is none of ours."""
        uncredited: list[RemotePayment] = []
        for remote, row in await with_rows(self._pool, page):
            if row is None:
                self._unexplained(remote)
            elif row.status is not PaymentStatus.SUCCEEDED:
                uncredited.append(remote)
        in_order = len(page) - len(uncredited)
        self._questions.result = self._questions.result.plus(examined=in_order)
        await self._questions.ask_each(uncredited, self._settle_found, subject=_remote)

    def _unexplained(self, remote: RemotePayment) -> None:
        if remote.refunded_kopecks >= remote.amount_kopecks:
            return  # it has gone back already: nobody is owed anything
        self._unknown_count += 1
        one = UnknownPayment(remote.id, remote.amount_kopecks, remote.created_at)
        newest = sorted([*self._unknown, one], key=lambda known: known.created_at, reverse=True)
        self._unknown = newest[:UNKNOWN_MAX]

    async def _find_refunds(self, now: datetime) -> None:
        if self._spec.lookback_days == 0 or self._questions.provider_is_away:
            return
        since = now - timedelta(days=self._spec.lookback_days)
        async for page in carried_out(self._provider, self._questions, since=since):
            await self._book(page)
        if self._unbooked_count:
            log.error("reconciliation.unbooked_refunds", refunds=self._unbooked_count)
            self._questions.note(
                f"{self._unbooked_count} refunds were carried out at YooKassa and are not debited"
                f" here: {self._unbooked[0].problem}"
            )
        await self._remember()

    async def _book(self, page: list[RemoteRefund]) -> None:
        """Debit what went back to customers of ours without our knowing."""
        todo = await not_booked(self._pool, page)
        in_order = len(page) - len(todo)
        self._questions.result = self._questions.result.plus(examined=in_order)
        await self._questions.ask_each(
            todo, self._book_one, subject=lambda remote: f"YooKassa's refund {remote.id}"
        )

    async def _book_one(self, remote: RemoteRefund) -> None:
        try:
            booked = await found_refunds.book(self._pool, remote)
        except (InsufficientFunds, PaymentMismatch, PaymentOutcomeUnknown) as error:
            self._not_booked(remote, error)
            return
        if booked.operation_id.startswith(found_refunds.OPERATION_PREFIX):
            self._questions.changed(amount_kopecks=-remote.amount_kopecks)
            self._questions.note(
                f"the refund {remote.id} was unknown here:"
                f" {format_rubles(remote.amount_kopecks)} are taken off the balance"
            )
        else:
            self._questions.changed()

    def _not_booked(self, remote: RemoteRefund, error: ReiError) -> None:
        self._unbooked_count += 1
        if len(self._unbooked) < UNKNOWN_MAX:
            one = UnbookedRefund(
                remote.id, remote.payment_id, remote.amount_kopecks, str(error)[:PROBLEM_CHARS_MAX]
            )
            self._unbooked.append(one)

    async def _remember(self) -> None:
        async with self._pool.acquire() as connection:
            await self._progress.advance(connection, self._questions.result)


def _remote(remote: RemotePayment) -> str:
    return f"YooKassa's payment {remote.id}"


async def with_rows(
    pool: Pool, page: Sequence[RemotePayment]
) -> list[tuple[RemotePayment, Payment | None]]:
    """Payments of the provider's list, each with the row of ours that it belongs to."""
    async with pool.acquire() as connection:
        known = await queries.known(
            connection,
            provider_ids=[remote.id for remote in page],
            our_ids=[our_id(remote) for remote in page],
        )
    by_provider_id = {row.provider_payment_id: row for row in known}
    # By our id only where the provider's is not known yet: a row has one payment, and a second
    # one that names it is money that nothing explains.
    by_id = {row.id: row for row in known if row.provider_payment_id is None}
    return [(remote, by_provider_id.get(remote.id) or by_id.get(our_id(remote))) for remote in page]


def carried_out(
    provider: PaymentProvider, questions: Questions, *, since: datetime
) -> AsyncIterator[list[RemoteRefund]]:
    """The refunds since then whose money has gone back, page by page."""
    listed = provider.list_refunds(created_since=since)
    succeeded = (remote async for remote in listed if remote.status == "succeeded")
    return questions.pages(succeeded, subject="the list of refunds")


async def not_booked(pool: Pool, page: Sequence[RemoteRefund]) -> list[RemoteRefund]:
    """Those of our payments' refunds that no row explains."""
    async with pool.acquire() as connection:
        unbooked = await queries.unbooked(
            connection,
            refund_ids=[remote.id for remote in page],
            payment_ids=[remote.payment_id for remote in page],
        )
    return [remote for remote in page if remote.id in unbooked]


def our_id(remote: RemotePayment) -> UUID:
    """The id of our row that the payment carries; one of no row if it carries none."""
    try:
        return UUID(remote.metadata.get(METADATA_KEY, ""))
    except ValueError:
        return queries.NO_ID

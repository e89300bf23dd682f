"""The procedures behind the recurring kinds, as the work of a run.

`rei_core.maintenance.runs.carry_out` keeps each of them to one at a time, takes it over if its
process dies, and writes down how it ended. Here is only which code belongs to which kind.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from rei_core.db import Connection, Pool
from rei_core.ledger.audit import audit
from rei_core.maintenance.backups.databases import mark_of
from rei_core.maintenance.backups.errors import (
    DatabaseUnreachable,
    PaymentsLeftBehind,
    RestoreBusy,
)
from rei_core.maintenance.backups.restore import finish_in_place
from rei_core.maintenance.model import Progress, RunResult
from rei_core.maintenance.reconciliation.service import reconcile
from rei_core.maintenance.resources import (
    JobRetentionPolicy,
    LedgerAudit,
    PaymentReconciliation,
    Resource,
    StuckJobPolicy,
)
from rei_core.maintenance.resources.payments import PaymentReconciliationSpec
from rei_core.maintenance.retention.service import remove_old
from rei_core.maintenance.runs import service as runs
from rei_core.maintenance.runs.model import Run, RunKey, TryAgain
from rei_core.maintenance.runs.service import Outcome, Work
from rei_core.maintenance.stuck_jobs.service import end_stuck_jobs
from rei_core.payments.port import PaymentProvider, Receipt

VIOLATIONS_KEPT_MAX = 100
AFTER_RESTORE = PaymentReconciliationSpec(
    schedule="0 0 * * *", older_than_minutes=1, lookback_days=30, max_per_run=100_000
)
"""How payments are reconciled after a restore, but for how far it looks back."""
RESTORE_TRIES_MAX = 8
"""So often a reconciliation after a restore waits for the restore's dying process, or for PostgreSQL."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Procedures:
    """What the procedures work with."""

    pool: Pool
    database_url: str = field(repr=False)
    provider: PaymentProvider
    receipt: Receipt | None = None

    def work_of(self, resource: Resource) -> Work | None:
        """The work of one run of this resource; None if its kind has none of its own."""
        match resource:
            case StuckJobPolicy():
                spec = resource.spec

                async def end_stuck(connection: Connection, progress: Progress) -> Outcome:
                    return Outcome(await end_stuck_jobs(connection, spec, progress))

                return end_stuck
            case JobRetentionPolicy():
                kept = resource.spec

                async def remove(connection: Connection, progress: Progress) -> Outcome:
                    return Outcome(await remove_old(connection, kept, progress))

                return remove
            case PaymentReconciliation():
                return self.reconciliation(resource.spec)
            case LedgerAudit():
                return _audit
            case _:
                return None

    def reconciliation(self, spec: PaymentReconciliationSpec) -> Work:
        """The work of a reconciliation; it takes connections of its own from the pool."""

        async def settle(connection: Connection, progress: Progress) -> Outcome:
            del connection
            found = await reconcile(self.pool, self.provider, spec, progress, receipt=self.receipt)
            return Outcome(found.result, found.detail())

        return settle

    def after_restore(self) -> Work:
        """The work of the reconciliation after a restore in place: what the restore has left undone,
        then all payments and refunds since the backup was taken."""

        async def settle(connection: Connection, progress: Progress) -> Outcome:
            left_behind = await self._finish_restore()
            spec = await _since_backup(connection)
            found = await reconcile(self.pool, self.provider, spec, progress, receipt=self.receipt)
            result = found.result if left_behind is None else found.result.noting(left_behind)
            return Outcome(result, found.detail())

        return settle

    async def _finish_restore(self) -> str | None:
        """What could not be carried over, None if nothing is left; raises `TryAgain`."""
        try:
            await finish_in_place(database_url=self.database_url)
        except PaymentsLeftBehind as error:
            return error.problem
        except (RestoreBusy, DatabaseUnreachable) as error:
            raise TryAgain(error) from error
        return None

    async def carry_out(
        self,
        key: RunKey,
        work: Work,
        *,
        owner: str,
        around: Callable[[str], None],
        attempts_max: int = 1,
    ) -> Run:
        """Carry the run out. `around` hears "run-begun" before the work and "run-worked" after."""

        async def watched(connection: Connection, progress: Progress) -> Outcome:
            around("run-begun")
            outcome = await work(connection, progress)
            around("run-worked")
            return outcome

        return await runs.carry_out(
            self.pool, key, owner=owner, work=watched, attempts_max=attempts_max
        )


async def _since_backup(connection: Connection) -> PaymentReconciliationSpec:
    """Looks back to when the backup was taken that the connection's database was restored from."""
    row = await connection.fetchrow("SELECT current_database() AS name, now() AS now")
    assert row is not None
    mark = await mark_of(connection, row["name"])
    if mark is None or mark.taken_at is None:
        return AFTER_RESTORE
    # A day more: the provider's clock is another, and a payment may have been begun before.
    days = (row["now"] - mark.taken_at).days + 2
    # It may be more than what a resource may ask for, which recurs.
    return AFTER_RESTORE.model_copy(update={"lookback_days": days})


async def _audit(connection: Connection, progress: Progress) -> Outcome:
    del progress
    report = await audit(connection)
    total = sum(report.violation_counts.values())
    result = RunResult(examined=report.transfers_examined)
    for one in report.violations[:5]:
        result = result.noting(f"{one.invariant}: {one.subject}: {one.detail}")
    detail = {
        "violations_count": total,
        "violation_counts": report.violation_counts,
        "violations": [
            {"invariant": one.invariant, "subject": one.subject, "detail": one.detail}
            for one in report.violations[:VIOLATIONS_KEPT_MAX]
        ],
        "accounts_kopecks": report.accounts,
    }
    return Outcome(result, detail)

"""What a LedgerAudit and a PaymentReconciliation add to the telling of a run."""

from __future__ import annotations

from datetime import datetime

from rei_core.maintenance.reconciliation.model import Reconciliation
from rei_core.maintenance.resources import Condition, ConditionStatus, LedgerAudit, Recurring
from rei_core.maintenance.resources.ledger import LedgerViolation
from rei_core.maintenance.resources.payments import (
    UNBOOKED_REFUNDS_MAX,
    UNKNOWN_PAYMENTS_MAX,
    UnbookedRefund,
    UnknownPayment,
)
from rei_core.maintenance.runs.model import Run, RunStatus
from rei_operator.actions import Event
from rei_operator.conditions import put, shortened
from rei_operator.kinds.recurring import Told, nothing_more

CONSISTENT = "Consistent"


def tell_audit(
    resource: Recurring, run: Run, conditions: tuple[Condition, ...], now: datetime
) -> Told:
    """The verdict on the ledger. A run that failed has none: the condition stays as it was."""
    assert isinstance(resource, LedgerAudit)
    if run.status is RunStatus.FAILED:
        return Told({}, conditions)
    counts: dict[str, int] = run.detail.get("violation_counts", {})
    total = sum(counts.values())
    broken = ", ".join(f"{name}: {count}" for name, count in sorted(counts.items()))
    message = (
        f"{total} violations in {run.result.examined} transfers ({broken})"
        if total
        else f"every invariant holds in {run.result.examined} transfers"
    )
    conditions = put(
        conditions,
        resource,
        now=now,
        status=ConditionStatus.FALSE if total else ConditionStatus.TRUE,
        reason="ViolationsFound" if total else "InvariantsHold",
        message=message,
        type_=CONSISTENT,
    )
    fields = {
        "violations": tuple(
            LedgerViolation(
                invariant=shortened(one["invariant"], 63),
                subject=shortened(one["subject"], 100),
                detail=shortened(one["detail"], 300),
            )
            for one in run.detail.get("violations", ())[: resource.spec.excerpt_max]
        ),
        "violations_count": total,
        "violation_counts": counts,
        "accounts_kopecks": run.detail.get("accounts_kopecks", {}),
    }
    return Told(fields, conditions, _audit_events(resource, run, message, total))


def _audit_events(resource: LedgerAudit, run: Run, message: str, total: int) -> tuple[Event, ...]:
    once = run.key.scheduled_for.isoformat()
    if total:
        return (Event("LedgerInconsistent", message, "Warning", once=once),)
    before = resource.status.condition(CONSISTENT)
    if before is not None and before.status is ConditionStatus.TRUE:
        return ()  # all is well as it was: nothing to tell every few minutes
    return (Event("LedgerConsistent", message, once=once),)


def tell_reconciliation(
    resource: Recurring, run: Run, conditions: tuple[Condition, ...], now: datetime
) -> Told:
    """The payments that nobody can explain, and the refunds that could not be debited."""
    told = nothing_more(resource, run, conditions, now)
    if run.status is RunStatus.FAILED:
        return told
    found = Reconciliation.of(run.result, run.detail)
    fields = {
        "unknown_payments": tuple(
            UnknownPayment(
                payment_id=one.provider_payment_id[:64],
                amount_kopecks=one.amount_kopecks,
                created_time=one.created_at,
            )
            for one in found.unknown[:UNKNOWN_PAYMENTS_MAX]
        ),
        "unknown_payments_count": found.unknown_count,
        "unbooked_refunds": tuple(
            UnbookedRefund(
                refund_id=one.provider_refund_id[:64],
                payment_id=one.payment_id[:64],
                amount_kopecks=one.amount_kopecks,
                problem=shortened(one.problem, 300),
            )
            for one in found.unbooked[:UNBOOKED_REFUNDS_MAX]
        ),
        "unbooked_refunds_count": found.unbooked_count,
    }
    events = told.events
    once = run.key.scheduled_for.isoformat()
    if found.unknown_count:
        text = f"{found.unknown_count} payments succeeded at YooKassa and are unknown here"
        events = (*events, Event("UnknownPayments", text, "Warning", once=once))
    if found.unbooked_count:
        text = (
            f"{found.unbooked_count} refunds were carried out at YooKassa and are not debited here"
        )
        events = (*events, Event("UnbookedRefunds", text, "Warning", once=once))
    return Told(fields, told.conditions, events)

"""BalanceAdjustment: carried out once, then told for good.

An answer in the status ends it: a debit that was refused for want of money is not tried again
months later, when nobody expects it any more. If the process dies between the ledger and the
status, the ledger itself knows the operation, and the repeat gets the same balance.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from rei_core.errors import InsufficientFunds, OperationConflict, ReiError, UserUnknown
from rei_core.maintenance.adjustments.service import Adjusted
from rei_core.maintenance.resources import BalanceAdjustment, ConditionStatus
from rei_core.money import format_rubles
from rei_operator.actions import Action, Adjust, Event, SetStatus
from rei_operator.conditions import is_over, put

REFUSALS = (InsufficientFunds, OperationConflict, UserUnknown)
"""What ends an adjustment without money having moved; their names are the reasons."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What the ledger said; None while it has not been asked."""

    now: datetime
    outcome: Adjusted | ReiError | None = None


def decide(resource: BalanceAdjustment, facts: Facts) -> tuple[Action, ...]:
    """Ask the ledger once, tell what it said."""
    if is_over(resource):
        return ()
    if facts.outcome is None:
        return (Adjust(),)
    if isinstance(facts.outcome, Adjusted):
        reason, message = "BalanceAdjusted", _done(resource, facts.outcome)
        event = Event(reason, message, once=reason)
        balance: int | None = facts.outcome.balance_after_kopecks
    else:
        reason, message = type(facts.outcome).__name__, str(facts.outcome)
        event = Event(reason, message, "Warning", once=reason)
        balance = None
    succeeded = isinstance(facts.outcome, Adjusted)
    status = resource.status.model_copy(
        update={
            "observed_generation": resource.metadata.generation,
            "completion_time": facts.now.replace(microsecond=0),
            "balance_after_kopecks": balance,
            "conditions": put(
                resource.status.conditions,
                resource,
                now=facts.now,
                status=ConditionStatus.TRUE if succeeded else ConditionStatus.FALSE,
                reason=reason,
                message=message,
            ),
        }
    )
    return event, SetStatus(status)


def _done(resource: BalanceAdjustment, outcome: Adjusted) -> str:
    spec = resource.spec
    return (
        f"user {spec.user_id}: {format_rubles(spec.amount_kopecks)} by operation "
        f"{spec.operation_id}, balance {format_rubles(outcome.balance_after_kopecks)} after it"
    )

"""BalanceAdjustment: carried out once, then told for good.

An answer in the status ends it: a debit that was refused for want of money is not tried again
months later, when nobody expects it any more. If the process dies between the ledger and the
status, the ledger itself knows the operation, and the repeat gets the same balance.

A database that was restored from before an adjustment has forgotten it, while its resource says
that it was carried out. Then it is carried out again: nothing else would ever give the customer
that money back. One that was refused stays refused.
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
    """What the ledger said; None while it has not been asked. `forgotten`: the ledger does not know
    the operation, though it is told as carried out."""

    now: datetime
    outcome: Adjusted | ReiError | None = None
    forgotten: bool = False


def says_done(resource: BalanceAdjustment) -> bool:
    """Whether the resource says that the adjustment was carried out."""
    condition = resource.status.condition(resource.condition_type)
    return condition is not None and condition.status is ConditionStatus.TRUE


def decide(resource: BalanceAdjustment, facts: Facts) -> tuple[Action, ...]:
    """Ask the ledger once, tell what it said."""
    if facts.outcome is None:
        return () if is_over(resource) and not facts.forgotten else (Adjust(),)
    if says_done(resource):
        return _again(resource, facts, facts.outcome)
    if isinstance(facts.outcome, Adjusted):
        reason, message = "BalanceAdjusted", _done(resource, facts.outcome)
        event = Event(reason, message, once=reason)
        balance: int | None = facts.outcome.balance_after_kopecks
    else:
        reason, message = type(facts.outcome).__name__, str(facts.outcome)
        event = Event(reason, message, "Warning", once=reason)
        balance = None
    return event, _told(resource, facts, reason, message, balance=balance)


def _again(
    resource: BalanceAdjustment, facts: Facts, outcome: Adjusted | ReiError
) -> tuple[Action, ...]:
    """What came of carrying out once more what a restored ledger had forgotten.

    Nothing, if it was not forgotten: of two operators that are alive by mistake one has made it, and
    the other one found and told that, in whichever order.
    """
    if isinstance(outcome, Adjusted):
        told_at = resource.status.completion_time
        made_at = outcome.made_at.replace(microsecond=0)  # a status tells whole seconds
        if outcome.repeated or (told_at is not None and told_at >= made_at):
            return ()
        reason = "AdjustedAgain"
        text = (
            f"forgotten by the ledger since (a restore?), so once more: {_done(resource, outcome)}"
        )
        event = Event(reason, text, once=facts.now.isoformat())
        balance = outcome.balance_after_kopecks
        return event, _told(resource, facts, "BalanceAdjusted", text, balance=balance)
    reason, text = type(outcome).__name__, f"forgotten by the ledger since (a restore?): {outcome}"
    event = Event(reason, text, "Warning", once=f"again {reason}")
    if isinstance(outcome, UserUnknown):
        return (event,)  # tried again with every look: a customer who is back gets it then
    return event, _told(resource, facts, reason, text, balance=None)


def _told(
    resource: BalanceAdjustment, facts: Facts, reason: str, message: str, *, balance: int | None
) -> SetStatus:
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
    return SetStatus(status)


def _done(resource: BalanceAdjustment, outcome: Adjusted) -> str:
    spec = resource.spec
    return (
        f"user {spec.user_id}: {format_rubles(spec.amount_kopecks)} by operation "
        f"{spec.operation_id}, balance {format_rubles(outcome.balance_after_kopecks)} after it"
    )

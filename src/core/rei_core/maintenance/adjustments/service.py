"""A balance changed by hand, once for its operation id, whatever resource or command asks.

The ledger itself knows the operation: applying a manifest again, on another cluster or after a
restore, finds it there. So this can be repeated at any point. Who asked for it goes into the trail,
in the same transaction as the money.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import structlog

from rei_core.db import Connection
from rei_core.ledger import queries as ledger_queries
from rei_core.ledger import service as ledger
from rei_core.maintenance.model import RunResult
from rei_core.maintenance.resources.ledger import BalanceAdjustmentSpec
from rei_core.trail import queries as trail
from rei_core.trail.model import Action, Actor, Word

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Adjusted:
    """The balance that the operation left, in kopecks: the same for every repeat."""

    balance_after_kopecks: int
    result: RunResult
    made_at: datetime
    repeated: bool = False
    """The ledger knew the operation before: nothing has moved now."""


async def adjust(
    connection: Connection, spec: BalanceAdjustmentSpec, *, actor: Actor, dry_run: bool = False
) -> Adjusted:
    """Make the adjustment, or find it made; a dry run tries it and takes it back.

    In a transaction of its own. Raises `OperationConflict`, `InsufficientFunds`, `UserUnknown`:
    then nothing has changed.
    """
    transaction = connection.transaction()
    await transaction.start()
    try:
        balance_kopecks = await ledger.adjust(
            connection,
            user_id=spec.user_id,
            change_kopecks=spec.amount_kopecks,
            operation_id=spec.operation_id,
            reason=spec.reason,
        )
        made = await ledger_queries.adjustment(connection, spec.operation_id)
        assert made is not None
        made_at, repeated = made["created_at"], not made["made_now"]
        if not repeated:
            await trail.record(connection, action_of(spec, actor))
    except BaseException:
        await transaction.rollback()
        raise
    if dry_run:
        await transaction.rollback()
        return Adjusted(balance_kopecks, RunResult(examined=1, changed=1), made_at, repeated)
    await transaction.commit()
    if not repeated:
        log.info(
            "balance.adjusted",
            user_id=spec.user_id,
            amount_kopecks=spec.amount_kopecks,
            operation_id=spec.operation_id,
            transfer=f"adjustment/operation/{spec.operation_id}",
        )
    done = RunResult(examined=1, changed=1, amount_kopecks=spec.amount_kopecks)
    return Adjusted(balance_kopecks, done, made_at, repeated)


def action_of(spec: BalanceAdjustmentSpec, actor: Actor) -> Action:
    """The adjustment as the trail tells it."""
    return Action(
        operation_id=spec.operation_id,
        word=Word.CREDIT if spec.amount_kopecks > 0 else Word.DEBIT,
        actor=actor,
        user_id=spec.user_id,
        reason=spec.reason,
        amount_kopecks=spec.amount_kopecks,
    )

"""Corrections of a balance by hand, keyed by an operation id so that a repeat changes nothing."""

from __future__ import annotations

import asyncpg

from rei_core.db import Connection
from rei_core.errors import InsufficientFunds, OperationConflict, UserUnknown
from rei_core.ledger import queries


async def adjust(
    connection: Connection, *, user_id: int, change_kopecks: int, operation_id: str, reason: str
) -> int:
    """Credit (positive) or debit (negative) the user once for `operation_id`; return the balance.

    A repeat with the same content returns the balance that the first call left. Raises
    `OperationConflict` for other content, `InsufficientFunds`, `UserUnknown`.
    """
    if change_kopecks == 0:
        raise ValueError("an adjustment of zero kopecks moves nothing")
    wanted = (user_id, change_kopecks, reason)
    try:
        async with connection.transaction():  # a savepoint: the caller's transaction lives on
            balance = await queries.insert_adjustment(
                connection,
                user_id=user_id,
                change_kopecks=change_kopecks,
                operation_id=operation_id,
                reason=reason,
            )
    except (asyncpg.UniqueViolationError, asyncpg.CheckViolationError) as error:
        # A repeated debit that took the last ruble the first time trips over the balance before
        # it meets the unique key, so both errors ask the same question: was it done already?
        known = await queries.adjustment(connection, operation_id)
        if known is not None:
            if (known["user_id"], known["change_kopecks"], known["note"]) != wanted:
                raise OperationConflict(operation_id) from error
            return int(known["balance_after_kopecks"])
        raise InsufficientFunds(
            user_id=user_id,
            balance_kopecks=await queries.balance_kopecks(connection, user_id),
            amount_kopecks=-change_kopecks,
        ) from error
    if balance is None:
        raise UserUnknown(user_id)
    return balance

"""The ledger's SQL, apart from the transfers that jobs and payments write in their own statements."""

from __future__ import annotations

import asyncpg

from rei_core.db import Connection
from rei_core.ledger.model import Account, Transfer, TransferKind

BALANCE = """
SELECT balance_kopecks
FROM balances
WHERE user_id = $1
"""


async def balance_kopecks(connection: Connection, user_id: int) -> int:
    """The user's balance in kopecks; 0 for a user we have never seen."""
    value: int | None = await connection.fetchval(BALANCE, user_id)
    return value or 0


STATEMENT = """
SELECT id, kind, ref_type, ref_id, debit_account, credit_account,
       amount_kopecks, balance_after_kopecks, note, created_at
FROM transfers
WHERE user_id = $1
  AND ($2::bigint IS NULL OR id < $2)
ORDER BY id DESC
LIMIT $3
"""


async def statement(
    connection: Connection, user_id: int, *, before_id: int | None = None, limit: int = 20
) -> list[Transfer]:
    """The user's transfers, newest first, at most `limit`, older than `before_id`."""
    return [
        transfer_of(row) for row in await connection.fetch(STATEMENT, user_id, before_id, limit)
    ]


# The balance row is locked by the UPDATE, and the unique cause of the transfer makes a repeat
# fail as a whole: the change of the balance goes with it.
ADJUST = """
WITH account AS (
    UPDATE balances
    SET balance_kopecks = balance_kopecks + $2
    WHERE user_id = $1
    RETURNING balance_kopecks
)
INSERT INTO transfers (kind, ref_type, ref_id, user_id, debit_account, credit_account,
                       amount_kopecks, balance_after_kopecks, note)
SELECT 'adjustment', 'operation', $3, $1,
       CASE WHEN $2 > 0 THEN 'adjustments' ELSE 'user' END,
       CASE WHEN $2 > 0 THEN 'user' ELSE 'adjustments' END,
       abs($2), account.balance_kopecks, $4
FROM account
RETURNING balance_after_kopecks
"""


async def insert_adjustment(
    connection: Connection, *, user_id: int, change_kopecks: int, operation_id: str, reason: str
) -> int | None:
    """Move `change_kopecks` (signed) and return the new balance; None if there is no such user.

    Raises asyncpg's UniqueViolationError for a known operation, CheckViolationError below zero.
    """
    value: int | None = await connection.fetchval(
        ADJUST, user_id, change_kopecks, operation_id, reason
    )
    return value


ADJUSTMENT = """
SELECT user_id, note, balance_after_kopecks,
       CASE WHEN credit_account = 'user' THEN amount_kopecks ELSE -amount_kopecks END
           AS change_kopecks,
       created_at,
       created_at = now() AS made_now
FROM transfers
WHERE kind = 'adjustment' AND ref_type = 'operation' AND ref_id = $1
"""


async def adjustment(connection: Connection, operation_id: str) -> asyncpg.Record | None:
    """The adjustment made under this id: user_id, note, balance_after_kopecks, change_kopecks,
    created_at, and `made_now`: whether the caller's own transaction has made it."""
    return await connection.fetchrow(ADJUSTMENT, operation_id)


def transfer_of(row: asyncpg.Record) -> Transfer:
    """A row of `transfers` as a value."""
    return Transfer(
        id=row["id"],
        kind=TransferKind(row["kind"]),
        ref_type=row["ref_type"],
        ref_id=row["ref_id"],
        debit_account=Account(row["debit_account"]),
        credit_account=Account(row["credit_account"]),
        amount_kopecks=row["amount_kopecks"],
        balance_after_kopecks=row["balance_after_kopecks"],
        note=row["note"],
        created_at=row["created_at"],
    )

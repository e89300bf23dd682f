"""What has moved through the ledger so far, by kind, without reading all of it each time.

A reader keeps the sums up to an id (`Sums`), and reads only what came after. Ids are given before a
transaction ends, so a transfer may appear below one that is there already; sums therefore close
only over transfers that are `SETTLING_SECONDS` old: no transaction that moves money lasts so long.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from asyncpg import Record

from rei_core.db import Connection

PAGE: Final = 200_000
"""Transfers that one statement reads; the first sums over a large ledger take several."""
SETTLING_SECONDS: Final = 300.0


@dataclass(frozen=True, slots=True)
class Moved:
    """How many transfers there were, and their sum."""

    transfers: int = 0
    kopecks: int = 0

    def __add__(self, other: Moved) -> Moved:
        return Moved(self.transfers + other.transfers, self.kopecks + other.kopecks)


@dataclass(frozen=True, slots=True)
class Sums:
    """What moved by the transfers up to and with the id `upto`."""

    upto: int = 0
    moved: Mapping[str, Moved] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Turnover:
    """All that has moved so far, and the sums to begin with the next time.

    `whole` is False while there is more to read: then ask again with `closed`.
    """

    moved: Mapping[str, Moved]
    closed: Sums
    whole: bool


# An adjustment goes one way or the other; each other kind has one way only.
READ = """
WITH page AS MATERIALIZED (
    SELECT id, amount_kopecks, created_at,
           CASE WHEN kind <> 'adjustment' THEN kind
                WHEN credit_account = 'user' THEN 'adjustment_credit'
                ELSE 'adjustment_debit' END AS kind
    FROM transfers
    WHERE id > $1
    ORDER BY id
    LIMIT $2
), young AS (
    SELECT min(id) AS first_id
    FROM page
    WHERE created_at > now() - make_interval(secs => $3)
)
SELECT page.kind, young.first_id IS NULL OR page.id < young.first_id AS closed,
       count(*) AS transfers, sum(page.amount_kopecks)::bigint AS kopecks, max(page.id) AS last_id
FROM page, young
GROUP BY 1, 2
"""


async def read_turnover(connection: Connection, sums: Sums, *, page: int = PAGE) -> Turnover:
    """Add what came after `sums`."""
    while True:
        rows = await connection.fetch(READ, sums.upto, page, SETTLING_SECONDS)
        closed = [row for row in rows if row["closed"]]
        upto = max((row["last_id"] for row in closed), default=sums.upto)
        whole = sum(row["transfers"] for row in rows) < page
        if whole or upto > sums.upto:
            break
        page *= 2  # more than a page has come in so short a time that nothing of it is closed
    return Turnover(_added(sums.moved, rows), Sums(upto, _added(sums.moved, closed)), whole)


def _added(moved: Mapping[str, Moved], rows: Sequence[Record]) -> dict[str, Moved]:
    total = dict(moved)
    for row in rows:
        more = Moved(row["transfers"], row["kopecks"])
        total[row["kind"]] = total.get(row["kind"], Moved()) + more
    return total

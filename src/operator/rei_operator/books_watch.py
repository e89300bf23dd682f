"""Reads money and what waits from PostgreSQL every few seconds, by statements that read no more than
they count."""

from __future__ import annotations

import asyncio
from typing import Final, NoReturn

import structlog

from rei_core.db import Connection, Pool
from rei_core.deliveries.backlog_queries import backlog
from rei_core.images.circuits import open_circuits
from rei_core.ledger.turnover import Sums, Turnover, read_turnover
from rei_core.payments.pending_queries import pending_payments, pending_refunds
from rei_operator.figures import Books
from rei_operator.metrics import Metrics

log = structlog.get_logger(__name__)

PERIOD_SECONDS: Final = 10.0
READ_SECONDS_MAX: Final = 30.0


class BooksWatch:
    """Keeps the sums that it has read, so that the next reading begins there."""

    def __init__(self, pool: Pool, metrics: Metrics) -> None:
        self._pool = pool
        self._metrics = metrics
        self._sums = Sums()

    async def run(self, *, period_seconds: float = PERIOD_SECONDS) -> NoReturn:
        """Read until cancelled. While PostgreSQL is away there are no numbers, rather than old ones."""
        while True:
            try:
                async with asyncio.timeout(READ_SECONDS_MAX), self._pool.acquire() as connection:
                    self._metrics.books(await self._read(connection))
            except Exception as error:  # whatever it is, the numbers are not known
                self._metrics.books(None)
                log.warning("books.not_read", error=type(error).__name__)
            await asyncio.sleep(period_seconds)

    async def _read(self, connection: Connection) -> Books:
        turnover = await self._turnover(connection)
        return Books(
            turnover.moved,
            await pending_payments(connection),
            await pending_refunds(connection),
            await backlog(connection),
            await open_circuits(connection),
        )

    async def _turnover(self, connection: Connection) -> Turnover:
        """All of it, page by page; what has been read stays read if this is cut off."""
        while True:
            turnover = await read_turnover(connection, self._sums)
            self._sums = turnover.closed
            if turnover.whole:
                return turnover

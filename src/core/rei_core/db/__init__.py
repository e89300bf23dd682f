"""The database: connections, what cuts them, and migrations."""

from rei_core.db.outages import CUT_OFF, OUTAGES, is_outage
from rei_core.db.pool import Connection, Pool, answers, close_pool, create_pool, is_lost

__all__ = [
    "CUT_OFF",
    "OUTAGES",
    "Connection",
    "Pool",
    "answers",
    "close_pool",
    "create_pool",
    "is_lost",
    "is_outage",
]

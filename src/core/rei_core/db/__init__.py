"""The database: connections and migrations."""

from rei_core.db.pool import Connection, Pool, close_pool, create_pool, is_lost

__all__ = ["Connection", "Pool", "close_pool", "create_pool", "is_lost"]

"""The database: connections and migrations."""

from rei_core.db.pool import Connection, Pool, create_pool

__all__ = ["Connection", "Pool", "create_pool"]

"""How a story of the operator ends, without the times, sizes and made-up names that differ between
two tellings: what two ends are compared by, on the API server in memory and on a real one."""

from __future__ import annotations

import re
from typing import Any

from rei_core.db import Connection

Json = dict[str, Any]

ROWS = {
    "transfers": """
        SELECT kind, user_id, amount_kopecks, balance_after_kopecks FROM transfers ORDER BY id
    """,
    "balances": "SELECT user_id, balance_kopecks, active_jobs FROM balances ORDER BY user_id",
    "payments": "SELECT status, amount_kopecks FROM payments ORDER BY status, amount_kopecks",
    "jobs": "SELECT status, error_code FROM jobs ORDER BY id",
    "deliveries": "SELECT kind, user_id, status FROM deliveries ORDER BY kind, user_id, id",
    "updates": "SELECT update_id FROM telegram_updates ORDER BY update_id",
    "bans": "SELECT user_id, source, reason FROM user_bans ORDER BY user_id, source",
    "runs": """
        SELECT kind, name, status, result, detail FROM maintenance_runs ORDER BY kind, name, id
    """,
}
UNLIKE = frozenset({"lastRunSeconds", "sizeBytes", "size_bytes", "checksum"})
"""Fields whose value is another one each time; that they are there counts."""
MADE_UP = (
    (re.compile(r"[0-9]{8}t[0-9]{6}z-[0-9a-f]{8}"), "BACKUP"),
    (re.compile(r"[0-9]{8}t[0-9]{6}z"), "TIME"),
    (re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"), "UUID"),
    (re.compile(r"(?<=-)[0-9]{10,14}"), "TIME"),
    (re.compile(r"[0-9]+(?= bytes)"), "MANY"),
)


async def rows_of(connection: Connection, *, database: str) -> Json:
    """What a story leaves in the database of this name."""
    return {
        name: alike([list(row) for row in await connection.fetch(sql)], database=database)
        for name, sql in ROWS.items()
    }


def statuses_of(objects: list[Json], *, database: str) -> Json:
    """The statuses of objects that are no Events, by kind and name."""
    return {
        alike(f"{raw['kind']}/{raw['metadata']['name']}", database=database): alike(
            raw.get("status", {}), database=database
        )
        for raw in objects
        if raw["kind"] != "Event"
    }


def events_of(objects: list[Json]) -> list[tuple[str, str, int]]:
    """What was told about which kind, and how often."""
    return sorted(
        (raw["involvedObject"]["kind"], raw["reason"], raw["count"])
        for raw in objects
        if raw["kind"] == "Event"
    )


def alike(value: Any, *, database: str) -> Any:
    """The value without what differs between two tellings; the database's own name differs, too."""
    if isinstance(value, dict):
        return {
            name: "SET" if name in UNLIKE else alike(one, database=database)
            for name, one in value.items()
            if not name.endswith(("Time", "_time", "_at"))
        }
    if isinstance(value, list | tuple):
        return [alike(one, database=database) for one in value]
    if not isinstance(value, str):
        return value
    text = value.replace(database, "LIVE")
    for pattern, name in MADE_UP:
        text = pattern.sub(name, text)
    return text

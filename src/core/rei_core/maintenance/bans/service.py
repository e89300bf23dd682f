"""Bans by custom resources. Level-based: a `UserBan` that exists bans, one that does not does not.

Each resource is a source of its own (`users/ban_queries.py`): several may ban one user, and so may
an admin, and the user is banned until the last of them is gone. Calling again changes nothing.
"""

from __future__ import annotations

from collections.abc import Collection

import structlog

from rei_core.db import Connection
from rei_core.errors import UserUnknown
from rei_core.maintenance.resources.users import UserBanSpec
from rei_core.users import ban_queries

log = structlog.get_logger(__name__)


def source_of(*, namespace: str, name: str) -> str:
    """What a resource is called as the source of a ban. Not its uid: a restored one is the same."""
    return f"{_prefix(namespace)}{name}"


def _prefix(namespace: str) -> str:
    return f"userban/{namespace}/"


async def put(connection: Connection, spec: UserBanSpec, *, namespace: str, name: str) -> bool:
    """Let the resource ban its user; whether the ban is in force now, or has expired.

    Raises `UserUnknown` if nobody of that id has written to the bot yet: ask again later.
    """
    source = source_of(namespace=namespace, name=name)
    in_force = await ban_queries.put(
        connection, source, user_id=spec.user_id, reason=spec.reason, expires_at=spec.expires_at
    )
    if in_force is None:
        raise UserUnknown(spec.user_id)
    log.info("ban.put", source=source, user_id=spec.user_id, in_force=in_force)
    return in_force


async def lift(connection: Connection, *, namespace: str, name: str) -> int | None:
    """The resource is gone: so is its ban. The user's id, None if there was no ban."""
    source = source_of(namespace=namespace, name=name)
    user_id = await ban_queries.lift(connection, source)
    if user_id is not None:
        log.info("ban.lifted", source=source, user_id=user_id)
    return user_id


async def lift_all_but(connection: Connection, *, namespace: str, names: Collection[str]) -> int:
    """Lift what resources of this namespace banned that are not there any more; how many.

    For the start of an operator: a resource may have been deleted while nobody looked.
    """
    kept = {source_of(namespace=namespace, name=name) for name in names}
    gone = [
        source
        for source in await ban_queries.sources(connection, _prefix(namespace))
        if source not in kept
    ]
    for source in gone:
        await ban_queries.lift(connection, source)
    return len(gone)

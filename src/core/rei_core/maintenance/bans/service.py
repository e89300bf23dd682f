"""Bans by custom resources. Level-based: a `UserBan` that exists bans, one that does not does not.

Each resource is a source of its own (`users/ban_queries.py`): several may ban one user, and so may
an admin, and the user is banned until the last of them is gone. Calling again changes nothing.

A ban that was put by hand, from a file, has a source of another kind: no API server knows its
resource, so an operator would take it for one whose UserBan was deleted, and lift it.

What changes is written into the trail, in the same transaction. A resource that says what it said
before changes nothing and leaves no row, so the rows need no id that outlives them.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Final

import structlog

from rei_core.db import Connection
from rei_core.errors import UserUnknown
from rei_core.maintenance.resources.users import UserBanSpec
from rei_core.trail import queries as trail
from rei_core.trail.model import Action, Actor, Word, new_operation_id
from rei_core.users import ban_queries

RESOURCES: Final = "userban/"
"""Sources of bans by resources begin so."""

log = structlog.get_logger(__name__)


def source_of(*, namespace: str, name: str, by_hand: bool = False) -> str:
    """What a resource is called as the source of a ban. Not its uid: a restored one is the same."""
    return f"{_prefix(namespace, by_hand=by_hand)}{name}"


def _prefix(namespace: str, *, by_hand: bool = False) -> str:
    return f"{'by-hand/' if by_hand else RESOURCES}{namespace}/"


async def put(
    connection: Connection,
    spec: UserBanSpec,
    *,
    namespace: str,
    name: str,
    actor: Actor,
    by_hand: bool = False,
    dry_run: bool = False,
) -> bool:
    """Let the resource ban its user; whether the ban is in force now, or has expired.

    A dry run tries it and takes it back. Raises `UserUnknown` if nobody of that id has written to
    the bot yet: ask again later.
    """
    source = source_of(namespace=namespace, name=name, by_hand=by_hand)
    transaction = connection.transaction()
    await transaction.start()
    try:
        put = await ban_queries.put(
            connection, source, user_id=spec.user_id, reason=spec.reason, expires_at=spec.expires_at
        )
        if put is not None and put.changed:
            await _record(connection, Word.BAN, actor, user_id=spec.user_id, reason=spec.reason)
    except BaseException:
        await transaction.rollback()
        raise
    if dry_run:
        await transaction.rollback()
    else:
        await transaction.commit()
    if put is None:
        raise UserUnknown(spec.user_id)
    if not dry_run:
        log.info("ban.put", source=source, user_id=spec.user_id, in_force=put.in_force)
    return put.in_force


async def lift(
    connection: Connection, *, namespace: str, name: str, actor: Actor, by_hand: bool = False
) -> int | None:
    """The resource is gone: so is its ban. The user's id, None if there was no ban."""
    source = source_of(namespace=namespace, name=name, by_hand=by_hand)
    async with connection.transaction():
        user_id = await ban_queries.lift(connection, source)
        if user_id is not None:
            await _record(connection, Word.UNBAN, actor, user_id=user_id)
    if user_id is not None:
        log.info("ban.lifted", source=source, user_id=user_id)
    return user_id


async def _record(
    connection: Connection, word: Word, actor: Actor, *, user_id: int, reason: str = ""
) -> None:
    action = Action(
        operation_id=new_operation_id(word),
        word=word,
        actor=actor,
        user_id=user_id,
        reason=reason,
    )
    await trail.record(connection, action)


async def banned_by(connection: Connection, source: str) -> int | None:
    """The user whom this source bans, if any."""
    return await ban_queries.user_of(connection, source)


async def of_resources(
    connection: Connection, *, namespace: str | None = None
) -> AsyncIterator[tuple[str, str]]:
    """(namespace, name) of every resource that bans somebody; of one namespace, or of all.

    Not what was put by hand: that is nobody's to lift who looks for resources.
    """
    prefix = RESOURCES if namespace is None else _prefix(namespace)
    async for page in ban_queries.sources(connection, prefix):
        for source in page:
            its_namespace, _, name = source.removeprefix(RESOURCES).partition("/")
            yield its_namespace, name

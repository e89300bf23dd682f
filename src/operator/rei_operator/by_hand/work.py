"""Carrying out one resource by hand.

Keys. Each run by hand of what recurs is a run of its own: its key has a namespace that no cluster can
have (`by-hand/…`) and the moment of the database's clock, read under the lock. So the operator neither
finds it among its resource's runs nor takes it over when this process dies. The two still never
overlap: the lock of the operator's run is held, too. A BalanceAdjustment is keyed by its operation in
the ledger, a Restore by its name in the mark on the database, a UserBan by a source of its own: these
may be run again, and it changes nothing.

Ended in the middle (Ctrl-C, a cut connection), what was done is done and counted in its row; running
the file again goes on with what is left.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Awaitable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import asyncpg

from rei_core.commands.progress import ProgressLine, size
from rei_core.db import CUT_OFF, Connection, Pool
from rei_core.errors import ConfigurationError, InsufficientFunds, ReiError
from rei_core.maintenance.adjustments.service import adjust
from rei_core.maintenance.backups.encryption import Identities
from rei_core.maintenance.backups.restore import Restored
from rei_core.maintenance.bans import service as bans
from rei_core.maintenance.model import Json, Progress, RunResult
from rei_core.maintenance.resources import (
    Backup,
    BackupSchedule,
    BalanceAdjustment,
    Resource,
    Restore,
    UserBan,
)
from rei_core.maintenance.runs import queries as run_rows
from rei_core.maintenance.runs import service as runs
from rei_core.maintenance.runs.model import Run, RunKey, RunStatus
from rei_core.maintenance.runs.service import Outcome, Work, told
from rei_core.money import format_rubles
from rei_core.trail.model import Actor
from rei_operator import job, manifests, run_queries
from rei_operator.by_hand.model import Ended, State
from rei_operator.kinds.backup_schedule import PRUNE_KIND
from rei_operator.kinds.restore import RECONCILE_KIND
from rei_operator.procedures import Procedures

BY_HAND: Final = "by-hand/"
"""Begins the namespace of runs by hand; no namespace of Kubernetes has a slash in it."""


def key_by_hand(kind: str, resource: Resource, moment: datetime) -> RunKey:
    """The key of a run by hand: never one of the operator's."""
    return RunKey(kind, f"{BY_HAND}{resource.metadata.namespace}", resource.metadata.name, moment)


@dataclass(frozen=True, slots=True, kw_only=True)
class Means:
    """What the work is done with. `procedures` ask YooKassa only for what needs it."""

    pool: Pool
    url: str
    procedures: Procedures
    line: ProgressLine
    actor: Actor
    identities: Identities | None = None
    tools_folder: Path | None = None


async def carry_out(means: Means, resource: Resource) -> Ended:
    """Do it; every failure that has a name is told by the answer, none is raised."""
    return await naming(_do(means, resource))


async def lift(means: Means, ban: UserBan) -> Ended:
    """Take back the ban that this UserBan was run for."""
    return await naming(_lift(means, ban))


async def naming(work: Awaitable[Ended]) -> Ended:
    """The end of a document, whatever is raised on the way; a wrong setting is for the caller."""
    try:
        return await work
    except ConfigurationError:
        raise
    except ReiError as error:
        return Ended(State.FAILED, RunResult(examined=1, failed=1), error=said(error))
    except CUT_OFF as error:
        text = f"the way to the database was cut ({told(error)}): what was done stays; run it again"
        return Ended(State.FAILED, error=text)
    except asyncpg.PostgresError as error:
        return Ended(State.FAILED, error=f"the database refuses: {told(error)}")


def said(error: ReiError) -> str:
    """The error for a person; money in rubles."""
    if isinstance(error, InsufficientFunds):
        return (
            f"user {error.user_id} has {format_rubles(error.balance_kopecks)}, "
            f"{format_rubles(error.amount_kopecks)} are needed; nothing has moved"
        )
    return told(error)


async def _do(means: Means, resource: Resource) -> Ended:
    match resource:
        case BalanceAdjustment():
            return await _adjust(means, resource)
        case UserBan():
            return await _ban(means, resource)
        case Backup():
            return await _back_up(means, resource)
        case BackupSchedule():
            return await _back_up_and_prune(means, resource)
        case Restore():
            return await _restore(means, resource)
        case _:
            return await _recurring(means, resource)


async def _adjust(means: Means, adjustment: BalanceAdjustment) -> Ended:
    async with means.pool.acquire() as connection:
        adjusted = await adjust(connection, adjustment.spec, actor=means.actor)
    balance = format_rubles(adjusted.balance_after_kopecks)
    detail = {"balance_after_kopecks": adjusted.balance_after_kopecks}
    spec = adjustment.spec
    if adjusted.repeated:
        text = (
            f"operation {spec.operation_id} was made before, and left user {spec.user_id} with "
            f"{balance}: nothing has moved now"
        )
        return Ended(State.UNCHANGED, RunResult(examined=1), (text,), detail)
    text = f"user {spec.user_id} has {balance} now, by operation {spec.operation_id}"
    return Ended(State.DONE, adjusted.result, (text,), detail)


async def _ban(means: Means, ban: UserBan) -> Ended:
    async with means.pool.acquire() as connection:
        in_force = await bans.put(
            connection,
            ban.spec,
            namespace=ban.metadata.namespace,
            name=ban.metadata.name,
            actor=means.actor,
            by_hand=True,
        )
    return banned(ban, in_force=in_force, state=State.DONE)


def banned(ban: UserBan, *, in_force: bool, state: State) -> Ended:
    """What putting the ban comes to."""
    spec = ban.spec
    until = "until `rei run --delete`" if spec.expires_at is None else f"until {spec.expires_at}"
    if in_force:
        text = f"user {spec.user_id} cannot order {until}"
    else:
        text = f"expired at {spec.expires_at}: user {spec.user_id} may order, as far as this goes"
    return Ended(state, RunResult(examined=1, changed=1), (text,), {"in_force": in_force})


async def _lift(means: Means, ban: UserBan) -> Ended:
    async with means.pool.acquire() as connection:
        user_id = await bans.lift(
            connection,
            namespace=ban.metadata.namespace,
            name=ban.metadata.name,
            actor=means.actor,
            by_hand=True,
        )
    if user_id is None:
        return Ended(State.UNCHANGED, RunResult(examined=1), ("it had banned nobody",))
    text = f"user {user_id} is not banned by this any more"
    return Ended(State.DONE, RunResult(examined=1, changed=1), (text,))


async def _recurring(means: Means, resource: Resource) -> Ended:
    work = means.procedures.work_of(resource)
    assert work is not None, resource.kind
    # Not while the operator is at this resource, and not the other way round either.
    operators = RunKey(*resource.key, datetime.now(UTC))
    async with means.pool.acquire() as guard, run_rows.only_one(guard, operators):
        run = await _run(means, resource.kind, resource, await run_queries.now(guard), work)
    return ended(run)


async def _run(
    means: Means, kind: str, resource: Resource, moment: datetime, work: Work
) -> Run:  # fmt: skip
    return await runs.carry_out(
        means.pool,
        key_by_hand(kind, resource, moment),
        owner=f"{socket.gethostname()}-{os.getpid()}",
        work=_telling(work, f"{resource.kind} {resource.metadata.name}", means.line),
    )


def _telling(work: Work, what: str, line: ProgressLine) -> Work:
    async def worked(connection: Connection, progress: Progress) -> Outcome:
        return await work(connection, _Told(progress, what, line))

    return worked


class _Told:
    """The progress of a run, which a person hears of, too."""

    def __init__(self, progress: Progress, what: str, line: ProgressLine) -> None:
        self._progress = progress
        self._what = what
        self._line = line

    @property
    def result(self) -> RunResult:
        return self._progress.result

    @property
    def detail(self) -> Json:
        return self._progress.detail

    async def remember(self, connection: Connection, detail: Json) -> None:
        await self._progress.remember(connection, detail)

    async def advance(self, connection: Connection, result: RunResult) -> None:
        await self._progress.advance(connection, result)
        self._line.tell(
            f"{self._what}: examined {result.examined}, changed {result.changed}, "
            f"failed {result.failed}, {format_rubles(result.amount_kopecks)}"
        )


def ended(run: Run) -> Ended:
    """A run's row as the end of a document."""
    if run.status is RunStatus.FAILED:
        return Ended(State.FAILED, run.result, detail=run.detail, error=run.error or "it failed")
    return judged(run.result, run.detail)


def judged(result: RunResult, detail: dict[str, object]) -> Ended:
    """Work that came to its end is well only if nothing failed and every invariant holds."""
    violations = detail.get("violations_count", 0)
    well = not result.failed and not violations
    return Ended(
        State.DONE if well else State.FAILED,
        result,
        tuple(_lines(result, detail)),
        detail,
        error=f"{violations} violations of the ledger's invariants" if violations else "",
    )


def _lines(result: RunResult, detail: dict[str, object]) -> list[str]:
    """What only some kinds have to tell."""
    lines: list[str] = []
    told_before = set(result.notes)
    for one in _list(detail, "violations"):
        text = f"{one['invariant']}: {one['subject']}: {one['detail']}"
        if text not in told_before:
            lines.append(text)
    for one in _list(detail, "unknown"):
        amount = format_rubles(one["amount_kopecks"])
        lines.append(
            f"unknown payment {one['provider_payment_id']}, {amount}, of {one['created_at']}"
        )
    for one in _list(detail, "unbooked"):
        lines.append(  # noqa: PERF401 - one kind of line after the other
            f"refund {one['provider_refund_id']}, {format_rubles(one['amount_kopecks'])}, is not "
            f"debited: {one['problem']}"
        )
    if accounts := detail.get("accounts_kopecks"):
        assert isinstance(accounts, dict)
        sums = (f"{name} {format_rubles(kopecks)}" for name, kopecks in accounts.items())
        lines.append(f"accounts: {', '.join(sums)}")
    if backup_id := detail.get("backup_id"):
        stored = detail.get("size_bytes", 0)
        assert isinstance(stored, int)
        verified = detail.get("verified") or "not"
        lines.append(
            f"backup {backup_id}: {size(stored)}, {detail.get('transfers')} transfers, "
            f"verified: {verified}"
        )
    lines += [f"deleted backup {one}" for one in _list(detail, "deleted")]
    if "verified_backups" in detail:
        newest = detail.get("last_verified_time") or "none"
        lines.append(
            f"{detail['verified_backups']} verified backups are there, the newest: {newest}"
        )
    return lines


def _list(detail: dict[str, object], name: str) -> list[dict[str, int]]:
    found = detail.get(name, [])
    assert isinstance(found, list)
    return found


async def _back_up(means: Means, backup: Backup) -> Ended:
    async with means.pool.acquire() as connection:
        moment = await run_queries.now(connection)
    return ended(await _take(means, backup, moment))


async def _take(means: Means, backup: Backup, moment: datetime) -> Run:
    # Its moment names it: every run of the file is another backup.
    metadata = backup.metadata.model_copy(update={"creation_timestamp": moment})
    of_now = backup.model_copy(update={"metadata": metadata})

    async def take(connection: Connection, progress: Progress) -> Outcome:
        del connection, progress
        return await job.take_backup(
            of_now,
            means.url,
            identities=means.identities,
            tools_folder=means.tools_folder,
            on_progress=lambda progress: means.line.tell_dump("done", progress),
        )

    return await _run(means, backup.kind, backup, moment, take)


async def _back_up_and_prune(means: Means, schedule: BackupSchedule) -> Ended:
    async with means.pool.acquire() as connection:
        moment = await run_queries.now(connection)
    backup = Backup.of(manifests.backup_of(schedule, moment))
    taken = ended(await _take(means, backup, moment))
    if taken.state is State.FAILED:
        return taken

    async def prune(connection: Connection, progress: Progress) -> Outcome:
        del connection, progress
        return await job.prune_backups(schedule)

    pruned = ended(await _run(means, PRUNE_KIND, schedule, moment, prune))
    return Ended(
        pruned.state,
        _sum(taken.result, pruned.result),
        (*taken.lines, *pruned.lines),
        {"backup": taken.detail, "retention": pruned.detail},
        pruned.error,
    )


def _sum(one: RunResult, other: RunResult) -> RunResult:
    added = one.plus(
        examined=other.examined,
        changed=other.changed,
        failed=other.failed,
        amount_kopecks=other.amount_kopecks,
    )
    for note in other.notes:
        added = added.noting(note)
    return added


async def _restore(means: Means, restore: Restore) -> Ended:
    restored = await job.restore_backup(
        restore,
        means.url,
        identities=means.identities,
        tools_folder=means.tools_folder,
        on_progress=lambda progress: means.line.tell_dump("restored", progress),
    )
    lines, detail = _told_restore(restored)
    if restore.spec.in_place is None:
        return Ended(State.DONE, RunResult(examined=1, changed=1), lines, detail)
    # All connections were cut when the databases changed names.
    await means.pool.expire_connections()
    async with means.pool.acquire() as connection:
        moment = await run_queries.now(connection)
    work = means.procedures.after_restore()
    settled = ended(await _run(means, RECONCILE_KIND, restore, moment, work))
    counted = RunResult(examined=1, changed=1)
    return Ended(
        settled.state,
        _sum(counted, settled.result),
        (*lines, *settled.lines),
        {**detail, "reconciliation": settled.detail},
        f"restored, but its payments are not reconciled: {settled.error}" if settled.error else "",
    )


def _told_restore(restored: Restored) -> tuple[tuple[str, ...], dict[str, object]]:
    verdict = "consistent" if restored.audit.consistent else "INCONSISTENT, run `rei audit`"
    holds = (
        f"database {restored.database} holds backup {restored.manifest.id} of "
        f"{restored.manifest.created_at:%Y-%m-%d %H:%M:%S %Z}; its ledger of "
        f"{restored.audit.transfers_examined} transfers is {verdict}"
    )
    lines = [holds]
    if restored.kept_as is not None:
        kept = (
            f"the old database is kept as {restored.kept_as}, and was backed up first as "
            f"{restored.safety_backup_id}; when nobody needs it: {restored.how_to_drop_kept}"
        )
        lines += [
            kept,
            "reconcile the payments: what was paid or refunded after the backup is settled by that",
        ]
    return tuple(lines), {
        "database": restored.database,
        "backup_id_restored": restored.manifest.id,
        "kept_as": restored.kept_as,
        "safety_backup_id": restored.safety_backup_id,
        "consistent": restored.audit.consistent,
    }

"""Gathers what a decision needs: rows of PostgreSQL, objects of the cluster."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from rei_core.db import Pool
from rei_core.ledger import queries as ledger
from rei_core.maintenance.resources import (
    Backup,
    BackupSchedule,
    BalanceAdjustment,
    Recurring,
    Restore,
)
from rei_core.maintenance.runs import queries as runs
from rei_operator import manifests, run_queries
from rei_operator.cluster import Cluster, ObjectGone
from rei_operator.index import owner_of
from rei_operator.kinds import adjustment as adjustment_kind
from rei_operator.kinds import backup as backup_kind
from rei_operator.kinds import backup_schedule, recurring
from rei_operator.kinds import restore as restore_kind
from rei_operator.manifests import JobTemplate
from rei_operator.reading import read
from rei_operator.reconciler import Key

Json = dict[str, Any]


class FactFinder:
    """Reads; changes nothing. `stops` are the Deployments that a restore in place stops."""

    def __init__(
        self,
        *,
        pool: Pool,
        cluster: Cluster,
        template: JobTemplate,
        live_database: str,
        stops: tuple[str, ...],
    ) -> None:
        self._pool = pool
        self._cluster = cluster
        self._template = template
        self._live_database = live_database
        self._stops = stops

    async def now(self) -> datetime:
        """The database's clock."""
        async with self._pool.acquire() as connection:
            return await run_queries.now(connection)

    async def recurring(self, resource: Recurring) -> recurring.Facts:
        """The runs of a resource, and the one that its annotation asks for."""
        kind, namespace, name = resource.key
        asked = recurring.key_of_request(resource)
        async with self._pool.acquire() as connection:
            now = await run_queries.now(connection)
            latest = await runs.latest(
                connection, kind=kind, namespace=namespace, name=name, limit=recurring.RUNS_READ
            )
            asked_for = None if asked is None else await runs.find(connection, asked)
        return recurring.Facts(now, tuple(latest), asked_for)

    async def adjustment(self, resource: BalanceAdjustment) -> tuple[datetime, bool]:
        """The database's clock, and whether the ledger does not know what is told as carried out."""
        async with self._pool.acquire() as connection:
            now = await run_queries.now(connection)
            forgotten = (
                adjustment_kind.says_done(resource)
                and await ledger.adjustment(connection, resource.spec.operation_id) is None
            )
        return now, forgotten

    async def backup(self, resource: Backup) -> backup_kind.Facts:
        """The Job of a backup, and the run that it writes."""
        async with self._pool.acquire() as connection:
            now = await run_queries.now(connection)
            run = await runs.find(connection, backup_kind.key_of(resource))
        job = await self._job(resource.metadata.namespace, manifests.job_name(resource))
        return backup_kind.Facts(now, self._template, job, run)

    async def backup_schedule(self, resource: BackupSchedule) -> backup_schedule.Facts:
        """The runs of a schedule, its Backups, and its last retention."""
        common = await self.recurring(resource)
        backups = await self._backups_of(resource)
        namespace, name = resource.metadata.namespace, resource.metadata.name
        moment = backup_schedule.moment_of(backups[0]) if backups else None
        async with self._pool.acquire() as connection:
            pruned = await runs.latest(
                connection,
                kind=backup_schedule.PRUNE_KIND,
                namespace=namespace,
                name=name,
                limit=3,
            )
            if moment is not None:
                known = await runs.find(connection, backup_schedule.prune_key(resource, moment))
                pruned = [known, *pruned] if known is not None else pruned
        ended = [run for run in pruned if run.finished_at is not None]
        job = None
        if moment is not None:
            job = await self._job(namespace, manifests.prune_name(resource, moment))
        return backup_schedule.Facts(
            common, self._template, tuple(backups), ended[0] if ended else None, job
        )

    async def restore(self, resource: Restore) -> restore_kind.Facts:
        """What shows how far a restore is."""
        namespace = resource.metadata.namespace
        async with self._pool.acquire() as connection:
            now = await run_queries.now(connection)
            done = await run_queries.restore_done(
                connection,
                restore_kind.operation_of(resource),
                database=resource.spec.target_database or self._live_database,
            )
            failure = await runs.find(connection, restore_kind.key_of(resource))
            reconciled = await runs.find(connection, restore_kind.reconcile_key(resource))
        return restore_kind.Facts(
            now=now,
            template=self._template,
            live_database=self._live_database,
            backup=await self._backup_of(resource),
            job=await self._job(namespace, manifests.job_name(resource)),
            done=done,
            failure=failure,
            reconciled=reconciled,
            deployments=await self._deployments(resource),
        )

    async def _backups_of(self, schedule: BackupSchedule) -> list[Backup]:
        """The Backups that a schedule has made, the newest first. Asked of the API server: an index
        that is not full yet would make it look as if none were at work."""
        owner = Key(*schedule.key)
        found = [
            read(raw)
            for raw in await self._cluster.every("Backup", schedule.metadata.namespace)
            if owner_of(raw) == owner
        ]
        return sorted(
            (one for one in found if isinstance(one, Backup) and backup_schedule.has_moment(one)),
            # By when they were made, and not by their names: one that was asked for with next
            # year's date is not the newest until then.
            key=_age,
            reverse=True,
        )

    async def _backup_of(self, restore: Restore) -> Backup | None:
        if restore.spec.backup_ref is None:
            return None
        name = restore.spec.backup_ref.name
        try:
            raw = await self._cluster.get("Backup", restore.metadata.namespace, name)
        except ObjectGone:
            return None
        found = read(raw)
        assert isinstance(found, Backup)
        return found

    async def _deployments(self, restore: Restore) -> Mapping[str, restore_kind.Replicas]:
        if restore.spec.in_place is None:
            return {}
        found: dict[str, restore_kind.Replicas] = {}
        for name in {*self._stops, *restore.status.stopped_deployments}:
            try:
                raw = await self._cluster.get("Deployment", restore.metadata.namespace, name)
            except ObjectGone:
                continue
            wanted = raw.get("spec", {}).get("replicas", 1)
            there = raw.get("status", {}).get("replicas", 0)
            found[name] = restore_kind.Replicas(int(wanted), int(there))
        return found

    async def _job(self, namespace: str, name: str) -> Json | None:
        try:
            return await self._cluster.get("Job", namespace, name)
        except ObjectGone:
            return None


def _age(backup: Backup) -> tuple[datetime, str]:
    made = backup.metadata.creation_timestamp
    return made or backup_schedule.moment_of(backup), backup.metadata.name

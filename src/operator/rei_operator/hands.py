"""Carries out what decisions ask for, in their order; dies at a failpoint after any of them.

Every effect is keyed where it takes place, so that this may be cut off anywhere and begun again:
runs and bans in PostgreSQL, adjustments in the ledger, objects by their names.
"""

from __future__ import annotations

import time
from contextlib import suppress
from typing import Any, Final, TypeVar

import structlog

from rei_core.db import Pool
from rei_core.errors import ReiError, UserUnknown
from rei_core.maintenance.adjustments.service import Adjusted, adjust
from rei_core.maintenance.bans import service as bans
from rei_core.maintenance.model import Progress, RunResult
from rei_core.maintenance.resources import (
    BackupSchedule,
    BalanceAdjustment,
    Resource,
    UserBan,
)
from rei_core.maintenance.resources.base import REQUESTED_BY
from rei_core.maintenance.runs.model import RunKey
from rei_core.maintenance.runs.service import Outcome, Work
from rei_core.trail.model import Actor
from rei_operator import actions, manifests
from rei_operator.actions import (
    Adjust,
    Create,
    Delete,
    Effect,
    Event,
    PutBan,
    RunNow,
    Scale,
    SetStatus,
    merge_patch,
)
from rei_operator.cluster import Cluster, ObjectChanged, ObjectGone
from rei_operator.failpoints import Failpoints
from rei_operator.index import Index
from rei_operator.kinds.adjustment import REFUSALS
from rei_operator.kinds.restore import RECONCILE_KIND
from rei_operator.metrics import Metrics
from rei_operator.procedures import RESTORE_TRIES_MAX, Procedures
from rei_operator.recorder import Recorder

Json = dict[str, Any]
AnyResource = TypeVar("AnyResource", bound=Resource)

SOMEBODY: Final = "kubernetes"
"""Who asks by a resource that does not say so."""
ACTOR_CHARS_MAX: Final = 200

log = structlog.get_logger(__name__)


def actor_of(resource: Resource) -> Actor:
    """Who asks by this resource, as far as it says so itself."""
    metadata = resource.metadata
    said = " ".join(metadata.annotations.get(REQUESTED_BY, "").split())[:ACTOR_CHARS_MAX]
    name = f"{SOMEBODY}:{said}" if said else SOMEBODY
    return Actor(name, f"{resource.kind} {metadata.namespace}/{metadata.name}")


class Hands:
    """The doing of actions. `owner` names this process in the rows that it writes."""

    def __init__(
        self,
        *,
        pool: Pool,
        cluster: Cluster,
        index: Index,
        procedures: Procedures,
        recorder: Recorder,
        metrics: Metrics,
        failpoints: Failpoints,
        owner: str,
    ) -> None:
        self._pool = pool
        self._cluster = cluster
        self._index = index
        self._procedures = procedures
        self._recorder = recorder
        self._metrics = metrics
        self._failpoints = failpoints
        self._owner = owner

    async def effect(self, resource: Resource, effect: Effect) -> object:
        """Carry out an effect; what it said, for the next decision."""
        said: object = None
        match effect:
            case RunNow(key):
                await self._run(resource, key)
                place = "run"
            case Adjust():
                said, place = await self._adjust(resource), "adjust"
            case PutBan():
                said, place = await self._put_ban(resource), "put-ban"
            case Create(manifest):
                await self._create(manifest)
                place = "create"
            case Delete(kind, name):
                await self._cluster.delete(kind, resource.metadata.namespace, name)
                place = "delete"
            case Scale(deployment, replicas):
                await self._scale(resource, deployment, replicas)
                place = "scale"
        self._failpoints.reach(resource.kind, place)
        return said

    async def record(self, resource: Resource, event: Event) -> None:
        """Tell an Event."""
        await self._recorder.record(resource, event)
        self._failpoints.reach(resource.kind, "event")

    async def set_status(self, raw: Json, resource: AnyResource, wanted: SetStatus) -> None:
        """Write the status if it differs; raises `ObjectChanged` if `raw` is not the newest."""
        fields = type(resource.status).model_fields
        owned = {field.alias or name for name, field in fields.items()}
        patch = merge_patch(raw.get("status") or {}, wanted.status.document(), owned=owned)
        if not patch:
            return
        metadata = resource.metadata
        written = await self._cluster.patch(
            resource.kind,
            metadata.namespace,
            metadata.name,
            {
                "metadata": {"resourceVersion": raw["metadata"]["resourceVersion"]},
                "status": patch,
            },
            subresource="status",
        )
        self._index.put(written)
        self._failpoints.reach(resource.kind, "status")

    async def lift_ban(self, *, namespace: str, name: str) -> None:
        """The UserBan is gone: so is its ban."""
        async with self._pool.acquire() as connection:
            # Who deletes a resource is not told to those who watch it.
            deleted = Actor(SOMEBODY, f"deleted {UserBan.__name__} {namespace}/{name}")
            user_id = await bans.lift(connection, namespace=namespace, name=name, actor=deleted)
        if user_id is not None:
            self._failpoints.reach(UserBan.__name__, "lift-ban")

    async def _run(self, resource: Resource, key: RunKey) -> None:
        began = time.monotonic()
        run = await self._procedures.carry_out(
            key,
            self._work(resource, key),
            owner=self._owner,
            around=lambda place: self._failpoints.reach(resource.kind, place),
            attempts_max=RESTORE_TRIES_MAX if key.kind == RECONCILE_KIND else 1,
        )
        self._metrics.ran(run, seconds=time.monotonic() - began)

    def _work(self, resource: Resource, key: RunKey) -> Work:
        if key.kind == RECONCILE_KIND:
            return self._procedures.after_restore()
        if isinstance(resource, BackupSchedule):
            return self._making_a_backup(resource, key)
        work = self._procedures.work_of(resource)
        assert work is not None, resource.kind
        return work

    def _making_a_backup(self, schedule: BackupSchedule, key: RunKey) -> Work:
        async def make(connection: object, progress: Progress) -> Outcome:
            del connection, progress
            manifest = manifests.backup_of(schedule, key.scheduled_for)
            await self._create(manifest)
            name = manifest["metadata"]["name"]
            result = RunResult(examined=1, changed=1).noting(f"made the Backup {name}")
            return Outcome(result, {"backup": name})

        return make

    async def _create(self, manifest: Json) -> None:
        # Not put into the index: the watch brings it, and what the index knows already is no news
        # then. A Backup of a schedule would lie there until the next listing, looked at by nobody.
        with suppress(ObjectChanged):  # an earlier try, or another operator, made it
            await self._cluster.create(manifest)

    async def _adjust(self, resource: Resource) -> Adjusted | ReiError:
        assert isinstance(resource, BalanceAdjustment)
        async with self._pool.acquire() as connection:
            try:
                adjusted = await adjust(connection, resource.spec, actor=actor_of(resource))
            except REFUSALS as refusal:
                return refusal
        self._metrics.adjusted(resource.spec.amount_kopecks)
        return adjusted

    async def _put_ban(self, resource: Resource) -> bool | None:
        assert isinstance(resource, UserBan)
        namespace, name = resource.metadata.namespace, resource.metadata.name
        async with self._pool.acquire() as connection:
            try:
                return await bans.put(
                    connection,
                    resource.spec,
                    namespace=namespace,
                    name=name,
                    actor=actor_of(resource),
                )
            except UserUnknown:
                return None

    async def _scale(self, resource: Resource, deployment: str, replicas: int) -> None:
        namespace = resource.metadata.namespace
        patch: actions.Json = {"spec": {"replicas": replicas}}
        try:
            await self._cluster.patch(
                "Deployment", namespace, deployment, patch, subresource="scale"
            )
        except ObjectGone:
            log.warning("deployment.gone", namespace=namespace, name=deployment)
            return
        log.warning("deployment.scaled", namespace=namespace, name=deployment, replicas=replicas)

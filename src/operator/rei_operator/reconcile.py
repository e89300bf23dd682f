"""One look at one resource: facts → decision → actions, again after effects until nothing is left.

Order of writes: intent → effect → Event → status. The status comes last because it is what ends a
one-shot: whatever is cut off before it is found again by its key and told then.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import asyncpg
import structlog
from pydantic import ValidationError

from rei_core.db import CUT_OFF
from rei_core.errors import ReiError
from rei_core.maintenance.adjustments.service import Adjusted
from rei_core.maintenance.resources import (
    KINDS,
    Backup,
    BackupSchedule,
    BalanceAdjustment,
    ConditionStatus,
    LedgerAudit,
    PaymentReconciliation,
    Recurring,
    Resource,
    Restore,
    UserBan,
)
from rei_core.maintenance.runs.model import RunBusy
from rei_operator.actions import EFFECTS, Action, Event, SetStatus, Sleep
from rei_operator.cluster import Cluster, ClusterError, ObjectChanged, ObjectGone
from rei_operator.conditions import put
from rei_operator.facts import FactFinder
from rei_operator.hands import Hands
from rei_operator.index import Index, owner_of
from rei_operator.kinds import (
    adjustment,
    audits,
    backup,
    backup_schedule,
    ban,
    recurring,
    restore,
)
from rei_operator.metrics import Metrics
from rei_operator.reading import read
from rei_operator.reconciler import Key
from rei_operator.standing import standing_of

Json = dict[str, Any]

log = structlog.get_logger(__name__)

PASSES_MAX: Final = 20
BUSY_SECONDS: Final = 15.0
"""Another process is at the resource's run: look again then."""
LONGEST_SLEEP_SECONDS: Final = 86_400.0

DATABASE_TROUBLE: Final = (*CUT_OFF, asyncpg.PostgresError)

Said = list[object]
"""What the effects of this look have said, the last one last."""


class Look:
    """Callable for a `Reconciler`: works on a resource, returns the seconds until the next look."""

    def __init__(
        self,
        *,
        cluster: Cluster,
        index: Index,
        facts: FactFinder,
        hands: Hands,
        metrics: Metrics,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._cluster = cluster
        self._index = index
        self._facts = facts
        self._hands = hands
        self._metrics = metrics
        self._now = now

    async def __call__(self, key: Key) -> float | None:
        with structlog.contextvars.bound_contextvars(
            kind=key.kind, namespace=key.namespace, name=key.name
        ):
            try:
                delay = await self._look(key)
            except Exception:
                self._metrics.reconciled(key.kind, "error")
                raise
            self._metrics.reconciled(key.kind, "ok")
            return delay

    async def _look(self, key: Key) -> float | None:
        raw = self._index.get(key) or await self._found(key)
        # An object with a deletion time is deleted; somebody else's finalizer keeps it in sight.
        if raw is None or raw["metadata"].get("deletionTimestamp"):
            await self._gone(key)
            return None
        resource = await self._read(key, raw)
        return None if resource is None else await self._work_safely(key, raw, resource)

    async def _work_safely(self, key: Key, raw: Json, resource: Resource) -> float | None:
        try:
            return await self._work(key, raw, resource)
        except RunBusy:
            return BUSY_SECONDS
        except (ObjectChanged, ObjectGone):
            return await self._read_again(key)
        except DATABASE_TROUBLE as error:
            await self._tell_trouble(raw, resource, error)
            raise

    async def _found(self, key: Key) -> Json | None:
        """The object that the index does not have, if the API server has it."""
        try:
            raw = await self._cluster.get(*key)
        except ObjectGone:
            return None
        self._index.put(raw)
        return raw

    async def _gone(self, key: Key) -> None:
        self._metrics.forget(key)
        if key.kind == UserBan.__name__:
            await self._hands.lift_ban(namespace=key.namespace, name=key.name)

    async def _read_again(self, key: Key) -> float:
        """What the index has is old: get the newest, and look at that."""
        try:
            self._index.put(await self._cluster.get(*key))
        except ObjectGone:
            known = self._index.get(key)
            if known is not None:
                self._index.drop(known)
        return 0.0

    async def _work(self, key: Key, raw: Json, resource: Resource) -> float | None:
        said: Said = []
        for _ in range(PASSES_MAX):
            now, actions = await self._decide(resource, said)
            for action in actions:
                if isinstance(action, EFFECTS):
                    said.append(await self._hands.effect(resource, action))
                elif isinstance(action, Event):
                    await self._hands.record(resource, action)
                elif isinstance(action, SetStatus):
                    await self._hands.set_status(raw, resource, action)
                    raw = self._index.get(key) or raw
            self._measure(raw, resource, actions, now)
            sleeps = [action.until for action in actions if isinstance(action, Sleep)]
            if sleeps:
                seconds = (min(sleeps) - now).total_seconds()
                return min(max(0.0, seconds), LONGEST_SLEEP_SECONDS)
            if not any(isinstance(action, EFFECTS) for action in actions):
                return None
            raw = self._index.get(key) or raw
            resource = read(raw)
        log.error("reconcile.no_end", passes=PASSES_MAX)
        return BUSY_SECONDS

    async def _decide(
        self, resource: Resource, said: Sequence[object]
    ) -> tuple[datetime, tuple[Action, ...]]:
        match resource:
            case BackupSchedule():
                schedule = await self._facts.backup_schedule(resource)
                return schedule.now, backup_schedule.decide(resource, schedule)
            case Recurring():
                known = await self._facts.recurring(resource)
                return known.now, recurring.decide(resource, known, _teller(resource))
            case Backup():
                taken = await self._facts.backup(resource)
                return taken.now, backup.decide(resource, taken)
            case Restore():
                restored = await self._facts.restore(resource)
                return restored.now, restore.decide(resource, restored)
            case BalanceAdjustment():
                return await self._decide_adjustment(resource, said)
            case UserBan():
                return await self._decide_ban(resource, said)
        raise AssertionError(resource.kind)

    async def _decide_adjustment(
        self, resource: BalanceAdjustment, said: Sequence[object]
    ) -> tuple[datetime, tuple[Action, ...]]:
        outcome = said[-1] if said else None
        assert outcome is None or isinstance(outcome, Adjusted | ReiError)
        now, forgotten = await self._facts.adjustment(resource)
        return now, adjustment.decide(resource, adjustment.Facts(now, outcome, forgotten))

    async def _decide_ban(
        self, resource: UserBan, said: Sequence[object]
    ) -> tuple[datetime, tuple[Action, ...]]:
        in_force = said[-1] if said else None
        assert in_force is None or isinstance(in_force, bool)
        now = await self._facts.now()
        facts = ban.Facts(now, asked=bool(said), in_force=in_force)
        return now, ban.decide(resource, facts)

    async def _read(self, key: Key, raw: Json) -> Resource | None:
        """The resource as its type; one that the API server let pass and that makes no sense here
        (a time zone, a cron expression) is told so, and left alone until it changes."""
        try:
            return read(raw)
        except ValidationError as error:
            problem = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in problem["loc"])
        message = f"{where}: {problem['msg'].removeprefix('Value error, ')}"
        log.warning("resource.invalid", problem=message)
        await self._tell_invalid(key, raw, message)
        return None

    async def _tell_invalid(self, key: Key, raw: Json, message: str) -> None:
        # A spec that is valid stands in for the one that is not: only the rest is written.
        bare = KINDS[key.kind].model_construct(
            kind=key.kind, metadata=_metadata(raw), status=_status_of(key.kind, raw)
        )
        await self._set_condition(raw, bare, ConditionStatus.FALSE, "InvalidSpec", message)

    async def _tell_trouble(self, raw: Json, resource: Resource, error: BaseException) -> None:
        away = isinstance(error, CUT_OFF)
        reason = "DatabaseUnreachable" if away else "DatabaseError"
        what = "cannot be reached" if away else "refuses"
        text = f"PostgreSQL {what} ({type(error).__name__}); it is tried again until that is over"
        raw = self._index.get(Key(*resource.key)) or raw
        try:
            await self._set_condition(raw, resource, ConditionStatus.UNKNOWN, reason, text)
        except ClusterError as second:
            log.warning("status.not_written", error=str(second))

    async def _set_condition(
        self, raw: Json, resource: Resource, answer: ConditionStatus, reason: str, message: str
    ) -> None:
        conditions = put(
            resource.status.conditions,
            resource,
            now=self._now(),
            status=answer,
            reason=reason,
            message=message,
        )
        status = resource.status.model_copy(update={"conditions": conditions})
        await self._hands.set_status(raw, resource, SetStatus(status))

    def _measure(
        self, raw: Json, resource: Resource, actions: Sequence[Action], now: datetime
    ) -> None:
        """Tell Prometheus how a resource stands, as its status says."""
        status = next(
            (action.status for action in actions if isinstance(action, SetStatus)), resource.status
        )
        standing = standing_of(resource, status, owner=owner_of(raw), now=now)
        self._metrics.tell(resource.key, standing)


def _teller(resource: Recurring) -> recurring.Teller:
    if isinstance(resource, LedgerAudit):
        return audits.tell_audit
    if isinstance(resource, PaymentReconciliation):
        return audits.tell_reconciliation
    return recurring.nothing_more


def _metadata(raw: Json) -> Any:
    kind = KINDS[raw["kind"]].model_fields["metadata"].annotation
    assert kind is not None
    return kind.of(raw["metadata"])


def _status_of(kind: str, raw: Json) -> Any:
    status = KINDS[kind].model_fields["status"].annotation
    assert status is not None
    try:
        return status.of(raw.get("status") or {})
    except ValidationError:
        return status()

"""Events: what happened to a resource, for `kubectl describe`.

An Event with `once` has a name made of what it is about, so the API server itself refuses the
second telling, after a crash and from another operator too. The others are counted together by
their text. Each resource has a budget: a resource in trouble must not fill etcd. Whatever goes
wrong with an Event is logged and forgotten: it never stands in the way of the work.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import structlog

from rei_core.maintenance.resources import API_VERSION, Resource
from rei_operator.actions import Event
from rei_operator.cluster import Cluster, ClusterError, ObjectChanged, ObjectGone
from rei_operator.conditions import shortened

Json = dict[str, Any]

log = structlog.get_logger(__name__)

MESSAGE_CHARS_MAX: Final = 1000
BURST: Final = 25
REFILL_SECONDS: Final = 60.0
"""A resource may tell 25 things at once, then one a minute."""
REMEMBERED_MAX: Final = 4096


@dataclass
class _Budget:
    left: float
    at: float


class Recorder:
    """Writes Events. `monotonic` is a clock in seconds."""

    def __init__(self, cluster: Cluster, *, instance: str, monotonic: Callable[[], float]) -> None:
        self._cluster = cluster
        self._instance = instance
        self._monotonic = monotonic
        self._budgets: OrderedDict[str, _Budget] = OrderedDict()
        self._counts: OrderedDict[str, int] = OrderedDict()

    async def record(self, resource: Resource, event: Event) -> None:
        """Tell it, count it up, or leave it if it has been told or there is no budget left."""
        name = name_of(resource, event)
        if event.once and name in self._counts:
            return
        if not self._may(resource.metadata.uid):
            log.warning("event.over_budget", reason=event.reason, name=resource.metadata.name)
            return
        try:
            await self._write(resource, event, name)
        except ClusterError as error:
            log.warning("event.not_written", reason=event.reason, error=str(error))

    async def _write(self, resource: Resource, event: Event, name: str) -> None:
        count = self._counts.get(name, 0)
        if count:
            try:
                await self._count_up(resource, name, count + 1)
            except ObjectGone:  # Events live for an hour; this is told anew
                self._counts.pop(name, None)
            else:
                return
        try:
            await self._cluster.create(self._manifest(resource, event, name))
        except ObjectChanged:
            if not event.once:
                known = await self._cluster.get("Event", resource.metadata.namespace, name)
                await self._count_up(resource, name, int(known.get("count") or 1) + 1)
                return
        self._remember(name, 1)

    async def _count_up(self, resource: Resource, name: str, count: int) -> None:
        patch = {"count": count, "lastTimestamp": _now()}
        await self._cluster.patch("Event", resource.metadata.namespace, name, patch)
        self._remember(name, count)

    def _remember(self, name: str, count: int) -> None:
        self._counts[name] = count
        self._counts.move_to_end(name)
        while len(self._counts) > REMEMBERED_MAX:
            self._counts.popitem(last=False)

    def _may(self, uid: str) -> bool:
        now = self._monotonic()
        budget = self._budgets.pop(uid, None) or _Budget(BURST, now)
        budget.left = min(BURST, budget.left + (now - budget.at) / REFILL_SECONDS)
        budget.at = now
        self._budgets[uid] = budget
        while len(self._budgets) > REMEMBERED_MAX:
            self._budgets.popitem(last=False)
        if budget.left < 1:
            return False
        budget.left -= 1
        return True

    def _manifest(self, resource: Resource, event: Event, name: str) -> Json:
        now = _now()
        return {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": name, "namespace": resource.metadata.namespace},
            "involvedObject": {
                "apiVersion": API_VERSION,
                "kind": resource.kind,
                "name": resource.metadata.name,
                "namespace": resource.metadata.namespace,
                "uid": resource.metadata.uid,
            },
            "type": event.type,
            "reason": event.reason,
            "message": shortened(event.message, MESSAGE_CHARS_MAX),
            "count": 1,
            "firstTimestamp": now,
            "lastTimestamp": now,
            "source": {"component": "rei-operator"},
            "reportingComponent": "rei.bot/operator",
            "reportingInstance": self._instance,
        }


def name_of(resource: Resource, event: Event) -> str:
    """The Event's name: the same for the same telling about the same object."""
    about = (resource.metadata.uid, event.type, event.reason, event.once or event.message)
    digest = hashlib.sha256("\x00".join(about).encode()).hexdigest()[:16]
    return f"{resource.metadata.name[:200]}.{digest}"


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

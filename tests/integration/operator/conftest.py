"""The operator's parts on a real PostgreSQL, and an API server in memory that keeps its rules.

What an API server really does (CRDs, RBAC, watches) is tested on a real one in tests/cluster. Here
is what must hold around it: names are taken once, a write by an old state is refused, generations
count changes of the spec and never of the status.
"""

from __future__ import annotations

import copy
import itertools
import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import asyncpg
import pytest
from sqlalchemy.engine import make_url

from rei_core.db import Pool, create_pool
from rei_core.ledger.audit import audit
from rei_core.ledger.service import adjust
from rei_core.maintenance.resources import API_VERSION
from rei_core.payments.yookassa import YooKassaClient
from rei_core.users import queries as users
from rei_operator.cluster import ObjectChanged, ObjectGone
from rei_operator.facts import FactFinder
from rei_operator.failpoints import Failpoints
from rei_operator.hands import Hands
from rei_operator.index import Index
from rei_operator.janitor import Janitor
from rei_operator.manifests import JobTemplate
from rei_operator.metrics import Metrics
from rei_operator.procedures import Procedures
from rei_operator.reconcile import Look
from rei_operator.reconciler import Key, LoopClock, Reconciler
from rei_operator.recorder import Recorder

Json = dict[str, Any]
NAMESPACE = "rei"


class MemoryCluster:
    """A `Cluster` in memory."""

    def __init__(self) -> None:
        self.objects: dict[Key, Json] = {}
        self._numbers = itertools.count(1)
        self.deleted: list[Key] = []
        self.down: Exception | None = None

    def apply(self, kind: str, name: str, spec: Json, **metadata: Any) -> Key:
        """Like `kubectl apply`: make it, or change its spec and annotations."""
        key = Key(kind, NAMESPACE, name)
        known = self.objects.get(key)
        if known is None:
            manifest = {"kind": kind, "apiVersion": API_VERSION, "spec": spec}
            manifest["metadata"] = {"name": name, "namespace": NAMESPACE, **metadata}
            self._add(manifest)
            return key
        changed = copy.deepcopy(known)
        changed["metadata"] |= metadata
        changed["spec"] = spec
        self._store(key, changed)
        return key

    async def get(self, kind: str, namespace: str, name: str) -> Json:
        self._answer()
        key = Key(kind, namespace, name)
        if key not in self.objects:
            raise ObjectGone(f"GET {key}", "not found", http_status=404)
        return copy.deepcopy(self.objects[key])

    async def every(self, kind: str, namespace: str | None) -> list[Json]:
        self._answer()
        return [
            copy.deepcopy(raw)
            for key, raw in self.objects.items()
            if key.kind == kind and namespace in (None, key.namespace)
        ]

    async def create(self, manifest: Json) -> Json:
        self._answer()
        metadata = manifest["metadata"]
        key = Key(manifest["kind"], metadata["namespace"], metadata["name"])
        if key in self.objects:
            raise ObjectChanged(f"POST {key}", "already exists", http_status=409)
        return copy.deepcopy(self._add(copy.deepcopy(manifest)))

    async def delete(self, kind: str, namespace: str, name: str) -> None:
        self._answer()
        key = Key(kind, namespace, name)
        self.objects.pop(key, None)
        self.deleted.append(key)

    async def patch(
        self, kind: str, namespace: str, name: str, patch: Json, *, subresource: str = ""
    ) -> Json:
        self._answer()
        key = Key(kind, namespace, name)
        known = await self.get(kind, namespace, name)
        version = patch.get("metadata", {}).get("resourceVersion")
        if version not in (None, known["metadata"]["resourceVersion"]):
            raise ObjectChanged(f"PATCH {key}", "has been modified", http_status=409)
        part = {"scale": "spec"}.get(subresource, subresource)
        wanted = {name: value for name, value in patch.items() if not part or name == part}
        return copy.deepcopy(self._store(key, merged(known, wanted)))

    def _answer(self) -> None:
        if self.down is not None:
            raise self.down

    def _add(self, manifest: Json) -> Json:
        number = next(self._numbers)
        manifest["metadata"].setdefault("uid", f"uid-{number}")
        manifest["metadata"].setdefault("creationTimestamp", "2026-01-01T00:00:00Z")
        manifest["metadata"]["generation"] = 0
        metadata = manifest["metadata"]
        return self._store(Key(manifest["kind"], metadata["namespace"], metadata["name"]), manifest)

    def _store(self, key: Key, raw: Json) -> Json:
        known = self.objects.get(key)
        if known is None or known.get("spec") != raw.get("spec"):
            raw["metadata"]["generation"] += 1
        raw["metadata"]["resourceVersion"] = str(next(self._numbers))
        self.objects[key] = raw
        return raw

    def status(self, key: Key) -> Json:
        """The status of an object."""
        status: Json = self.objects[key].get("status", {})
        return status

    def condition(self, key: Key, type_: str) -> tuple[str, str]:
        """(status, reason) of a condition; empty if it has not been told."""
        for one in self.status(key).get("conditions", ()):
            if one["type"] == type_:
                return one["status"], one["reason"]
        return "", ""

    def events(self, key: Key) -> list[str]:
        """The reasons of an object's Events."""
        uid = self.objects[key]["metadata"]["uid"]
        return [
            raw["reason"]
            for raw in self.objects.values()
            if raw["kind"] == "Event" and raw["involvedObject"]["uid"] == uid
        ]


def merged(target: Json, patch: Json) -> Json:
    """RFC 7386, by its own words."""
    result = dict(target)
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        elif isinstance(value, dict):
            known = result.get(name)
            result[name] = merged(known if isinstance(known, dict) else {}, value)
        else:
            result[name] = value
    return result


@dataclass
class OperatorParts:
    """An operator without its watch: a test says what it sees. `look` works on one resource."""

    cluster: MemoryCluster
    index: Index
    look: Look
    metrics: Metrics
    janitor: Janitor
    reconciler: Reconciler
    reached: list[str] = field(default_factory=list)

    async def settle(self, key: Key) -> float | None:
        """Look until there is nothing to do at once; the seconds it would sleep then."""
        if key in self.cluster.objects:
            self.index.put(copy.deepcopy(self.cluster.objects[key]))
        elif (known := self.index.get(key)) is not None:
            self.index.drop(known)
        for _ in range(20):
            delay = await self.look(key)
            if delay != 0.0:
                return delay
        raise AssertionError("it never comes to rest")


MakeOperator = Callable[..., OperatorParts]


@pytest.fixture
def cluster() -> MemoryCluster:
    return MemoryCluster()


@pytest.fixture
async def provider() -> AsyncIterator[YooKassaClient]:
    """A YooKassa that is away: reconciliation counts that as failures."""
    client = YooKassaClient(
        shop_id="1", secret_key="test", base_url="http://127.0.0.1:9", timeout_seconds=1
    )
    yield client
    await client.aclose()


@dataclass
class Setting:
    """A database, an API server, and operators between them."""

    pool: Pool
    cluster: MemoryCluster
    provider: YooKassaClient

    @property
    def killed(self) -> type[BaseException]:
        """What an operator raises instead of dying."""
        return Killed

    def operator(self, *, fatal: str | None = None, database: str = "rei") -> OperatorParts:
        """A new operator; `fatal` is the failpoint at which it dies."""
        pool, cluster = self.pool, self.cluster
        reached: list[str] = []
        index, metrics = Index(), Metrics()
        hands = Hands(
            pool=pool,
            cluster=cluster,
            index=index,
            procedures=Procedures(pool=pool, provider=self.provider),
            recorder=Recorder(cluster, instance="test", monotonic=time.monotonic),
            metrics=metrics,
            failpoints=Watched(fatal, reached),
            owner="test",
        )
        facts = FactFinder(
            pool=pool,
            cluster=cluster,
            template=JobTemplate(image="rei-operator", settings_secret="rei"),
            live_database=database,
            stops=("rei-bot", "rei-worker"),
        )
        look = Look(cluster=cluster, index=index, facts=facts, hands=hands, metrics=metrics)
        reconciler = Reconciler(look, clock=LoopClock(), concurrency_max=4)
        janitor = Janitor(
            cluster=cluster, pool=pool, index=index, reconciler=reconciler, namespace=None
        )
        return OperatorParts(cluster, index, look, metrics, janitor, reconciler, reached)


@pytest.fixture
def setting(pool: Pool, cluster: MemoryCluster, provider: YooKassaClient, customer: int) -> Setting:
    """The one that a test is about; with a customer."""
    assert customer == CUSTOMER
    return Setting(pool, cluster, provider)


@pytest.fixture
def undisturbed(
    postgres_url: str, template_database: str, provider: YooKassaClient
) -> Callable[[], AbstractAsyncContextManager[Setting]]:
    """Makes another one like it, to compare with."""

    @asynccontextmanager
    async def make() -> AsyncIterator[Setting]:
        name = f"rei_undisturbed_{os.getpid()}"
        url = make_url(postgres_url).set(database=name).render_as_string(hide_password=False)
        connection = await asyncpg.connect(postgres_url)
        try:
            await connection.execute(f"CREATE DATABASE {name} TEMPLATE {template_database}")
            pool = await create_pool(url, application="test", size_max=20)
            await add_customer(pool)
            yield Setting(pool, MemoryCluster(), provider)
            await pool.close()
        finally:
            await connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
            await connection.close()

    return make


@pytest.fixture
def operator(pool: Pool, cluster: MemoryCluster, provider: YooKassaClient) -> MakeOperator:
    """Makes operators."""
    return Setting(pool, cluster, provider).operator


class Killed(BaseException):
    """The process would be dead now."""


class Watched(Failpoints):
    """Failpoints that raise `Killed` instead of ending the test."""

    def __init__(self, fatal: str | None, reached: list[str]) -> None:
        super().__init__(fatal, die=self._kill)
        self._reached = reached

    @staticmethod
    def _kill(name: str) -> None:
        raise Killed(name)

    def reached(self, name: str) -> None:
        self._reached.append(name)


CUSTOMER = 7


async def add_customer(pool: Pool) -> None:
    async with pool.acquire() as connection, connection.transaction():
        await users.see(connection, CUSTOMER, first_name="A")
        await adjust(
            connection, user_id=CUSTOMER, change_kopecks=1000, operation_id="gift", reason="test"
        )


@pytest.fixture
async def customer(pool: Pool) -> AsyncIterator[int]:
    """A customer with 10 rubles; the ledger is audited after the test."""
    await add_customer(pool)
    yield CUSTOMER
    async with pool.acquire() as connection:
        assert (await audit(connection)).consistent

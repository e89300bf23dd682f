"""The operator's parts on a real PostgreSQL, and an API server in memory that keeps its rules.

What an API server really does (CRDs, RBAC, watches) is tested on a real one in tests/cluster. Here
is what must hold around it: names are taken once, a write by an old state is refused, generations
count changes of the spec and never of the status.
"""

from __future__ import annotations

import asyncio
import copy
import itertools
import json
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from aiohttp import web
from sqlalchemy.engine import make_url

from rei_core.db import Pool, create_pool
from rei_core.ledger.audit import audit
from rei_core.ledger.service import adjust
from rei_core.maintenance.resources import API_VERSION, GROUP, KINDS
from rei_core.payments.yookassa import YooKassaClient
from rei_core.users import queries as users
from rei_operator.cluster import ClusterError, ObjectChanged, ObjectGone
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
TOKEN = "token-of-the-test"


class MemoryCluster:
    """A `Cluster` in memory."""

    def __init__(self) -> None:
        self.objects: dict[Key, Json] = {}
        self._numbers = itertools.count(1)
        self.down: Exception | None = None
        self.watchers: list[Callable[[str, Json], None]] = []
        """Told of every change: ADDED, MODIFIED or DELETED, and the object."""

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

    async def labelled(self, kind: str, namespace: str, selector: str) -> list[Json]:
        name, value = selector.split("=")
        return [
            {"metadata": raw["metadata"]}
            for raw in await self.every(kind, namespace)
            if raw["metadata"].get("labels", {}).get(name) == value
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
        self.remove(key)

    def remove(self, key: Key) -> None:
        """Like `kubectl delete`."""
        raw = self.objects.pop(key, None)
        if raw is not None:
            raw["metadata"]["resourceVersion"] = self.version()
            self._tell("DELETED", raw)

    def version(self) -> str:
        """The next resourceVersion."""
        return str(next(self._numbers))

    def _tell(self, what: str, raw: Json) -> None:
        for watcher in self.watchers:
            watcher(what, copy.deepcopy(raw))

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
        raw["metadata"]["resourceVersion"] = self.version()
        self.objects[key] = raw
        self._tell("ADDED" if known is None else "MODIFIED", raw)
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


class ApiServer:
    """A `MemoryCluster` over HTTP: discovery, list, watch, and the verbs that the operator uses."""

    def __init__(self, cluster: MemoryCluster) -> None:
        self.cluster = cluster
        self.requests: list[tuple[str, str, str]] = []
        """(method, path, content type) of all requests."""
        self._kinds = {(GROUP, kind.names.plural): name for name, kind in KINDS.items()}
        self._kinds |= {("batch", "jobs"): "Job", ("apps", "deployments"): "Deployment"}
        self._kinds |= {("", "events"): "Event"}
        self._runner: web.AppRunner | None = None
        self.url = ""

    async def start(self) -> None:
        app = web.Application()
        app.router.add_get("/version", self._answer({"major": "1", "minor": "37"}))
        app.router.add_get("/api", self._answer({"versions": ["v1"]}))
        groups = [
            {"name": name, "versions": [{"version": version}],
             "preferredVersion": {"version": version}}
            for name, version in (
                (GROUP, "v1alpha1"),
                ("batch", "v1"),
                ("apiextensions.k8s.io", "v1"),
            )
        ]  # fmt: skip
        app.router.add_get("/apis", self._answer({"groups": groups}))
        app.router.add_get("/apis/{group}/{version}", self._discovery)
        app.router.add_get("/api/v1", self._discovery)
        for root in ("/apis/{group}/{version}", "/api/v1"):
            app.router.add_get(root + "/namespaces/{namespace}/{plural}", self._list)
            app.router.add_get(root + "/{plural}", self._list)
            app.router.add_post(root + "/namespaces/{namespace}/{plural}", self._create)
            path = root + "/namespaces/{namespace}/{plural}/{name}"
            app.router.add_get(path, self._get)
            app.router.add_delete(path, self._delete)
            app.router.add_patch(path, self._patch)
            app.router.add_patch(path + "/{subresource}", self._patch)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        host, port = self._runner.addresses[0][:2]
        self.url = f"http://{host}:{port}"

    async def close(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    @staticmethod
    def _answer(body: Json) -> Any:
        async def answer(request: web.Request) -> web.Response:
            del request
            return web.json_response(body)

        return answer

    async def _discovery(self, request: web.Request) -> web.Response:
        group = request.match_info.get("group", "")
        verbs = ["create", "delete", "get", "list", "patch", "watch"]
        backbone = {("", "namespaces"): "Namespace"}  # kopf begins when these two are there
        backbone[("apiextensions.k8s.io", "customresourcedefinitions")] = "CustomResourceDefinition"
        resources = [
            {"name": plural, "kind": kind, "singularName": "", "namespaced": True, "verbs": verbs}
            for (of, plural), kind in (self._kinds | backbone).items()
            if of == group
        ]
        return web.json_response({"resources": resources})

    def _of(self, request: web.Request) -> tuple[str, str, str]:
        self.requests.append((request.method, request.path, request.content_type))
        where = request.match_info
        kind = self._kinds[where.get("group", ""), where["plural"]]
        return kind, where.get("namespace", ""), where.get("name", "")

    async def _list(self, request: web.Request) -> web.StreamResponse:
        kind, namespace, _ = self._of(request)
        if request.query.get("watch") == "true":
            return await self._watch(request, kind, namespace)
        found = sorted(await self.cluster.every(kind, namespace or None), key=_name)
        first, limit = int(request.query.get("continue") or 0), int(request.query.get("limit", 500))
        page = found[first : first + limit]
        metadata = {"resourceVersion": self.cluster.version()}
        if first + limit < len(found):
            metadata["continue"] = str(first + limit)
        return web.json_response({"apiVersion": "v1", "metadata": metadata, "items": page})

    async def _watch(self, request: web.Request, kind: str, namespace: str) -> web.StreamResponse:
        events: asyncio.Queue[Json] = asyncio.Queue()

        def heard(what: str, raw: Json) -> None:
            if raw["kind"] == kind and namespace in ("", raw["metadata"]["namespace"]):
                events.put_nowait({"type": what, "object": raw})

        since = int(request.query.get("resourceVersion") or 0)
        for raw in await self.cluster.every(kind, namespace or None):
            if int(raw["metadata"]["resourceVersion"]) > since:
                heard("ADDED", raw)
        self.cluster.watchers.append(heard)
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        try:
            while True:
                line = json.dumps(await events.get()) + "\n"
                await response.write(line.encode())
        finally:
            self.cluster.watchers.remove(heard)

    async def _get(self, request: web.Request) -> web.Response:
        return await self._told(self.cluster.get(*self._of(request)))

    async def _create(self, request: web.Request) -> web.Response:
        self._of(request)
        return await self._told(self.cluster.create(await request.json()))

    async def _delete(self, request: web.Request) -> web.Response:
        key = self._of(request)
        answer = await self._told(self.cluster.get(*key))
        if answer.status == 200:
            await self.cluster.delete(*key)
        return answer

    async def _patch(self, request: web.Request) -> web.Response:
        key = self._of(request)
        subresource = request.match_info.get("subresource", "")
        patch = await request.json()
        return await self._told(self.cluster.patch(*key, patch, subresource=subresource))

    @staticmethod
    async def _told(answer: Awaitable[Json]) -> web.Response:
        try:
            return web.json_response(await answer)
        except ClusterError as error:
            body = {"kind": "Status", "message": error.said, "code": error.http_status}
            return web.json_response(body, status=error.http_status or 500)


def _name(raw: Json) -> str:
    return str(raw["metadata"]["name"])


@pytest.fixture
async def api_server(cluster: MemoryCluster) -> AsyncIterator[ApiServer]:
    """The cluster over HTTP."""
    server = ApiServer(cluster)
    await server.start()
    yield server
    await server.close()


@pytest.fixture
def kubeconfig(api_server: ApiServer, tmp_path: Path) -> Path:
    """A kubeconfig for it, with a token."""
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "test",
        "clusters": [{"name": "test", "cluster": {"server": api_server.url}}],
        "users": [{"name": "test", "user": {"token": TOKEN}}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
    }
    path = tmp_path / "kubeconfig"
    path.write_text(json.dumps(document))
    return path


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
    database_url: str

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
            procedures=Procedures(
                pool=pool, database_url=self.database_url, provider=self.provider
            ),
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
def setting(
    pool: Pool, cluster: MemoryCluster, provider: YooKassaClient, database_url: str, customer: int
) -> Setting:
    """The one that a test is about; with a customer."""
    assert customer == CUSTOMER
    return Setting(pool, cluster, provider, database_url)


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
            yield Setting(pool, MemoryCluster(), provider, url)
            await pool.close()
        finally:
            await connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
            await connection.close()

    return make


@pytest.fixture
def operator(
    pool: Pool, cluster: MemoryCluster, provider: YooKassaClient, database_url: str
) -> MakeOperator:
    """Makes operators."""
    return Setting(pool, cluster, provider, database_url).operator


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

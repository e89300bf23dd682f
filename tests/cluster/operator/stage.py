"""A namespace with everything that the operator needs around it, and the means to look at it.

The API server, its rights, its Job controller, PostgreSQL and the operator are real; YooKassa is the
sandbox's; what a kubelet does is done by `kubelet.Kubelet`.

    async with open_stage(…) as stage, stage.operator() as operator:
        await operator.ready()
        await stage.apply("UserBan", "fraud", {"userID": 7, "reason": "fraud"})
        await stage.condition("UserBan", "fraud", "Ready", "True", "Banned")
"""

from __future__ import annotations

import itertools
import json
import os
import re
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
from sqlalchemy.engine import make_url

from rei_core.db import Pool, create_pool
from rei_core.ledger.audit import audit
from rei_core.ledger.service import adjust
from rei_core.maintenance.resources import API_VERSION, KINDS
from rei_core.users import queries as users
from rei_sandbox.app import Running, running
from rei_sandbox.cluster.errors import KubectlRefused
from rei_sandbox.cluster.kubeconfig import Cluster, Kubectl
from rei_sandbox.settings import SandboxSettings

from . import process
from .api import Api, opened
from .kubelet import Kubelet, at_work
from .waiting import Found, Look, until

Json = dict[str, Any]

RIGHTS = ("service-account.yaml", "role.yaml", "role-binding.yaml")
ACCOUNT = "rei-operator"
K8S = Path(__file__).parents[3] / "k8s"
SETTINGS_SECRET = "rei"
SHOP_KEY = "test_key-of-the-shop-of-this-stage"
NOBODY = "http://127.0.0.1:9/"
"""Where notifications go: they are lost, which is what reconciliation is for."""
DATABASE_PASSWORD = "password-of-the-database"
RARELY: Json = {"periodSeconds": 2_678_400}
"""A schedule that runs once when its resource is new, and then not before the test is over."""
SERVERS_OWN = ("uid", "resourceVersion", "creationTimestamp", "generation", "managedFields")
LOG_CHARS = 3000
NAMESPACE_DELETED_WITHIN = "--timeout=110s"
_numbers = itertools.count()


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One namespace, one database."""

    cluster: Cluster
    namespace: str
    kubectl: Kubectl
    """As the admin."""
    kubeconfig: Path
    """The operator's: its own ServiceAccount, with the rights of k8s/operator."""
    api: Api
    """As the admin."""
    kubelet: Kubelet
    database_url: str
    pool: Pool
    sandbox: Running
    folder: Path

    @property
    def database(self) -> str:
        """The database's name."""
        return str(make_url(self.database_url).database)

    @property
    def log(self) -> Path:
        """The log of all the operators of this stage."""
        return self.folder / "operator.log"

    def settings(self) -> dict[str, str]:
        """What the Secret `rei` holds: the environment of the operator and of its Jobs."""
        return {
            "REI_DATABASE_URL": self.database_url,
            "YOOKASSA_SHOP_ID": self.sandbox.sandbox.settings.yookassa_shop_id,
            "YOOKASSA_SECRET_KEY": SHOP_KEY,
            "YOOKASSA_API_URL": f"{self.sandbox.url}/yookassa/v3",
        }

    def environment(self) -> dict[str, str]:
        """What an operator of this namespace is told."""
        return {
            **self.settings(),
            "KUBECONFIG": str(self.kubeconfig),
            "REI_NAMESPACE": self.namespace,
            "REI_QUEUE_METRICS_SECONDS": "0.5",
        }

    def operator(self, **changes: str) -> AbstractAsyncContextManager[process.OperatorProcess]:
        """An operator for the length of a block; `changes` are variables of its environment."""
        return process.running({**self.environment(), **changes}, log=self.log)

    async def apply(
        self, kind: str, name: str, spec: Json, *, annotations: Mapping[str, str] | None = None
    ) -> None:
        """As `kubectl apply --server-side` does."""
        manifest = manifest_of(kind, name, spec, annotations=annotations)
        await self.kubectl(
            "apply", "--server-side", "--validate=strict", "-f", "-", stdin=json.dumps(manifest)
        )

    async def get(self, kind: str, name: str) -> Json:
        """An object that is there."""
        found = await self.api.get(kind, name)
        assert found is not None, f"there is no {kind} {name}"
        return found

    async def status(self, kind: str, name: str) -> Json:
        status: Json = (await self.get(kind, name)).get("status", {})
        return status

    async def delete(self, kind: str, name: str) -> None:
        """Delete an object, and see that nothing keeps it."""
        await self.api.delete(kind, name)
        assert await self.api.get(kind, name) is None, f"{kind} {name} is kept by a finalizer"

    async def give_back(self, saved: Json, *, with_status: bool) -> None:
        """As a backup of the whole cluster does (Velero's, say): the object is made anew with its
        annotations, under another uid, and perhaps its status is written then."""
        kind, name = saved["kind"], saved["metadata"]["name"]
        metadata = {
            key: value for key, value in saved["metadata"].items() if key not in SERVERS_OWN
        }
        await self.kubectl("create", "-f", "-", stdin=json.dumps({**saved, "metadata": metadata}))
        if with_status:
            await self.api.patch(kind, name, {"status": saved["status"]}, subresource="status")

    async def condition(
        self, kind: str, name: str, type_: str, status: str, reason: str | None = None
    ) -> Json:
        """Wait until a condition says so, about the present spec; the object."""

        async def look() -> Json | None:
            raw = await self.api.get(kind, name)
            if raw is None:
                return None
            generation = raw["metadata"]["generation"]
            conditions = raw.get("status", {}).get("conditions", ())
            told = any(
                one["type"] == type_ and one["status"] == status
                and reason in (None, one["reason"]) and one["observedGeneration"] == generation
                for one in conditions
            )  # fmt: skip
            return raw if told and raw["status"]["observedGeneration"] == generation else None

        what = f"{kind} {name}: {type_}={status} {reason or ''}"
        return await until(look, what=what, why=lambda: self.why(kind, name))

    async def until(self, look: Look[Found], kind: str, name: str, *, what: str) -> Found:
        """Wait for something about an object; a failure shows how that stands."""
        return await until(look, what=f"{kind} {name}: {what}", why=lambda: self.why(kind, name))

    async def wait(self, look: Look[Found], *, what: str) -> Found:
        """Wait for something that is about no object; a failure shows the operator's log."""
        return await until(look, what=what, why=self._log_end)

    async def events(self, kind: str, name: str) -> list[str]:
        """The reasons of all Events about the objects of this name, sorted, as often as each was
        counted."""
        return sorted(
            event["reason"]
            for event in await self.api.every("Event")
            if (event["involvedObject"]["kind"], event["involvedObject"]["name"]) == (kind, name)
            for _ in range(event["count"])
        )

    async def event(self, kind: str, name: str, reason: str) -> None:
        """Wait for an Event."""

        async def look() -> bool:
            return reason in await self.events(kind, name)

        await until(look, what=f"Event {reason} of {kind} {name}", why=lambda: self.why(kind, name))

    async def columns(self, kind: str, name: str) -> dict[str, str]:
        """What `kubectl get` shows of an object, by the columns' names."""
        printed = await self.kubectl("get", f"{KINDS[kind].names.plural}", name)
        heads, cells = printed.splitlines()
        starts = [head.start() for head in re.finditer(r"\S+(?: \S+)*", heads)]
        names = [one.strip() for one in _cut(heads, starts)]
        return dict(zip(names, (one.strip() for one in _cut(cells, starts)), strict=True))

    async def why(self, kind: str, name: str) -> str:
        """How things stand, for whoever reads a failed test."""
        raw = await self.api.get(kind, name)
        status = json.dumps(raw and raw.get("status"), indent=1)
        events = await self.events(kind, name)
        return f"{kind} {name}: {status}\n{events}\n{await self._log_end()}"

    async def _log_end(self) -> str:
        return self.log.read_text(errors="replace")[-LOG_CHARS:] if self.log.exists() else ""

    async def customer(self, user_id: int, *, kopecks: int = 0) -> None:
        """A customer who has written to the bot, and perhaps has got money."""
        async with self.pool.acquire() as connection, connection.transaction():
            await users.see(connection, user_id, first_name="A")
            if kopecks:
                await adjust(
                    connection,
                    user_id=user_id,
                    change_kopecks=kopecks,
                    operation_id=f"gift-{user_id}",
                    reason="a test's",
                )

    async def balance(self, user_id: int) -> int:
        value: int = await self.pool.fetchval(
            "SELECT balance_kopecks FROM balances WHERE user_id = $1", user_id
        )
        return value

    async def books_are_right(self) -> None:
        """Every invariant of the money holds."""
        async with self.pool.acquire() as connection:
            report = await audit(connection)
        assert report.violations == ()

    async def delete_namespace(self) -> None:
        """Delete the namespace with all that is in it, and see that nothing holds it."""
        try:
            await self.kubectl("delete", "namespace", self.namespace, NAMESPACE_DELETED_WITHIN)
        except KubectlRefused as refused:
            held = await self.kubectl.json("get", "namespace", self.namespace)
            raise AssertionError(f"{refused.said}\n{json.dumps(held['status'])}") from None

    async def deployment(self, name: str, *, replicas: int) -> None:
        """A Deployment that says it has all its pods; there is no controller for it here."""
        labels = {"app": name}
        container = {"name": "main", "image": "rei"}
        template = {"metadata": {"labels": labels}, "spec": {"containers": [container]}}
        spec = {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template}
        await self.api.create("Deployment", {"metadata": {"name": name}, "spec": spec})
        await self.pods_of(name, replicas)

    async def pods_of(self, deployment: str, count: int) -> None:
        """As its controller would: so many pods are there."""
        await self.api.patch(
            "Deployment", deployment, {"status": {"replicas": count}}, subresource="status"
        )

    async def replicas(self, deployment: str) -> int:
        value: int = (await self.get("Deployment", deployment))["spec"]["replicas"]
        return value


def _cut(line: str, starts: list[int]) -> list[str]:
    ends = [*starts[1:], len(line)]
    return [line[start:end] for start, end in zip(starts, ends, strict=True)]


def manifest_of(
    kind: str, name: str, spec: Json, *, annotations: Mapping[str, str] | None = None
) -> Json:
    """A manifest as a person writes it."""
    metadata: Json = {"name": name}
    if annotations:
        metadata["annotations"] = dict(annotations)
    return {"apiVersion": API_VERSION, "kind": kind, "metadata": metadata, "spec": spec}


@asynccontextmanager
async def open_stage(
    cluster: Cluster,
    *,
    postgres_url: str,
    template_database: str,
    folder: Path,
    notifications: str = NOBODY,
) -> AsyncIterator[Stage]:
    """A fresh namespace and database. The namespace's end is ordered after the block, not awaited.

    `notifications` is where YooKassa's go.
    """
    namespace = f"rei-test-{uuid.uuid4().hex[:10]}"
    kubectl = cluster.kubectl(namespace=namespace)
    async with AsyncExitStack() as stack:
        await cluster.kubectl()("create", "namespace", namespace)
        stack.push_async_callback(_order_end, cluster, namespace)
        database_url = await stack.enter_async_context(_database(postgres_url, template_database))
        pool = await create_pool(database_url, application="test", size_max=10)
        stack.push_async_callback(pool.close)
        settings = SandboxSettings(
            port=0, yookassa_secret_key=SHOP_KEY, notification_url=notifications
        )
        sandbox = await stack.enter_async_context(running(settings))
        api = await stack.enter_async_context(opened(cluster.kubeconfig, namespace=namespace))
        work = folder / namespace
        work.mkdir()
        kubelet = await stack.enter_async_context(at_work(api, folder=work))
        stage = Stage(
            cluster=cluster,
            namespace=namespace,
            kubectl=kubectl,
            kubeconfig=await _rights(cluster, kubectl, namespace),
            api=api,
            kubelet=kubelet,
            database_url=database_url,
            pool=pool,
            sandbox=sandbox,
            folder=work,
        )
        await api.create(
            "Secret", {"metadata": {"name": SETTINGS_SECRET}, "stringData": stage.settings()}
        )
        yield stage


async def _order_end(cluster: Cluster, namespace: str) -> None:
    await cluster.kubectl()("delete", "namespace", namespace, "--wait=false", "--ignore-not-found")


async def _rights(cluster: Cluster, kubectl: Kubectl, namespace: str) -> Path:
    """How the operator logs in. Its rights count when this returns: the authoriser hears of them by
    a watch."""
    files = (f"--filename={K8S / 'operator' / name}" for name in RIGHTS)
    await kubectl("apply", "--server-side", *files)
    kubeconfig = await cluster.as_service_account(ACCOUNT, namespace=namespace)
    as_operator = cluster.kubectl(namespace=namespace, kubeconfig=kubeconfig)

    async def look() -> bool:
        try:
            return (await as_operator("auth", "can-i", "list", "backups.rei.bot")).strip() == "yes"
        except KubectlRefused as refused:
            if refused.exit_status == 1:  # "no" is an exit status too
                return False
            raise

    await until(look, what="the operator's rights count")
    return kubeconfig


@asynccontextmanager
async def _database(postgres_url: str, template: str) -> AsyncIterator[str]:
    """A migrated database; what restores made beside it under names that begin like its own goes
    with it. Any password opens it: the servers of tests ask for none."""
    name = f"rei_stage_{os.getpid()}_{next(_numbers)}"
    connection = await asyncpg.connect(postgres_url)
    try:
        await connection.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        url = make_url(postgres_url)
        password = url.password or DATABASE_PASSWORD
        yield url.set(database=name, password=password).render_as_string(hide_password=False)
        # Not whatever begins like it: that of the tenth stage begins like that of the first.
        made = await connection.fetch(
            "SELECT datname FROM pg_database WHERE datname = $1 OR starts_with(datname, $1 || '_')",
            name,
        )
        for row in made:
            await connection.execute(f"DROP DATABASE {row['datname']} WITH (FORCE)")
    finally:
        await connection.close()

"""Objects on a real API server, timed from outside: from the request that makes one to its end.

The control plane is the sandbox's own: real kube-apiserver, etcd and controllers, on loopback.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import ssl
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx

from rei_bench.stage import BenchError, Stage
from rei_core.maintenance.resources import API_VERSION, GROUP, KINDS, VERSION
from rei_sandbox.cluster import shared
from rei_sandbox.cluster.kubeconfig import Cluster

K8S = Path(__file__).parents[2] / "k8s"
RIGHTS = ("service-account.yaml", "role.yaml", "role-binding.yaml")
ACCOUNT = "rei-operator"
KIND = "BalanceAdjustment"
DONE_SECONDS_MAX = 300.0
REQUESTS_AT_ONCE = 16


@contextlib.contextmanager
def api_server(stage: Stage) -> Iterator[Cluster]:
    """An API server that knows our kinds."""
    folder = stage.folder / "cluster"
    folder.mkdir()

    def say(line: str) -> None:
        sys.stderr.write(f"cluster: {line}\n")

    with shared.cluster(folder, os.environ, say=say) as cluster:
        asyncio.run(_install(cluster))
        yield cluster


async def _install(cluster: Cluster) -> None:
    kubectl = cluster.kubectl()
    names = [f"crd/{kind.names.plural}.{GROUP}" for kind in KINDS.values()]
    await kubectl("apply", "--server-side", "--force-conflicts", "-k", str(K8S / "crds"))
    await kubectl("wait", "--for=condition=Established", "--timeout=60s", *names)


@contextlib.contextmanager
def namespace(cluster: Cluster, name: str) -> Iterator[Path]:
    """A namespace, and how the operator logs in there: with the rights of k8s/operator, no more."""

    async def made() -> Path:
        await cluster.kubectl()("create", "namespace", name)
        rights = (f"--filename={K8S / 'operator' / file}" for file in RIGHTS)
        await cluster.kubectl(namespace=name)("apply", "--server-side", *rights)
        return await cluster.as_service_account(ACCOUNT, namespace=name)

    path = asyncio.run(made())
    try:
        yield path
    finally:
        # Waited for: its end is work of the API server's, and would be in the next one's figures.
        asyncio.run(cluster.kubectl()("delete", "namespace", name, "--timeout=100s"))


class Objects:
    """Adjustments in one namespace, made by us and carried out by whoever is measured."""

    def __init__(self, cluster: Cluster, namespace: str) -> None:
        document = json.loads(cluster.kubeconfig.read_text())
        server, user = document["clusters"][0]["cluster"], document["users"][0]["user"]
        context = ssl.create_default_context(cafile=server["certificate-authority"])
        context.load_cert_chain(user["client-certificate"], user["client-key"])
        self._client = httpx.AsyncClient(
            base_url=server["server"], verify=context, timeout=60, trust_env=False
        )
        self._path = f"/apis/{GROUP}/{VERSION}/namespaces/{namespace}/{KINDS[KIND].names.plural}"
        self._sent: dict[str, float] = {}
        self._done: dict[str, float] = {}
        self._changed = asyncio.Event()

    async def close(self) -> None:
        await self._client.aclose()

    @contextlib.asynccontextmanager
    async def watched(self) -> AsyncIterator[None]:
        """See each object's end, from here on."""
        listed = (await self._client.get(self._path, params={"limit": "1"})).raise_for_status()
        version = listed.json()["metadata"]["resourceVersion"]
        watch = asyncio.create_task(self._watch(version))
        try:
            yield
        finally:
            watch.cancel()
            await asyncio.gather(watch, return_exceptions=True)

    async def one_by_one(self, names: list[str]) -> list[float]:
        """Make each once the last one is done; how long each took, in milliseconds."""
        for name in names:
            await self._make(name)
            await self._until_done([name])
        return self._took(names)

    async def all_at_once(self, names: list[str]) -> list[float]:
        """Make them as fast as the API server takes them; how long each took, in milliseconds."""
        room = asyncio.Semaphore(REQUESTS_AT_ONCE)

        async def one(name: str) -> None:
            async with room:
                await self._make(name)

        await asyncio.gather(*(one(name) for name in names))
        await self._until_done(names)
        return self._took(names)

    async def _make(self, name: str) -> None:
        manifest = {
            "apiVersion": API_VERSION,
            "kind": KIND,
            "metadata": {"name": name},
            "spec": {
                "userID": 1 + len(self._sent),
                "amountKopecks": 100,
                "reason": "bench",
                "operationID": name,
            },
        }
        self._sent[name] = time.perf_counter()
        (await self._client.post(self._path, json=manifest)).raise_for_status()

    async def _watch(self, version: str) -> None:
        while True:
            query = {"watch": "1", "resourceVersion": version}
            async with self._client.stream("GET", self._path, params=query, timeout=None) as answer:
                async for line in answer.aiter_lines():
                    event = json.loads(line)
                    if event["type"] == "ERROR":
                        break
                    self._saw(event["object"])
            # The API server hangs up on who reads too slowly for it.
            listed = (await self._client.get(self._path)).raise_for_status().json()
            version = listed["metadata"]["resourceVersion"]
            for seen in listed["items"]:
                self._saw(seen)

    def _saw(self, seen: dict[str, Any]) -> None:
        name = seen["metadata"]["name"]
        conditions = seen.get("status", {}).get("conditions", [])
        answer = next((one["status"] for one in conditions if one["type"] == "Succeeded"), None)
        if answer == "True" and name not in self._done:
            self._done[name] = time.perf_counter()
            self._changed.set()

    async def _until_done(self, names: list[str]) -> None:
        try:
            async with asyncio.timeout(DONE_SECONDS_MAX):
                while not all(name in self._done for name in names):
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            left = sum(name not in self._done for name in names)
            raise BenchError(f"{left} of {len(names)} objects are not done") from None

    def _took(self, names: list[str]) -> list[float]:
        return [1000 * (self._done[name] - self._sent[name]) for name in names]

"""Rei as `helm install` brings it up, on the sandbox for the outside world."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rei_core.db import Pool, close_pool, create_pool
from rei_sandbox.cluster.helm import CHART, Helm
from rei_sandbox.cluster.kubeconfig import Cluster, Kubectl

from . import outside
from .forward import forwarded

NAMESPACE = "rei-e2e"
VALUES = Path(__file__).with_name("values.yaml")
WAIT = "--timeout=6m"
READY_WITHIN = "--timeout=180s"
RESTRICTED = "pod-security.kubernetes.io/enforce=restricted"
GONE_SECONDS_MAX = 120.0


@dataclass(frozen=True)
class Release:
    """The release `rei` in the namespace of the tests."""

    helm: Helm
    kubectl: Kubectl
    outside: Kubectl
    """Where the sandbox is."""

    @classmethod
    def on(cls, cluster: Cluster, helm: Path, folder: Path) -> Release:
        """Nothing is installed by this."""
        return cls(
            Helm(helm, folder, kubeconfig=cluster.kubeconfig, namespace=NAMESPACE),
            cluster.kubectl(namespace=NAMESPACE),
            cluster.kubectl(namespace=outside.NAMESPACE),
        )

    async def prepare(self) -> None:
        """What is there before an install: the namespaces, the sandbox, the Secret with credentials."""
        await self.kubectl("create", "namespace", NAMESPACE)
        await self.kubectl("label", "namespace", NAMESPACE, RESTRICTED)
        secret = [f"--from-literal={name}={value}" for name, value in outside.CREDENTIALS.items()]
        await self.kubectl("create", "secret", "generic", "rei-credentials", *secret)
        objects = {"apiVersion": "v1", "kind": "List", "items": outside.objects(release=NAMESPACE)}
        await self.outside("apply", "--server-side", "-f", "-", stdin=json.dumps(objects))
        await self.outside("rollout", "status", "deployment/sandbox", "--timeout=90s")

    async def install(self, *options: str) -> str:
        """Until all pods are ready and all hooks have run; raises `HelmRefused`."""
        return await self("install", "rei", str(CHART), f"--values={VALUES}", "--wait", *options)

    async def upgrade(self, *options: str) -> str:
        return await self("upgrade", "rei", str(CHART), f"--values={VALUES}", "--wait", *options)

    async def __call__(self, *words: str) -> str:
        """helm, beside a loop that goes on; raises `HelmRefused`."""
        command, *options = words
        return await asyncio.to_thread(self.helm, command, WAIT, *options)

    async def remove(self) -> None:
        """Take away all of it, the kinds too."""
        for kubectl in (self.kubectl, self.outside):
            await kubectl("delete", "namespace", kubectl.namespace, "--ignore-not-found")
        kinds = await self.kubectl("get", "customresourcedefinitions", "--output=name")
        ours = [kind for kind in kinds.split() if kind.endswith(".rei.bot")]
        if ours:
            await self.kubectl("delete", *ours)

    @contextlib.asynccontextmanager
    async def database(self) -> AsyncIterator[Pool]:
        """The release's PostgreSQL."""
        secret = await self.kubectl.json("get", "secret", "rei-database")
        inside = base64.b64decode(secret["data"]["REI_DATABASE_URL"]).decode()
        async with forwarded(self.kubectl, "service/rei-postgres", 5432) as port:
            url = re.sub(r"@[^/]+/", f"@127.0.0.1:{port}/", inside)
            pool = await create_pool(url, application="rei-e2e", size_max=2)
            try:
                yield pool
            finally:
                await close_pool(pool)

    async def pods(self, part: str) -> list[dict[str, Any]]:
        """The part's pods that are not on their way out."""
        listed = await self.kubectl.json(
            "get", "pods", f"--selector=app.kubernetes.io/component={part}"
        )
        return [pod for pod in listed["items"] if "deletionTimestamp" not in pod["metadata"]]

    async def ready(self) -> None:
        """Wait until all Deployments have all their pods; raises `KubectlRefused`."""
        for part in ("bot", "worker", "operator", "redis"):
            await self.kubectl("rollout", "status", f"deployment/rei-{part}", READY_WITHIN)
        await self.kubectl("rollout", "status", "statefulset/rei-postgres", READY_WITHIN)

"""What a cluster with a node may have beside it: Prometheus, KEDA or prometheus-adapter, and what
enforces NetworkPolicies.

All are the real ones: Prometheus of the system's packages, the others built from the pinned modules
and run from images of this machine (`Images`), which the node must have been given. KEDA's manifests
are its own; those of the others lie in tools/addons.

KEDA and prometheus-adapter serve the same API, external.metrics.k8s.io, of which a cluster has one.
So each is installed for as long as a block lasts. Objects of KEDA's kinds have to be gone before
KEDA is: it alone removes their finalizers.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from typing import Final

import yaml

from rei_sandbox.cluster.builds import Say
from rei_sandbox.cluster.errors import KubectlRefused
from rei_sandbox.cluster.go_programs import CHECKOUT, KEDA, source
from rei_sandbox.cluster.images import image_of
from rei_sandbox.cluster.kubeconfig import Cluster
from rei_sandbox.services import ServiceError

MANIFESTS: Final = CHECKOUT / "tools" / "addons"
MONITORING: Final = "monitoring"
PROMETHEUS_URL: Final = f"http://prometheus.{MONITORING}:9090"
EXTERNAL_METRICS: Final = "v1beta1.external.metrics.k8s.io"
ROLLOUT_SECONDS_MAX: Final = 110
"""Less than the patience with kubectl itself, so that it says what it waits for."""
ANSWER_SECONDS_MAX: Final = 60.0
LOOK_SECONDS: Final = 0.5
LOG_LINES: Final = 30


async def install_prometheus(cluster: Cluster) -> None:
    """Prometheus at `PROMETHEUS_URL`, answering when this returns; safe to run again."""
    await _apply(cluster, (MANIFESTS / "prometheus.yaml").read_text(encoding="utf-8"))
    await _rolled_out(cluster, "deployment/prometheus", namespace=MONITORING)


@contextlib.asynccontextmanager
async def keda(cluster: Cluster, *, say: Say) -> AsyncIterator[None]:
    """KEDA, serving external metrics; gone with the block."""
    manifests = await _of_keda(cluster, say=say)
    try:
        await _apply(cluster, manifests)
        for name in ("keda-operator", "keda-metrics-apiserver"):
            await _rolled_out(cluster, f"deployment/{name}", namespace="keda")
        await _serves_external_metrics(cluster)
        yield
    finally:
        await _delete(cluster, manifests)


@contextlib.asynccontextmanager
async def prometheus_adapter(cluster: Cluster, *, rules: str) -> AsyncIterator[None]:
    """prometheus-adapter, serving what `rules` (its configuration, YAML) say; gone with the block."""
    config = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "prometheus-adapter", "namespace": MONITORING},
        "data": {"config.yaml": rules},
    }
    adapter = (MANIFESTS / "prometheus-adapter.yaml").read_text(encoding="utf-8")
    manifests = f"{yaml.safe_dump(config)}\n---\n{adapter}"
    try:
        await _apply(cluster, manifests)
        await _rolled_out(cluster, "deployment/prometheus-adapter", namespace=MONITORING)
        await _serves_external_metrics(cluster)
        yield
    finally:
        await _delete(cluster, manifests)


@contextlib.asynccontextmanager
async def network_policies(cluster: Cluster) -> AsyncIterator[None]:
    """NetworkPolicies are enforced, in all namespaces; they are not any more after the block."""
    manifests = (MANIFESTS / "kube-router.yaml").read_text(encoding="utf-8")
    try:
        await _apply(cluster, manifests)
        await _rolled_out(cluster, "daemonset/kube-router", namespace="kube-system")
        yield
    finally:
        await _delete(cluster, manifests)


async def _of_keda(cluster: Cluster, *, say: Say) -> str:
    """KEDA's own manifests with the images of this machine."""
    folder = source(KEDA, say=say) / "config" / "minimal"
    manifests = await cluster.kubectl()("kustomize", str(folder))
    for image in ("ghcr.io/kedacore/keda:main", "ghcr.io/kedacore/keda-metrics-apiserver:main"):
        assert image in manifests, f"KEDA's manifests do not name {image} any more"
        manifests = manifests.replace(image, image_of("keda"))
    return manifests.replace("imagePullPolicy: Always", "imagePullPolicy: IfNotPresent")


async def _apply(cluster: Cluster, manifests: str) -> None:
    # Server-side: KEDA's CRDs are too large for the annotation that the other way writes.
    kubectl = cluster.kubectl(namespace="")
    await kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=manifests)


async def _delete(cluster: Cluster, manifests: str) -> None:
    await cluster.kubectl(namespace="")("delete", "--ignore-not-found", "-f", "-", stdin=manifests)


async def _rolled_out(cluster: Cluster, what: str, *, namespace: str) -> None:
    kubectl = cluster.kubectl(namespace=namespace)
    try:
        timeout = f"--timeout={ROLLOUT_SECONDS_MAX}s"
        await kubectl("rollout", "status", what, timeout)
    except KubectlRefused as error:
        state = await kubectl("describe", "pods")
        with contextlib.suppress(KubectlRefused):  # its container may not have started yet
            state += await kubectl("logs", what, f"--tail={LOG_LINES}")
        raise ServiceError(what, f"did not come up: {error}", state) from None


async def _serves_external_metrics(cluster: Cluster) -> None:
    """Until the API server gets answers; a list of metrics may well be empty."""
    until = time.monotonic() + ANSWER_SECONDS_MAX
    while True:
        try:
            await cluster.kubectl()("get", "--raw", "/apis/external.metrics.k8s.io/v1beta1")
        except KubectlRefused as error:
            if time.monotonic() > until:
                raise ServiceError(EXTERNAL_METRICS, "does not answer", str(error)) from None
            await asyncio.sleep(LOOK_SECONDS)
        else:
            return

"""helm against the real API server, in a namespace that enforces the restricted Pod Security Standard."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from rei_sandbox.cluster.helm import CHART, Helm
from rei_sandbox.cluster.kubeconfig import Cluster, Kubectl
from rei_sandbox.cluster.programs import obtain_helm

RESTRICTED = (
    "pod-security.kubernetes.io/enforce=restricted",
    "pod-security.kubernetes.io/warn=restricted",
)
MINIMAL = (
    f"--values={CHART / 'values-minimal.yaml'}",
    "--set=credentials.existingSecret=rei-credentials",
    # The kinds are there already, and belong to whoever tests beside us.
    "--set=crds.install=false",
)


@pytest.fixture
def helm(cluster: Cluster, namespace: str, tmp_path: Path, say: Callable[[str], None]) -> Helm:
    """helm as the admin, in this test's namespace."""
    return Helm(
        obtain_helm(say=say), tmp_path / "helm", kubeconfig=cluster.kubeconfig, namespace=namespace
    )


@pytest.fixture
async def restricted(kubectl: Kubectl, namespace: str) -> str:
    """The namespace, which lets in no pod that is not restricted."""
    await kubectl("label", "namespace", namespace, *RESTRICTED)
    return namespace


async def run(helm: Helm, *words: str) -> str:
    """helm beside a loop that goes on."""
    return await asyncio.to_thread(helm, *words)

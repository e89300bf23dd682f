"""A real Kubernetes API server for the tests of this folder, shared by all processes of the run.

A given one (`REI_TEST_KUBECONFIG`; its CRDs of rei.bot are replaced, and stay), else one of our
own: see rei_sandbox.cluster. Each test gets a namespace of its own. What is of the cluster's scope
is everybody's: give it a name that nobody else takes.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import sys
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
import pytest_asyncio
from kubernetes.aio import client, config

from rei_core.maintenance.resources import API_VERSION, GROUP, KINDS
from rei_sandbox.cluster import shared as shared_cluster
from rei_sandbox.cluster.errors import KubectlRefused, NoCluster
from rei_sandbox.cluster.kubeconfig import Cluster, Kubectl

from .operator.stage import Stage, open_stage
from .operator.waiting import until

K8S = Path(__file__).parents[2] / "k8s"
OPERATOR = "rei-operator"
OPERATOR_RIGHTS = ("service-account.yaml", "role.yaml", "role-binding.yaml")
TEST_SECONDS_MAX = 600


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests of this folder, and give them time: they wait for processes that start processes.

    The limit is theirs alone: the first may have to wait for programs to be built, which has its own.
    """
    here = Path(__file__).parent
    for item in items:
        if item.path.is_relative_to(here):
            item.add_marker(pytest.mark.cluster)
            item.add_marker(pytest.mark.timeout(TEST_SECONDS_MAX, func_only=True))


@pytest.fixture(scope="session")
def say(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Show a line at once: a build that takes minutes must not look like a hanging test."""
    capture = request.config.pluginmanager.getplugin("capturemanager")

    def shown(line: str) -> None:
        with capture.global_and_fixture_disabled() if capture else contextlib.nullcontext():
            sys.stderr.write(f"cluster: {line}\n")
            sys.stderr.flush()

    return shown


@pytest.fixture(scope="session")
def cluster(
    tmp_path_factory: pytest.TempPathFactory, say: Callable[[str], None]
) -> Iterator[Cluster]:
    """The API server. Not to be had: a skip that says why, a failure under CI=true."""
    mine = tmp_path_factory.getbasetemp()
    # The workers of pytest-xdist have a folder each, side by side.
    ours = mine.parent if "PYTEST_XDIST_WORKER" in os.environ else mine
    with contextlib.ExitStack() as stack:
        try:
            opened = stack.enter_context(
                shared_cluster.cluster(ours / "cluster", os.environ, say=say)
            )
        except NoCluster as error:
            if os.environ.get("CI") == "true":
                pytest.fail(str(error))
            pytest.skip(str(error))
        yield opened


@pytest.fixture(scope="session")
def crds(cluster: Cluster) -> None:
    """Our kinds, known to the API server."""
    names = [f"crd/{kind.names.plural}.{GROUP}" for kind in KINDS.values()]
    kubectl = cluster.kubectl()

    async def install() -> None:
        await kubectl("apply", "--server-side", "--force-conflicts", "-k", str(K8S / "crds"))
        await kubectl("wait", "--for=condition=Established", "--timeout=60s", *names)
        await until(taught, what="discovery and OpenAPI know our kinds")

    async def taught() -> bool:
        try:
            for kind in KINDS.values():
                await kubectl("explain", kind.names.singular, f"--api-version={API_VERSION}")
        except KubectlRefused:
            return False
        return True

    with (cluster.folder / "crds.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two workers that create one CRD get in each other's way
        asyncio.run(install())  # a loop of its own: the tests' loops live for one test each


@pytest.fixture
async def namespace(cluster: Cluster) -> AsyncIterator[str]:
    """A fresh namespace for this test alone.

    Its end is ordered, not awaited: the API server takes at least five seconds for it.
    """
    name = f"rei-test-{uuid.uuid4().hex[:10]}"
    kubectl = cluster.kubectl()
    await kubectl("create", "namespace", name)
    yield name
    await kubectl("delete", "namespace", name, "--wait=false", "--ignore-not-found")


@pytest.fixture
def kubectl(cluster: Cluster, namespace: str) -> Kubectl:
    """`await kubectl("get", "backups")`: as the admin, in this test's namespace."""
    return cluster.kubectl(namespace=namespace)


@pytest.fixture
async def operator_kubeconfig(cluster: Cluster, kubectl: Kubectl, namespace: str) -> Path:
    """How the operator of this test's namespace logs in: with the rights of k8s/operator, no more."""
    rights = (f"--filename={K8S / 'operator' / name}" for name in OPERATOR_RIGHTS)
    await kubectl("apply", "--server-side", *rights)
    return await cluster.as_service_account(OPERATOR, namespace=namespace)


@pytest.fixture
async def api(cluster: Cluster) -> AsyncIterator[client.ApiClient]:
    """kubernetes.aio, as the admin."""
    path = str(cluster.kubeconfig)
    opened = await config.new_client_from_config(config_file=path)  # type: ignore[no-untyped-call]
    yield opened
    await opened.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared(
    cluster: Cluster,
    crds: None,
    postgres_url: str,
    template_database: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[Stage]:
    """A namespace and a database for a module, whose tests run in a loop of the module."""
    del crds
    async with open_stage(
        cluster,
        postgres_url=postgres_url,
        template_database=template_database,
        folder=tmp_path_factory.mktemp("stage"),
    ) as opened:
        yield opened

"""What the tests of this folder stand on: images from the Dockerfile, and a Kubernetes with a node.

All of it needs root and the system's packages of `tools/setup node`. Not to be had: a skip that says
why, a failure under CI=true. Programs and images are built once for a machine.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import NoReturn

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

from rei_sandbox.cluster.errors import NoCluster
from rei_sandbox.cluster.images import PARTS, Images
from rei_sandbox.cluster.kubeconfig import Cluster, Kubectl
from rei_sandbox.cluster.node import Node, obtain, run
from rei_sandbox.cluster.programs import obtain_helm
from rei_sandbox.cluster.shared import GIVEN
from rei_sandbox.cluster.shared import cluster as given_cluster

from .release import NAMESPACE, RESTRICTED, Release
from .sharing import Sharing, group_of

NEEDED = (*PARTS, "postgres", "redis")
"""The images of a node that tests are run on."""
NEEDED_BY = {
    "test_scaling": ("prometheus", "keda", "prometheus-adapter"),
    "test_network_policies": ("prometheus", "kube-router"),
}
"""And those of some tests only."""

ORDER = (
    # First those that start a node themselves: there is room for one on a machine.
    "test_images", "test_leftovers",
    "test_release", "test_node", "test_plugin", "test_kills", "test_upgrades", "test_scaling",
    # Then those that the process beside would feel.
    "test_network_policies", "test_restart", "test_uninstall",
)  # fmt: skip


def _turn(item: pytest.Item) -> int:
    return ORDER.index(item.path.stem) if item.path.stem in ORDER else len(ORDER)


def _fixtures(item: pytest.Item) -> list[str]:
    return getattr(item, "fixturenames", [])


class InTwoProcesses(LoadScopeScheduling):
    """Who runs which tests; `--dist loadgroup` does not find groups in the names of pytest 9."""

    def _split_scope(self, nodeid: str) -> str:
        return group_of(nodeid)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> InTwoProcesses:
    return InTwoProcesses(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The time limit is the tests' alone: what they stand on may have to be built first."""
    here = Path(__file__).parent
    items.sort(key=_turn)
    if os.environ.get(GIVEN):
        # Only a node of our own is ours to restart, and its images are those that we build.
        ours = [item for item in items if "node" in _fixtures(item) or _turn(item) < 2]
        items[:] = [item for item in items if item not in ours]
    for item in items:
        if item.path.is_relative_to(here):
            item.add_marker(pytest.mark.e2e)
            item.add_marker(pytest.mark.timeout(600, func_only=True))


@pytest.fixture(scope="session")
def sharing(tmp_path_factory: pytest.TempPathFactory) -> Sharing:
    """What this process and the one beside know of each other."""
    parallel = "PYTEST_XDIST_WORKER" in os.environ
    folder = tmp_path_factory.getbasetemp()
    return Sharing(folder.parent if parallel else folder, parallel=parallel)


@pytest.fixture(autouse=True)
def announced(request: pytest.FixtureRequest, sharing: Sharing) -> None:
    """The process that has the node knows from the start that there will be a visitor."""
    sharing.begin(request.node, request.session.items)


@pytest.fixture(scope="session")
def say(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Show a line at once: a build that takes minutes must not look like a hanging test."""
    capture = request.config.pluginmanager.getplugin("capturemanager")

    def shown(line: str) -> None:
        with capture.global_and_fixture_disabled() if capture else contextlib.nullcontext():
            sys.stderr.write(f"e2e: {line}\n")
            sys.stderr.flush()

    return shown


@pytest.fixture(scope="session")
def store(say: Callable[[str], None]) -> Images:
    """Where images are; who needs one builds it there."""
    try:
        return Images(say=say)
    except NoCluster as error:
        not_here(error)


@pytest.fixture(scope="session")
def images(store: Images) -> Images:
    """The store with all images of Rei, built."""
    store.build(*PARTS)
    return store


@pytest.fixture(scope="session")
def node(
    request: pytest.FixtureRequest, store: Images, sharing: Sharing, say: Callable[[str], None]
) -> Iterator[Node]:
    """A Kubernetes with one node that has all images; everybody's."""
    try:
        programs = obtain(say=say)
    except NoCluster as error:
        sharing.invite(None)
        not_here(error)
    chosen = {item.path.stem for item in request.session.items}
    more = (name for module, names in NEEDED_BY.items() if module in chosen for name in names)
    needed = dict.fromkeys((*NEEDED, *more))
    try:
        store.build("pause", *needed)
        with run(programs, store, say=say) as started:
            started.load(*needed)
            say(f"node ready in {started.ready_seconds:.1f} s")
            yield started
            sharing.invite(started.cluster.kubeconfig)
            sharing.wait_until_alone()
    finally:
        sharing.invite(None)


@pytest.fixture(scope="session")
def cluster(
    request: pytest.FixtureRequest,
    sharing: Sharing,
    tmp_path_factory: pytest.TempPathFactory,
    say: Callable[[str], None],
) -> Iterator[Cluster]:
    """How to talk to it: to a given one, to that of the process beside, or to our own node."""
    environment = dict(os.environ)
    if sharing.visiting:
        environment[GIVEN] = str(sharing.invited())
    if environment.get(GIVEN):
        with given_cluster(tmp_path_factory.mktemp("cluster"), environment, say=say) as given:
            yield given
        return
    node: Node = request.getfixturevalue("node")
    yield node.cluster


@pytest.fixture
async def kubectl(cluster: Cluster) -> AsyncIterator[Kubectl]:
    """As the admin, in a namespace that takes restricted pods only."""
    name = f"rei-test-{uuid.uuid4().hex[:10]}"
    everywhere = cluster.kubectl()
    await everywhere("create", "namespace", name)
    await everywhere("label", "namespace", name, RESTRICTED)
    yield cluster.kubectl(namespace=name)
    await everywhere("delete", "namespace", name, "--wait=false")


@pytest.fixture(scope="session")
def release(
    cluster: Cluster,
    sharing: Sharing,
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    say: Callable[[str], None],
) -> Iterator[Release]:
    """Rei, installed by helm in the way that its customers would; everybody's."""
    made = Release.on(cluster, obtain_helm(say=say), tmp_path_factory.mktemp("helm"))
    asyncio.run(_installed(made, say))
    sharing.invite(cluster.kubeconfig)
    yield made
    if cluster.ours:
        return  # it goes with its node
    sharing.wait_until_alone()  # the kinds go with it
    if request.session.testsfailed:
        say(
            f"the release is left as it is in {NAMESPACE}, to be looked at; the next run removes it"
        )
    else:
        asyncio.run(made.remove())


@pytest.fixture(scope="session")
def alone(release: Release, sharing: Sharing) -> None:
    """Nobody else is on the node: what is done to it as a whole is felt by nobody."""
    sharing.wait_until_alone()


async def _installed(release: Release, say: Callable[[str], None]) -> None:
    await release.remove()  # what a run that failed has left
    await release.prepare()
    started = time.monotonic()
    await release.install()
    say(f"release installed in {time.monotonic() - started:.0f} s, all pods ready")


def not_here(error: NoCluster) -> NoReturn:
    """Skip where something is missing; but never in CI."""
    if os.environ.get("CI") == "true":
        pytest.fail(str(error))
    pytest.skip(str(error))

"""What the tests of this folder stand on: images from the Dockerfile, and a Kubernetes with a node.

All of it needs root and the system's packages of `tools/setup node`. Not to be had: a skip that says
why, a failure under CI=true. Programs and images are built once for a machine.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn

import pytest

from rei_sandbox.cluster.errors import NoCluster
from rei_sandbox.cluster.images import PARTS, Images
from rei_sandbox.cluster.kubeconfig import Cluster
from rei_sandbox.cluster.node import Node, obtain, run


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The time limit is the tests' alone: what they stand on may have to be built first."""
    here = Path(__file__).parent
    # First those that start a node themselves: there is room for one on a machine.
    items.sort(key=lambda item: "node" in getattr(item, "fixturenames", ()))
    for item in items:
        if item.path.is_relative_to(here):
            item.add_marker(pytest.mark.e2e)
            item.add_marker(pytest.mark.timeout(600, func_only=True))


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
def node(store: Images, say: Callable[[str], None]) -> Iterator[Node]:
    """A Kubernetes with one node that has the worker's image; everybody's."""
    try:
        programs = obtain(say=say)
    except NoCluster as error:
        not_here(error)
    store.build("pause", "worker")
    with run(programs, pause=store.archive("pause"), say=say) as started:
        started.load(store.archive("worker"))
        say(f"node ready in {started.ready_seconds:.1f} s")
        yield started


@pytest.fixture(scope="session")
def cluster(node: Node) -> Cluster:
    """How to talk to it."""
    return node.cluster


def not_here(error: NoCluster) -> NoReturn:
    """Skip where something is missing; but never in CI."""
    if os.environ.get("CI") == "true":
        pytest.fail(str(error))
    pytest.skip(str(error))

"""The operator as a real process on a real API server; see `stage` for what is around it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from rei_sandbox.cluster.kubeconfig import Cluster

from .process import OperatorProcess
from .stage import Stage, open_stage

TEST_SECONDS_MAX = 300


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """More time for the tests of this folder: they wait for processes that start processes."""
    here = Path(__file__).parent
    for item in items:
        if item.path.is_relative_to(here):
            limit = pytest.mark.timeout(TEST_SECONDS_MAX, func_only=True)
            item.add_marker(limit, append=False)


@pytest.fixture
async def stage(
    cluster: Cluster, crds: None, postgres_url: str, template_database: str, tmp_path: Path
) -> AsyncIterator[Stage]:
    """A namespace and a database for this test alone; no operator yet."""
    del crds
    async with open_stage(
        cluster, postgres_url=postgres_url, template_database=template_database, folder=tmp_path
    ) as opened:
        yield opened


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def operator(shared: Stage) -> AsyncIterator[OperatorProcess]:
    """The operator of a module."""
    async with shared.operator() as started:
        await started.ready()
        yield started

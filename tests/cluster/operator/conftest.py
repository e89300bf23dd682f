"""The operator as a real process on a real API server; see `stage` for what is around it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from rei_sandbox.cluster.kubeconfig import Cluster

from .process import OperatorProcess
from .stage import Stage, open_stage


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

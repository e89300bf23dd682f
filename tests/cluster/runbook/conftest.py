"""The town that the runbook's blocks are run in, one for all pages."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import pytest
import pytest_asyncio

from rei_sandbox.cluster.kubeconfig import Cluster

from ..operator.stage import Stage, open_stage
from .town import Town, open_town


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def ground(
    cluster: Cluster,
    crds: None,
    postgres_url: str,
    template_database: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[Stage]:
    """What the town stands on: a namespace and a database for all pages."""
    del crds
    async with open_stage(
        cluster,
        postgres_url=postgres_url,
        template_database=template_database,
        folder=tmp_path_factory.mktemp("town"),
    ) as opened:
        yield opened


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def town(ground: Stage, redis_url: str, say: Callable[[str], None]) -> AsyncIterator[Town]:
    """A release in a namespace of its own, for all pages."""
    async with open_town(ground, redis_url=redis_url, say=say) as opened:
        yield opened

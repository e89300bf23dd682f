"""The town that the runbook's blocks are run in, one for all pages."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import pytest_asyncio

from ..operator.stage import Stage
from .town import Town, open_town


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def town(shared: Stage, redis_url: str, say: Callable[[str], None]) -> AsyncIterator[Town]:
    """A release in a namespace of its own, for all pages."""
    async with open_town(shared, redis_url=redis_url, say=say) as opened:
        yield opened

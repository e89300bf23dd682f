"""The node restarted while customers are being served: nobody loses a kopeck."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from rei_sandbox.cluster.node import Node

from .crowd import crowd
from .release import Release


@pytest.mark.usefixtures("alone")
async def test_a_restart_of_the_node_costs_nobody_anything(
    node: Node, release: Release, say: Callable[[str], None]
) -> None:
    async with crowd(release, say) as customers:
        await customers.busy(jobs=4)
        await asyncio.to_thread(node.restart)
        # A pod that has to be started needs the kubelet: the old ones go on without it.
        bot = (await release.pods("bot"))[0]["metadata"]["name"]
        await release.kubectl("delete", "pod", bot)
        await customers.busy(jobs=4)
        await release.ready()
    assert customers.report.held, customers.report.violations

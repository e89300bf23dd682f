"""The node restarted: pods go on, and customers lose nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from rei_sandbox.cluster.kubeconfig import Kubectl
from rei_sandbox.cluster.node import Node

from .crowd import crowd
from .pods import SERVE, create, output, pod, ready
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


@pytest.mark.usefixtures("alone")
async def test_pods_outlive_a_restart_of_the_node(node: Node, kubectl: Kubectl) -> None:
    await create(kubectl, pod("server", "worker", "python", "-c", SERVE))
    await ready(kubectl, "server")
    before = await kubectl.json("get", "pod", "server")
    await asyncio.to_thread(node.restart)
    await create(kubectl, pod("help", "worker", "rei", "worker", "--help"))
    assert "Usage: rei worker" in await output(kubectl, "help")
    after = await kubectl.json("get", "pod", "server")
    assert after["metadata"]["uid"] == before["metadata"]["uid"]
    assert [one["restartCount"] for one in after["status"]["containerStatuses"]] == [0]

"""The chart's NetworkPolicies, enforced: what Rei lives by is open, and the rest is closed.

Of what goes to the node itself, the API server above all, nothing is said: whether policies are for
that too is up to the cluster's network.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from rei_sandbox.cluster import addons
from rei_sandbox.cluster.kubeconfig import Cluster, Kubectl

from .crowd import crowd
from .release import Release

PROBE = """
import json, socket, sys

def answers(address):
    host, port = address.rsplit(":", 1)
    try:
        socket.create_connection((host, int(port)), timeout=3).close()
    except OSError:
        return False
    return True

print(json.dumps([answers(address) for address in sys.argv[1:]]))
"""
PORTS = {"bot": 8082, "worker": 8081, "operator": 8083}
"""Where each part tells how it is."""
MAY = {
    "bot": {"postgres", "redis", "sandbox"},
    "worker": {"postgres", "redis", "sandbox"},
    "operator": {"postgres", "sandbox"},
    "outside": {"webhooks", "sandbox", "prometheus"},
    "monitoring": {"webhooks", "bot", "worker", "operator", "sandbox", "prometheus"},
}
"""Who may connect to what; nobody to anything else."""


def own(source: str) -> set[str]:
    """What may lead a source to itself, which no policy is about."""
    return {source, "webhooks"} if source == "bot" else {source}


@pytest.fixture(scope="module")
def enforceable(cluster: Cluster, alone: None) -> Cluster:
    """A cluster with somebody in the namespace of monitoring; a given one has to have the images."""
    asyncio.run(addons.install_prometheus(cluster))
    return cluster


async def test_only_what_has_to_be_open_is_open(enforceable: Cluster, release: Release) -> None:
    await release.ready()
    world = await World.of(enforceable, release)
    everything = {source: set(world.addresses) - own(source) for source in MAY}
    assert await world.connections() == everything, "all is open while nobody enforces them"
    async with addons.network_policies(enforceable):
        assert await world.connections() == MAY


async def test_customers_are_served_behind_them(
    enforceable: Cluster, release: Release, say: Callable[[str], None]
) -> None:
    async with addons.network_policies(enforceable), crowd(release, say) as customers:
        await customers.busy(jobs=6)
    assert customers.report.held, customers.report.violations


@dataclass(frozen=True)
class World:
    """Pods that try to connect, and what they try."""

    sources: dict[str, tuple[Kubectl, str]]
    addresses: dict[str, str]

    @classmethod
    async def of(cls, cluster: Cluster, release: Release) -> World:
        monitoring = cluster.kubectl(namespace=addons.MONITORING)
        parts = {part: (release.kubectl, f"deployment/rei-{part}") for part in PORTS}
        others = {
            "outside": (release.outside, "deployment/sandbox"),
            "monitoring": (monitoring, "deployment/prometheus"),
        }
        namespace = release.kubectl.namespace
        status = {
            part: f"{(await release.pods(part))[0]['status']['podIP']}:{port}"
            for part, port in PORTS.items()
        }
        services = {
            "webhooks": f"rei-bot.{namespace}:80",
            "postgres": f"rei-postgres.{namespace}:5432",
            "redis": f"rei-redis.{namespace}:6379",
            "sandbox": f"sandbox.{release.outside.namespace}:8090",
            "prometheus": addons.PROMETHEUS_URL.removeprefix("http://"),
        }
        return cls({**parts, **others}, {**status, **services})

    async def connections(self) -> dict[str, set[str]]:
        """For each source what answers it, but for itself."""
        return {
            name: await self._from(*source) - own(name) for name, source in self.sources.items()
        }

    async def _from(self, kubectl: Kubectl, pod: str) -> set[str]:
        probe = ("python3", "-c", PROBE, *self.addresses.values())
        answers = json.loads(await kubectl("exec", pod, "--", *probe))
        return {name for name, answered in zip(self.addresses, answers, strict=True) if answered}

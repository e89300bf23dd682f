"""What keeping the costs asks of the API server, and what happens when it says no."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from rei_core.db import Pool
from rei_operator import deletion_costs
from rei_operator.cluster import ClusterDenied, ObjectGone
from rei_operator.deletion_costs import COST, DeletionCosts

from .conftest import NAMESPACE

ADD = """
INSERT INTO jobs (user_id, idempotency_key, status, model, prompt, aspect_ratio, image_size,
                  price_kopecks, attempts_max, deadline_at, chat_id, lease_until, worker)
SELECT 7, $1 || number, 'processing', 'm', 'p', '1:1', '1K', 1, 2, now(), 7, now(), $1
FROM generate_series(1, $2) AS number
"""


class Pods:
    """The part of an API server that has pods, and counts what it is asked for."""

    def __init__(self, *names: str) -> None:
        self.costs: dict[str, str | None] = dict.fromkeys(names)
        self.lists = 0
        self.patches = 0
        self.denies = False

    async def labelled(self, kind: str, namespace: str, selector: str) -> list[dict[str, Any]]:
        assert (kind, namespace, selector) == ("Pod", NAMESPACE, "app=w")
        self.lists += 1
        if self.denies:
            raise ClusterDenied("LIST", "no", http_status=403)
        return [
            {"metadata": {"name": name, "annotations": {COST: cost} if cost else {}}}
            for name, cost in self.costs.items()
        ]

    async def patch(
        self, kind: str, namespace: str, name: str, patch: Any, *, subresource: str = ""
    ) -> Any:
        assert (kind, namespace, subresource) == ("Pod", NAMESPACE, "status")
        self.patches += 1
        if name not in self.costs:
            raise ObjectGone("PATCH", "gone", http_status=404)
        self.costs[name] = patch["metadata"]["annotations"][COST]

    def asked(self) -> tuple[int, int]:
        """Lists and patches since the last time."""
        asked = (self.lists, self.patches)
        self.lists = self.patches = 0
        return asked


def keeper(pool: Pool, pods: Pods) -> DeletionCosts:
    cluster: Any = pods  # of a Cluster only these two are called
    return DeletionCosts(pool=pool, cluster=cluster, namespace=NAMESPACE, selector="app=w")


async def works(pool: Pool, worker: str, jobs: int) -> None:
    await pool.execute("INSERT INTO users (id, first_name) VALUES (7, 'A') ON CONFLICT DO NOTHING")
    await pool.execute(ADD, worker, jobs)


async def ends(pool: Pool) -> None:
    await pool.execute(
        "UPDATE jobs SET status = 'completed', finished_at = now(), lease_until = NULL"
    )


async def test_costs_follow_the_jobs_of_all_processes_of_a_pod(pool: Pool) -> None:
    pods = Pods("a", "b-c")
    costs = keeper(pool, pods)
    await works(pool, "b-c-17-0a0b0c0d", 2)
    await works(pool, "b-c-18-0a0b0c0d", 1)
    await costs.look()
    assert pods.costs == {"a": None, "b-c": "3"}
    await ends(pool)
    await costs.look()
    assert pods.costs == {"a": None, "b-c": None}


async def test_where_nothing_changes_nothing_is_asked(pool: Pool) -> None:
    pods = Pods("a", "b")
    costs = keeper(pool, pods)
    await works(pool, "a-1-0a0b0c0d", 4)
    await works(pool, "laptop-1-0a0b0c0d", 1)  # a worker that is no pod of ours
    await costs.look()
    assert pods.asked() == (1, 1)
    for _ in range(3):
        await costs.look()
    assert pods.asked() == (0, 0)


async def test_a_new_pod_is_found_and_one_that_is_gone_is_forgotten(pool: Pool) -> None:
    pods = Pods("a")
    costs = keeper(pool, pods)
    await costs.look()
    pods.costs["new"] = None
    await works(pool, "new-1-0a0b0c0d", 1)
    await costs.look()
    assert pods.costs == {"a": None, "new": "1"}
    del pods.costs["new"]
    await ends(pool)
    pods.asked()
    await costs.look()
    await costs.look()
    assert pods.asked() == (0, 1)


async def test_what_an_earlier_process_wrote_is_taken_away(pool: Pool) -> None:
    pods = Pods("a")
    pods.costs["a"] = "8"
    await keeper(pool, pods).look()
    assert pods.costs == {"a": None}


async def test_denied_it_asks_seldom_and_goes_on(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []

    async def paused(seconds: float) -> None:
        pauses.append(seconds)
        pods.denies = False
        if len(pauses) == 2:
            raise asyncio.CancelledError

    monkeypatch.setattr(asyncio, "sleep", paused)
    pods = Pods("a")
    pods.denies = True
    await works(pool, "a-1-0a0b0c0d", 4)
    with pytest.raises(asyncio.CancelledError):
        await keeper(pool, pods).run(period_seconds=5)
    assert pauses == [deletion_costs.FAILED_PAUSE_SECONDS, 5]
    assert pods.costs == {"a": "4"}

"""Which costs are written, and in what order."""

from __future__ import annotations

from typing import Any

import pytest

from rei_core.jobs.workers import host_of, worker_name
from rei_operator.deletion_costs import COST, PATCHES_MAX, changes, cost_of


@pytest.mark.parametrize(
    ("jobs", "cost", "is_written"),
    [
        (0, 0, False),
        (1, 0, True),
        (0, 1, True),
        (1, 2, True),
        (7, 8, False),  # a quarter less is nearly right
        (5, 8, True),
        (8, 6, False),
        (8, 5, True),
        (0, 8, True),
        (3, -100, True),
    ],
)
def test_a_cost_is_written_when_it_says_something_else(
    jobs: int, cost: int, is_written: bool
) -> None:
    expected = {"a": jobs} if is_written else {}
    assert changes({"a": jobs} if jobs else {}, {"a": cost}) == expected


def test_idle_taken_for_busy_comes_first_and_then_the_largest_error() -> None:
    running = {"little": 5, "much": 1, "busy": 2, "stranger": 9}
    written = {"little": 7, "much": 8, "busy": 0, "idle": 1}
    assert list(changes(running, written).items()) == [
        ("busy", 2), ("idle", 0), ("much", 1), ("little", 5),
    ]  # fmt: skip


def test_there_is_a_bound_on_the_writes_of_a_look() -> None:
    running = {f"pod-{number:03}": 1 for number in range(PATCHES_MAX + 10)}
    written = dict.fromkeys(running, 0)
    first = changes(running, written)
    assert len(first) == PATCHES_MAX
    second = changes(running, written | first)
    assert first.keys() | second.keys() == running.keys()


@pytest.mark.parametrize(
    ("annotations", "cost"), [(None, 0), ({}, 0), ({COST: "7"}, 7), ({COST: "much"}, 0)]
)
def test_the_cost_that_a_pod_has(annotations: Any, cost: int) -> None:
    assert cost_of({"name": "a", "annotations": annotations}) == cost


def test_a_worker_is_found_by_its_pods_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: "rei-worker-7d4b9c-x2x8k")
    assert host_of(worker_name()) == "rei-worker-7d4b9c-x2x8k"

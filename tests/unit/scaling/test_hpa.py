"""The model of the HPA against what Kubernetes' own source says."""

from __future__ import annotations

import pytest

from rei_scaling.hpa import Autoscaler, Behavior, ScalingPolicy

AT_ONCE = (ScalingPolicy("Pods", 100, 15),)


def autoscaler(
    *, target: float = 10, replicas_max: int = 100, behavior: Behavior | None = None
) -> Autoscaler:
    free = Behavior(up=AT_ONCE, down_window_seconds=0)
    return Autoscaler(
        target=target, replicas_min=1, replicas_max=replicas_max, behavior=behavior or free
    )


@pytest.mark.parametrize(
    ("usage", "replicas", "wanted"),
    [
        (0, 4, 1),
        (40, 4, 4),
        (44, 4, 4),  # within the tolerance of a tenth
        (45, 4, 5),
        (36, 4, 4),
        (35, 4, 4),  # not within it, but rounded up
        (29, 4, 3),
        (70.1, 4, 8),
        (5000, 4, 100),
    ],
)
def test_the_average_is_rounded_up_unless_it_is_near_enough(
    usage: float, replicas: int, wanted: int
) -> None:
    assert autoscaler().sync(0, usage=usage, replicas=replicas) == wanted


def test_down_waits_for_the_highest_of_the_window() -> None:
    scaler = autoscaler(behavior=Behavior(up=AT_ONCE, down_window_seconds=60))
    assert scaler.sync(0, usage=80, replicas=1) == 8
    assert scaler.sync(15, usage=10, replicas=8) == 8
    assert scaler.sync(30, usage=30, replicas=8) == 8
    assert scaler.sync(45, usage=10, replicas=8) == 8
    assert scaler.sync(61, usage=10, replicas=8) == 3
    assert scaler.sync(91, usage=10, replicas=3) == 1


def test_up_waits_for_the_lowest_of_its_window() -> None:
    scaler = autoscaler(behavior=Behavior(up=AT_ONCE, up_window_seconds=30))
    assert scaler.sync(0, usage=80, replicas=1) == 1
    assert scaler.sync(15, usage=60, replicas=1) == 1
    assert scaler.sync(31, usage=90, replicas=1) == 6


def test_by_default_it_adds_four_or_doubles_in_a_period() -> None:
    scaler = autoscaler(behavior=Behavior())
    assert scaler.sync(0, usage=900, replicas=1) == 5
    assert scaler.sync(5, usage=900, replicas=5) == 5  # the same period still
    assert scaler.sync(16, usage=900, replicas=5) == 10
    assert scaler.sync(32, usage=900, replicas=10) == 20


def test_down_policies_count_from_the_start_of_the_period() -> None:
    one_in_30 = Behavior(up=AT_ONCE, down_window_seconds=0, down=(ScalingPolicy("Pods", 1, 30),))
    scaler = autoscaler(behavior=one_in_30)
    assert scaler.sync(0, usage=0, replicas=4) == 3
    assert scaler.sync(15, usage=0, replicas=3) == 3
    assert scaler.sync(31, usage=0, replicas=3) == 2


def test_a_percentage_of_pods_to_lose_is_rounded_down() -> None:
    half = Behavior(up=AT_ONCE, down_window_seconds=0, down=(ScalingPolicy("Percent", 50, 15),))
    assert autoscaler(behavior=half).sync(0, usage=0, replicas=5) == 2

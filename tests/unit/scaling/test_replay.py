"""The replay and the oracle on cases that can be worked out by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rei_scaling.arrivals import SCENARIOS, Order
from rei_scaling.figures import percentile
from rei_scaling.oracle import oracle
from rei_scaling.policy import Policy, World
from rei_scaling.replay import Replay

WORLD = World(slots=2, start_seconds=10, stop_seconds=2, pods_max=3)
UNTIL = 1000.0


def test_what_one_pod_can_take_costs_one_pod_and_nobody_waits() -> None:
    orders = [Order(float(at), 5) for at in range(0, 100, 10)]
    outcome = Replay(orders, Policy(), WORLD, until=UNTIL).run()
    assert outcome.queued_p95 == 0
    assert list(outcome.waited) == [5] * 10
    assert outcome.pod_seconds == UNTIL
    assert oracle(orders, WORLD, until=UNTIL)[0] == outcome


def test_the_oracle_orders_ahead_and_pays_for_start_and_stop() -> None:
    orders = [Order(100, 20), Order(100, 20), Order(105, 10)]
    outcome, pods = oracle(orders, WORLD, until=UNTIL)
    assert list(outcome.queued) == [0, 0, 0]
    assert pods == [(0, UNTIL), (95, 117)]
    assert outcome.pod_seconds == UNTIL + 22


def test_the_oracle_keeps_a_pod_where_going_and_coming_back_would_cost_more() -> None:
    def busy(at: float) -> list[Order]:
        return [Order(at, 20)] * 3

    near = [*busy(100), *busy(131)]
    assert oracle(near, WORLD, until=UNTIL)[1] == [(0, UNTIL), (90, 153)]
    far = [*busy(100), *busy(133)]
    assert oracle(far, WORLD, until=UNTIL)[1] == [(0, UNTIL), (90, 122), (123, 155)]


def test_the_oracle_too_has_a_ceiling() -> None:
    orders = [Order(100, 10)] * 7
    outcome, pods = oracle(orders, WORLD, until=UNTIL)
    assert list(outcome.queued) == [0] * 6 + [10]
    assert len(pods) == 3


def test_nobody_waits_less_than_with_the_oracle_nor_for_less_pods() -> None:
    step = SCENARIOS[0]
    orders = step.orders(1)
    until = step.length_seconds + 600
    best, _ = oracle(orders, World(), until=until)
    free = Replay(orders, Policy(pods_min=8), World(), until=until).run()
    assert sum(free.waited) == pytest.approx(sum(best.waited))
    assert free.pod_seconds > best.pod_seconds


def test_a_burst_waits_for_being_seen_and_for_pods_to_start() -> None:
    orders = [Order(100, 30)] * 6
    outcome = Replay(orders, Policy(), WORLD, until=UNTIL).run()
    begun = sorted(outcome.queued)
    assert begun[:2] == [0, 0]
    # counted within 1 s, scraped within 5, asked for within 15; then 10 to start
    assert 10 < begun[2] <= 31
    assert begun[2:] == [begun[2]] * 4


def test_a_pod_that_is_let_go_ends_its_jobs_first_and_an_idle_one_is_preferred() -> None:
    quiet = [Order(20.0 * n, 25) for n in range(20)]
    orders = sorted([*quiet, *[Order(50, 100)] * 4], key=lambda order: order.at)
    marked = Replay(orders, Policy(), WORLD, until=UNTIL).run()
    assert len(marked.waited) == len(orders)
    scenario = SCENARIOS[0]
    taken = [
        Replay(
            scenario.orders(3), replace(Policy(), marks_busy=marks), World(),
            until=scenario.length_seconds + 600,
        ).run().taken_busy
        for marks in (True, False)
    ]  # fmt: skip
    assert taken[0] < taken[1]


def test_the_same_seed_is_the_same_replay() -> None:
    orders = SCENARIOS[1].orders(2)
    assert orders == SCENARIOS[1].orders(2)
    assert orders != SCENARIOS[1].orders(3)
    assert [order.at for order in orders] == sorted(order.at for order in orders)


def test_what_waits_counts_as_what_a_pod_can_take_of_it() -> None:
    policy = Policy(drain_seconds=30)
    assert policy.signal(due=10, processing=4, mean_seconds=15) == 9
    assert policy.signal(due=10, processing=4, mean_seconds=60) == 14
    assert policy.signal(due=10, processing=4, mean_seconds=None) == 14


@pytest.mark.parametrize(
    ("values", "expected"), [([], 0), ([7], 7), ([1, 2, 3, 4], 4), (list(range(1, 101)), 95)]
)
def test_percentiles(values: list[float], expected: float) -> None:
    assert percentile(values, 0.95) == expected

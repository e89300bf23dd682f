"""The benchmark's arithmetic: a wrong ratio would be believed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rei_bench.figures import (
    Bound,
    Spread,
    human,
    ideal_seconds,
    percentile,
    ratio_of,
    spread_of,
)


def test_a_spread_is_the_median_and_both_ends_whatever_the_order() -> None:
    assert spread_of([30.0, 10.0, 20.0]) == Spread(20.0, 10.0, 30.0)
    assert spread_of([4.0, 1.0]) == Spread(2.5, 1.0, 4.0)


def test_no_rounds_have_no_spread() -> None:
    with pytest.raises(ValueError, match="no round"):
        spread_of([])


def test_a_ratio_is_taken_round_by_round() -> None:
    # The second round was slow for both; median by median it would be 90 / 150 = 0.6.
    assert ratio_of([90.0, 40.0, 150.0], [100.0, 50.0, 200.0]) == Spread(0.8, 0.75, 0.9)


def test_rounds_that_do_not_belong_together_have_no_ratio() -> None:
    with pytest.raises(ValueError, match="2 rounds against 1"):
        ratio_of([1.0, 2.0], [1.0])


def test_a_percentile_is_a_value_that_was_measured() -> None:
    hundred = [float(n) for n in range(100, 0, -1)]
    assert percentile(hundred, 0.99) == 99.0
    assert percentile(hundred, 0.5) == 50.0
    assert percentile(hundred, 1.0) == 100.0
    assert percentile([7.0], 0.99) == 7.0


def test_nothing_has_no_percentile() -> None:
    with pytest.raises(ValueError, match="nothing"):
        percentile([], 0.99)


@pytest.mark.parametrize(
    ("bound", "holds", "fails", "text"),
    [
        (Bound(0.7), 0.7, 0.699, "≥ 0.7"),
        (Bound(1.3, at_most=True), 1.3, 1.301, "≤ 1.3"),
    ],
)
def test_a_bound_holds_up_to_itself(bound: Bound, holds: float, fails: float, text: str) -> None:
    assert bound.holds(holds)
    assert not bound.holds(fails)
    assert str(bound) == text


def test_the_worst_ratio_is_the_one_that_is_hardest_to_be_content_with() -> None:
    assert Bound(0.7).worst([0.9, 0.5, 0.8]) == 0.5
    assert Bound(1.3, at_most=True).worst([0.9, 1.5, 1.2]) == 1.5


@pytest.mark.parametrize(
    ("busy", "free", "waiting", "seconds", "ideal"),
    [
        ([], 10, 100, 1.0, 10.0),
        ([], 10, 101, 1.0, 11.0),  # jobs cannot be cut: the last one has the machine to itself
        ([0.5] * 5, 5, 5, 1.0, 1.0),
        ([0.5] * 5, 5, 10, 1.0, 1.5),
        ([0.5], 0, 0, 1.0, 0.5),
    ],
)
def test_the_perfect_split(
    busy: list[float], free: int, waiting: int, seconds: float, ideal: float
) -> None:
    found = ideal_seconds(busy=busy, free=free, waiting=waiting, seconds=seconds)
    assert found == pytest.approx(ideal)


@given(
    busy=st.lists(st.floats(0, 1), max_size=5),
    free=st.integers(1, 5),
    waiting=st.integers(0, 50),
)
def test_no_split_beats_the_work_divided_by_the_slots(
    busy: list[float], free: int, waiting: int
) -> None:
    found = ideal_seconds(busy=busy, free=free, waiting=waiting, seconds=1.0)
    work = sum(busy) + waiting
    assert found >= work / (len(busy) + free) - 1e-9
    assert found <= work + 1e-9


@pytest.mark.parametrize(
    ("value", "text"),
    [(12_345.6, "12,346"), (999.6, "1000"), (123.4, "123"), (12.34, "12.3"), (0.95, "0.95"),
     (0.0123, "0.012")],
)  # fmt: skip
def test_figures_for_people(value: float, text: str) -> None:
    assert human(value) == text

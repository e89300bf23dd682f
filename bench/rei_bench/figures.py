"""The arithmetic of the report: medians, spreads, ratios. Pure, and tested by itself."""

from __future__ import annotations

import heapq
import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True, slots=True)
class Spread:
    """What repeated rounds gave: the median, and the lowest and the highest of them."""

    median: float
    low: float
    high: float


def spread_of(values: Sequence[float]) -> Spread:
    """The spread of at least one value."""
    if not values:
        raise ValueError("no round was measured")
    return Spread(median(values), min(values), max(values))


def ratio_of(ours: Sequence[float], against: Sequence[float]) -> Spread:
    """The spread of the rounds' ratios.

    Round by round and not median by median: what slows the machine down for a while slows both
    down, and their ratio stays.
    """
    if len(ours) != len(against):
        raise ValueError(f"{len(ours)} rounds against {len(against)}")
    return spread_of([mine / other for mine, other in zip(ours, against, strict=True)])


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest of the values that at least `share` of them do not exceed (nearest rank)."""
    if not values:
        raise ValueError("nothing was measured")
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


@dataclass(frozen=True, slots=True)
class Bound:
    """The ratio that is wanted: at least `ratio`, or at most."""

    ratio: float
    at_most: bool = False

    def holds(self, ratio: float) -> bool:
        return ratio <= self.ratio if self.at_most else ratio >= self.ratio

    def __str__(self) -> str:
        return f"{'≤' if self.at_most else '≥'} {self.ratio:g}"

    def worst(self, ratios: Sequence[float]) -> float:
        """The ratio that is hardest to be content with."""
        return max(ratios) if self.at_most else min(ratios)


def ideal_seconds(
    *, busy: Sequence[float], free: int, waiting: int, seconds: float
) -> float:  # fmt: skip
    """When `waiting` jobs of `seconds` each end on slots that share them perfectly.

    `busy` holds the seconds until each slot that is working now becomes free. Jobs cannot be cut,
    so nobody can be faster: each job goes to the slot that is free first.
    """
    slots = [*busy, *[0.0] * free]
    heapq.heapify(slots)
    for _ in range(waiting):
        heapq.heappush(slots, heapq.heappop(slots) + seconds)
    return max(slots)


def human(value: float) -> str:
    """A figure with three digits that mean something."""
    if value >= 1000:
        return f"{value:,.0f}"
    if value >= 100:
        return f"{value:.0f}"
    if value >= 10:
        return f"{value:.1f}"
    return f"{value:.2f}" if value >= 0.1 else f"{value:.3f}"

"""Who orders when, and how long each picture takes; seeded, so that a replay can be repeated."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass

HOUR = 3600.0
DAY = 24 * HOUR

FAST_SHARE, FAST_SECONDS, SLOW_SECONDS, SPREAD = 0.7, 10.0, 20.0, 0.3
"""Gemini's two kinds of models: their median, and the sigma of the logarithm around it."""


@dataclass(frozen=True, slots=True)
class Order:
    """A job: when it is ordered, and how long the provider takes for it."""

    at: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Scenario:
    """Orders over `length_seconds`; after it they are left to end."""

    name: str
    about: str
    length_seconds: float
    rate: Callable[[float], float]
    """Orders a second at a moment."""
    bursts: tuple[tuple[float, int], ...] = ()
    """So many orders within `BURST_SECONDS` from a moment on."""
    restless: float = 0.0
    """How much the rate wanders from minute to minute: the sigma of its logarithm."""

    def orders(self, seed: int) -> list[Order]:
        """All orders, by time."""
        dice = random.Random(f"{self.name}-{seed}")
        moments = [*self._poisson(dice)]
        for at, count in self.bursts:
            moments += [at + dice.uniform(0, BURST_SECONDS) for _ in range(count)]
        return [Order(at, _picture_seconds(dice)) for at in sorted(moments)]

    def _poisson(self, dice: random.Random) -> list[float]:
        moments = []
        wander = 0.0
        for minute in range(round(self.length_seconds / 60)):
            wander = 0.8 * wander + dice.gauss(0, self.restless * 0.6)  # 0.8² + 0.6² = 1
            for second in range(60):
                at = 60.0 * minute + second
                rate = self.rate(at) * math.exp(wander - self.restless**2 / 2)
                moments += [at + dice.random() for _ in range(_poisson(dice, rate))]
        return moments


BURST_SECONDS = 10.0


def _poisson(dice: random.Random, mean: float) -> int:
    count, left = 0, math.exp(-mean)
    product = dice.random()
    while product > left:
        count += 1
        product *= dice.random()
    return count


def _picture_seconds(dice: random.Random) -> float:
    median = FAST_SECONDS if dice.random() < FAST_SHARE else SLOW_SECONDS
    return median * math.exp(dice.gauss(0, SPREAD))


def _step(at: float) -> float:
    return 2.5 if 600 <= at < 2400 else 0.3


def _ramp(at: float) -> float:
    up, down = (at - 300) / 1800, (3300 - at) / 1200
    return 0.2 + 2.8 * max(0.0, min(1.0, up, down))


def _daily(at: float) -> float:
    """Least at four in the morning, most at nine in the evening."""
    wave = (1 - math.cos(2 * math.pi * (at / HOUR - 4) / 24)) / 2
    evening = math.exp(-(((at / HOUR - 21) / 2.5) ** 2))
    return 0.05 + 0.9 * wave + 1.2 * evening


SCENARIOS = (
    Scenario("step", "0.3 orders a second, 2.5 for half an hour, 0.3 again", HOUR, _step),
    Scenario("burst-40", "0.3 a second, and twice 40 orders within 10 s", HOUR,
             lambda _: 0.3, bursts=((900, 40), (2700, 40))),
    Scenario("burst-200", "0.3 a second, and twice 200 orders within 10 s: more than the ceiling",
             HOUR, lambda _: 0.3, bursts=((900, 200), (2700, 200))),
    Scenario("ramp", "from 0.2 a second to 3 in half an hour, and back in twenty minutes",
             HOUR, _ramp),
    Scenario("day", "a day: quiet night, busy evening, restless, and six posts in a channel", DAY,
             _daily, bursts=tuple((hour * HOUR, 60) for hour in (3, 8, 12, 15.5, 19, 22)),
             restless=0.35),
)  # fmt: skip

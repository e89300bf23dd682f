"""What is replayed, and what was tried."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from statistics import fmean

from rei_scaling.arrivals import DAY, SCENARIOS, Scenario
from rei_scaling.hpa import Behavior, ScalingPolicy
from rei_scaling.oracle import Interval, oracle
from rei_scaling.policy import AT_ONCE, Policy, World
from rei_scaling.replay import Moment, Replay

CHOSEN = Policy()
WAITED_MAX, COST_MAX = 1.3, 1.2
"""What is wanted of it, as multiples of the oracle's."""
SEEDS, SEEDS_OF_A_DAY = 5, 2
TAIL_SECONDS = 600.0
"""After the last order: pods that are kept for nothing count."""
STARTS_SECONDS = (10.0, 30.0, 90.0)

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Comparison:
    """A policy beside the oracle, means over the seeds; times in seconds."""

    scenario: str
    queued_p95: float
    queued_p95_oracle: float
    waited_p95: float
    waited_p95_oracle: float
    waited_ratio: float
    cost_ratio: float
    pod_hours: float
    taken_busy: float

    @property
    def holds(self) -> bool:
        return self.waited_ratio <= WAITED_MAX and self.cost_ratio <= COST_MAX


@dataclass(frozen=True, slots=True)
class Tried:
    """A policy, what is different about it, and what came of it."""

    name: str
    found: tuple[Comparison, ...]


@dataclass(frozen=True, slots=True)
class Started:
    """The same with pods that take so long to start."""

    start_seconds: float
    chosen: tuple[Comparison, ...]
    no_lag: tuple[Comparison, ...]


@dataclass(frozen=True, slots=True)
class Course:
    """One replay from moment to moment, for its picture."""

    scenario: str
    moments: tuple[Moment, ...]
    oracle_pods: tuple[int, ...]
    """At the same moments."""


@dataclass(frozen=True, slots=True)
class Study:
    """All of it."""

    chosen: tuple[Comparison, ...]
    no_lag: tuple[Comparison, ...]
    tried: tuple[Tried, ...]
    started: tuple[Started, ...]
    courses: tuple[Course, ...]


def without_lag(policy: Policy) -> Policy:
    """The same numbers, known at once and acted on at once: the best there is without foresight."""
    return replace(policy, count_seconds=0.5, scrape_seconds=0.5, sync_seconds=0.5)


def variants() -> Iterator[tuple[str, Policy]]:
    """What was tried: each differs from the chosen one in what its name says."""

    def window(seconds: float) -> Policy:
        behavior = Behavior(up=AT_ONCE, down_window_seconds=seconds)
        return replace(CHOSEN, behavior=behavior)

    yield "as chosen", CHOSEN
    for utilisation in (0.7, 0.8, 1.0):
        yield f"utilisation {utilisation:g}", replace(CHOSEN, utilisation=utilisation)
    for seconds in (0, 30, 60, 120, 300):
        yield f"down window {seconds} s", window(seconds)
    slow_up = Behavior(down_window_seconds=45)
    yield "Kubernetes' default scale-up", replace(CHOSEN, behavior=slow_up)
    one_by_one = (ScalingPolicy("Pods", 1, 30),)
    slow_down = Behavior(up=AT_ONCE, down_window_seconds=45, down=one_by_one)
    yield "down by one in 30 s", replace(CHOSEN, behavior=slow_down)
    for pods in (2, 3):
        yield f"floor of {pods} pods", replace(CHOSEN, pods_min=pods)
    for seconds in (20, 30):
        yield f"queue to be begun in {seconds} s", replace(CHOSEN, drain_seconds=seconds)
    yield "counted every 5 s", replace(CHOSEN, count_seconds=5)
    for seconds in (15, 30):
        yield f"scraped every {seconds} s", replace(CHOSEN, scrape_seconds=seconds)
    yield "busy pods not marked", replace(CHOSEN, marks_busy=False)
    yield "no lag at all", without_lag(CHOSEN)


def compare(scenario: Scenario, policy: Policy, world: World, *, seeds: int) -> Comparison:
    """A policy beside the oracle."""
    until = scenario.length_seconds + TAIL_SECONDS
    pairs = []
    for seed in range(seeds):
        orders = scenario.orders(seed)
        best, _ = oracle(orders, world, until=until)
        pairs.append((Replay(orders, policy, world, until=until, seed=seed).run(), best))
    return Comparison(
        scenario=scenario.name,
        queued_p95=fmean(ours.queued_p95 for ours, _ in pairs),
        queued_p95_oracle=fmean(best.queued_p95 for _, best in pairs),
        waited_p95=fmean(ours.waited_p95 for ours, _ in pairs),
        waited_p95_oracle=fmean(best.waited_p95 for _, best in pairs),
        waited_ratio=fmean(ours.waited_p95 / best.waited_p95 for ours, best in pairs),
        cost_ratio=fmean(ours.pod_seconds / best.pod_seconds for ours, best in pairs),
        pod_hours=fmean(ours.pod_seconds / 3600 for ours, _ in pairs),
        taken_busy=fmean(ours.taken_busy for ours, _ in pairs),
    )


def study(*, tell: Tell) -> Study:
    """Replay everything; `tell` hears how far it is."""
    world = World()
    tried = []
    for name, policy in variants():
        tell(name)
        tried.append(Tried(name, _all(policy, world)))
    started = []
    for seconds in STARTS_SECONDS:
        tell(f"pods that start in {seconds:g} s")
        slower = replace(world, start_seconds=seconds)
        chosen, no_lag = (_all(one, slower) for one in (CHOSEN, without_lag(CHOSEN)))
        started.append(Started(seconds, chosen, no_lag))
    found = {one.name: one.found for one in tried}
    return Study(
        chosen=found["as chosen"],
        no_lag=found["no lag at all"],
        tried=tuple(tried),
        started=tuple(started),
        courses=tuple(course(scenario, world) for scenario in SCENARIOS),
    )


def _all(policy: Policy, world: World) -> tuple[Comparison, ...]:
    return tuple(
        compare(one, policy, world, seeds=SEEDS_OF_A_DAY if one.length_seconds == DAY else SEEDS)
        for one in SCENARIOS
    )


def course(scenario: Scenario, world: World) -> Course:
    """One replay of the chosen policy, in some thousand moments at most."""
    until = scenario.length_seconds + TAIL_SECONDS
    orders = scenario.orders(0)
    _, pods = oracle(orders, world, until=until)
    replay = Replay(orders, CHOSEN, world, until=until)
    replay.run()
    moments = replay.moments[:: max(1, len(replay.moments) // 1000)]
    return Course(scenario.name, tuple(moments), tuple(_there(pods, one.at) for one in moments))


def _there(pods: Sequence[Interval], moment: float) -> int:
    return sum(begin <= moment < end for begin, end in pods)

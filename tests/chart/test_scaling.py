"""What scales the workers are the numbers that were chosen by the simulation, none of them written
twice without this noticing; and the operator finds the workers' pods."""

from __future__ import annotations

import pytest

from rei_core.settings import OperatorSettings, WorkerSettings
from rei_scaling.hpa import ScalingPolicy
from rei_scaling.policy import World
from rei_scaling.study import CHOSEN

from .conftest import Json, Render
from .objects import containers, environment, one

WORLD = World()


def policies(rules: Json) -> list[ScalingPolicy]:
    return [
        ScalingPolicy(rule["type"], rule["value"], rule["periodSeconds"])
        for rule in rules["policies"]
    ]


def autoscaler(objects: list[Json], mode: str, part: str) -> tuple[Json, Json]:
    """The spec of what scales a part, and the behavior in it."""
    if mode == "keda":
        spec = one(objects, "ScaledObject", f"rei-{part}")["spec"]
        return spec, spec["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]
    spec = one(objects, "HorizontalPodAutoscaler", f"rei-{part}")["spec"]
    return spec, spec["behavior"]


@pytest.mark.parametrize("mode", ["keda", "hpa"])
def test_the_chart_writes_what_was_chosen(render: Render, mode: str) -> None:
    objects = render("production", f"--set=autoscaling.mode={mode}")
    spec, behavior = autoscaler(objects, mode, "worker")
    if mode == "keda":
        (trigger,) = spec["triggers"]
        target = float(trigger["metadata"]["threshold"])
        most = spec["maxReplicaCount"]
    else:
        (metric,) = spec["metrics"]
        target = int(metric["external"]["target"]["averageValue"].removesuffix("m")) / 1000
        most = spec["maxReplicas"]
    assert target == pytest.approx(CHOSEN.target(WORLD))
    assert most == WORLD.pods_max
    up, down = behavior["scaleUp"], behavior["scaleDown"]
    assert up["stabilizationWindowSeconds"] == CHOSEN.behavior.up_window_seconds
    assert down["stabilizationWindowSeconds"] == CHOSEN.behavior.down_window_seconds
    assert policies(up) == list(CHOSEN.behavior.up)
    assert policies(down) == list(CHOSEN.behavior.down)


@pytest.mark.parametrize("mode", ["keda", "hpa"])
def test_how_long_a_lull_has_to_last_is_a_value(render: Render, mode: str) -> None:
    objects = render(
        "production",
        f"--set=autoscaling.mode={mode}",
        "--set=autoscaling.worker.scaleDownSeconds=120",
    )
    windows = {
        part: autoscaler(objects, mode, part)[1]["scaleDown"]["stabilizationWindowSeconds"]
        for part in ("worker", "bot")
    }
    assert windows == {"worker": 120, "bot": 300}


def test_the_world_of_the_simulation_is_that_of_the_defaults(render: Render) -> None:
    fields = WorkerSettings.model_fields
    assert fields["concurrency"].default == WORLD.slots
    assert fields["provider_concurrency_max"].default == WORLD.slots * WORLD.pods_max
    counts = OperatorSettings.model_fields
    assert counts["queue_metrics_seconds"].default == CHOSEN.count_seconds
    assert counts["deletion_cost_seconds"].default == CHOSEN.cost_seconds
    (monitor,) = (each for each in render("production") if each["kind"] == "PodMonitor")
    (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
    assert endpoint["interval"] == f"{CHOSEN.scrape_seconds:g}s"


def test_the_operator_finds_the_pods_of_this_releases_workers(render: Render) -> None:
    objects = render("production")
    (operator,) = containers(
        one(objects, "Deployment", "rei-operator")["spec"]["template"]["spec"]
        | {"initContainers": []}
    )
    selector = environment(operator)["REI_WORKER_PODS"]["value"]
    wanted = dict(pair.split("=") for pair in selector.split(","))
    for part in ("worker", "bot"):
        labels = one(objects, "Deployment", f"rei-{part}")["spec"]["template"]["metadata"]["labels"]
        assert (wanted.items() <= labels.items()) == (part == "worker")

"""What the chart renders to is what somebody has looked at, and hangs together."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic_settings import BaseSettings

from rei_core.maintenance.resources import manifest
from rei_core.settings import BotSettings, OperatorSettings, WorkerSettings, variable_of
from rei_sandbox.cluster.helm import CHART, Helm

from .conftest import ROOT, Render, tool
from .objects import environment, names, one

SETTINGS: dict[str, type[BaseSettings]] = {
    "bot": BotSettings,
    "worker": WorkerSettings,
    "operator": OperatorSettings,
}
# What each part gets of what is secret, and nothing else.
SECRETS = {
    "bot": {"REI_DATABASE_URL", "REI_REDIS_URL", "BOT_TOKEN", "YOOKASSA_SHOP_ID",
            "YOOKASSA_SECRET_KEY", "REI_WEBHOOK_SECRET"},
    "worker": {"REI_DATABASE_URL", "REI_REDIS_URL", "BOT_TOKEN", "GEMINI_API_KEY"},
    "operator": {"REI_DATABASE_URL", "YOOKASSA_SHOP_ID", "YOOKASSA_SECRET_KEY"},
}  # fmt: skip

# What stands in a Secret, where it has to be an address.
ADDRESSES = {"REI_DATABASE_URL": "postgresql://h/d", "REI_REDIS_URL": "redis://h/0"}


def container(objects: list[dict[str, Any]], part: str) -> dict[str, Any]:
    pod = one(objects, "Deployment", f"rei-{part}")["spec"]["template"]["spec"]
    (found,) = pod["containers"]
    assert isinstance(found, dict)
    return found


def test_nothing_has_changed_that_nobody_has_looked_at(helm: Helm) -> None:
    chart = tool()
    there = {path.name: path.read_text() for path in chart.GOLDEN.glob("*.yaml")}
    assert chart.files(helm) == there, "look at what `make renders` changes"


def test_helm_finds_nothing_to_say(helm: Helm, profile: str) -> None:
    helm("lint", str(CHART), "--strict", *tool().VALUES[profile])


@pytest.mark.parametrize("part", SETTINGS)
def test_a_part_gets_settings_that_it_knows_and_no_secret_of_others(
    render: Render, profile: str, part: str
) -> None:
    given = environment(container(render(profile), part))
    secret = {name for name, one_ in given.items() if "secretKeyRef" in one_.get("valueFrom", {})}
    wanted = SECRETS[part]
    if given.get("REI_MODE", {}).get("value") == "polling":
        wanted = wanted - {"REI_WEBHOOK_SECRET"}
    assert secret == wanted
    kind = SETTINGS[part]
    known = {variable_of(kind, name) for name in kind.model_fields}
    shared = {"REI_ACTIVE_JOBS_MAX"}  # one for all processes
    assert given.keys() - known - shared == set()


@pytest.mark.parametrize("part", SETTINGS)
def test_the_settings_make_sense_to_the_part(
    render: Render, profile: str, part: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, given in environment(container(render(profile), part)).items():
        monkeypatch.setenv(name, given.get("value", ADDRESSES.get(name, "x")))
    SETTINGS[part]()


def test_a_worker_may_finish_before_it_is_killed(render: Render) -> None:
    objects = render("minimal", "--set=worker.drainSeconds=500")
    pod = one(objects, "Deployment", "rei-worker")["spec"]["template"]["spec"]
    assert environment(pod["containers"][0])["REI_DRAIN_SECONDS"]["value"] == "500"
    assert pod["terminationGracePeriodSeconds"] >= 560


def test_what_is_scaled_is_not_said_to_have_a_number_of_pods(render: Render) -> None:
    scaled = render("production")
    assert names(scaled, "ScaledObject") == {"rei-bot", "rei-worker"}
    fixed = render("production", "--set=autoscaling.mode=fixed,worker.replicas=7")
    assert not names(fixed, "ScaledObject")
    hpa = render("production", "--set=autoscaling.mode=hpa")
    assert names(hpa, "HorizontalPodAutoscaler") == {"rei-bot", "rei-worker"}
    assert one(fixed, "Deployment", "rei-worker")["spec"]["replicas"] == 7
    for part in ("bot", "worker"):
        assert "replicas" not in one(scaled, "Deployment", f"rei-{part}")["spec"]
        assert "replicas" not in one(hpa, "Deployment", f"rei-{part}")["spec"]


def test_one_bot_polls_and_nothing_makes_it_two(render: Render) -> None:
    objects = render("production", "--set=bot.mode=polling")
    spec = one(objects, "Deployment", "rei-bot")["spec"]
    assert (spec["replicas"], spec["strategy"]) == (1, {"type": "Recreate"})
    assert names(objects, "ScaledObject") == {"rei-worker"}


def test_what_scales_asks_for_this_release_and_never_goes_down_for_lack_of_an_answer(
    render: Render,
) -> None:
    objects = render("production")
    for part in ("bot", "worker"):
        spec = one(objects, "ScaledObject", f"rei-{part}")["spec"]
        assert spec["minReplicaCount"] >= (2 if part == "bot" else 1)
        assert spec["fallback"]["behavior"] == "currentReplicasIfHigher"
        for trigger in spec["triggers"]:
            assert trigger["metadata"]["ignoreNullValues"] == "false"
            assert '{namespace="rei"}' in trigger["metadata"]["query"]
            assert "SELECTOR" not in trigger["metadata"]["query"]


def test_the_operator_may_do_what_its_role_without_a_chart_lets_it(render: Render) -> None:
    given = yaml.safe_load((ROOT / "k8s" / "operator" / "role.yaml").read_text())
    rendered = one(render("minimal"), "Role", "rei-operator")
    assert rendered["rules"] == given["rules"]


def test_the_kinds_are_those_of_k8s_and_stay_when_the_release_goes(render: Render) -> None:
    rendered = [each for each in render("minimal") if each["kind"] == "CustomResourceDefinition"]
    for each in rendered:
        assert each["metadata"].pop("annotations") == {"helm.sh/resource-policy": "keep"}
    folder = ROOT / "k8s" / "crds"
    files = [path for path in sorted(folder.glob("*.yaml")) if path.name != "kustomization.yaml"]
    assert rendered == [yaml.safe_load(path.read_text()) for path in files]
    without = render("minimal", "--set=crds.install=false")
    assert not names(without, "CustomResourceDefinition")


def test_only_who_is_named_may_scrape(render: Render) -> None:
    """An empty list of peers would be everybody."""
    for objects in (render("minimal"), render("production")):
        for policy in (each for each in objects if each["kind"] == "NetworkPolicy"):
            for rule in policy["spec"].get("ingress", ()):
                if rule["ports"] != [{"port": "webhooks"}]:
                    assert rule["from"], policy["metadata"]["name"]


def test_the_default_maintenance_is_what_the_kinds_take(render: Render, profile: str) -> None:
    data = one(render(profile), "ConfigMap", "rei-maintenance")["data"]
    kinds = [resource.kind for resource in manifest.load(data["maintenance.yaml"])]
    wanted = {"StuckJobPolicy", "PaymentReconciliation", "LedgerAudit"}
    if profile != "everything":
        wanted |= {"JobRetentionPolicy", "BackupSchedule"}
    assert set(kinds) == wanted
    assert len(kinds) == len(wanted)


def test_two_releases_share_no_name_of_the_namespace(helm: Helm) -> None:
    options = [*tool().VALUES["everything"], "--set=crds.install=false"]
    first = {(each["kind"], each["metadata"]["name"]) for each in helm.render(*options)}
    text = helm(
        "template", "shop", str(CHART), "--kube-version=1.37.2", *options,
        "--api-versions=gateway.networking.k8s.io/v1/HTTPRoute",
        "--api-versions=monitoring.coreos.com/v1/PodMonitor",
        "--api-versions=monitoring.coreos.com/v1/PrometheusRule",
        "--api-versions=monitoring.coreos.com/v1alpha1/AlertmanagerConfig",
    )  # fmt: skip
    second = {(each["kind"], each["metadata"]["name"]) for each in yaml.safe_load_all(text) if each}
    assert first & second == set()
    assert len(first) == len(second)


def test_every_value_has_its_place_in_the_schema_and_is_used() -> None:
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    schema = yaml.safe_load((CHART / "values.schema.json").read_text())
    assert values.keys() == schema["properties"].keys() - {"global"}
    templates = "".join(path.read_text() for path in Path(CHART, "templates").rglob("*.*"))
    for name in values:
        assert f"Values.{name}" in templates or f'"part" "{name}"' in templates or (
            f'"{name}"' in templates
        ), name  # fmt: skip

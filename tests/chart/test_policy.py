"""Every pod of the chart is as restricted as a pod can be, with each set of values."""

from __future__ import annotations

import pytest

from .conftest import Json, Render
from .objects import containers, environment, one, pods

SECRET = {
    "BOT_TOKEN", "GEMINI_API_KEY", "YOOKASSA_SECRET_KEY", "REI_WEBHOOK_SECRET", "REI_DATABASE_URL",
    "REI_REDIS_URL", "POSTGRES_PASSWORD",
}  # fmt: skip
TALK_TO_THE_API_SERVER = {
    "Deployment/rei-operator",
    "Job/rei-apply",
    "Job/rei-smoke-check",
    "Job/rei-upgrade-backup",
}


def test_each_pod_keeps_to_the_restricted_standard(render: Render, profile: str) -> None:
    for whose, pod in pods(render(profile)):
        security = pod["securityContext"]
        assert security["runAsNonRoot"] is True, whose
        assert security["runAsUser"] > 0, whose
        assert security["seccompProfile"] == {"type": "RuntimeDefault"}, whose
        for container in containers(pod):
            own = container["securityContext"]
            assert own["allowPrivilegeEscalation"] is False, whose
            assert own["readOnlyRootFilesystem"] is True, whose
            assert own["capabilities"] == {"drop": ["ALL"]}, whose
            assert own.get("runAsUser", 1) > 0, whose
        for volume in pod.get("volumes", ()):
            assert "hostPath" not in volume, whose
            assert "sizeLimit" in volume.get("emptyDir", {"sizeLimit": "none"}), whose


def test_each_container_has_its_share_of_a_node_and_no_more(render: Render, profile: str) -> None:
    for whose, pod in pods(render(profile)):
        for container in containers(pod):
            resources = container["resources"]
            assert resources["requests"].keys() >= {"cpu", "memory"}, whose
            assert "memory" in resources["limits"], whose


def test_no_secret_stands_in_a_pod(render: Render, profile: str) -> None:
    for whose, pod in pods(render(profile)):
        if whose == "Pod/rei-test-purchase":
            continue  # its credentials open nothing but its own stand-ins
        for container in containers(pod):
            for name, given in environment(container).items():
                if name in SECRET:
                    assert "value" not in given, (whose, name)
                    assert "secretKeyRef" in given["valueFrom"], (whose, name)


def test_who_needs_no_api_server_has_no_token(render: Render, profile: str) -> None:
    for whose, pod in pods(render(profile)):
        assert pod["automountServiceAccountToken"] is (whose in TALK_TO_THE_API_SERVER), whose
        assert pod["enableServiceLinks"] is False, whose


@pytest.mark.parametrize("part", ["bot", "worker", "operator"])
def test_a_part_is_asked_how_it_is_where_the_world_cannot_ask(render: Render, part: str) -> None:
    (pod,) = (pod for whose, pod in pods(render("minimal")) if whose == f"Deployment/rei-{part}")
    (container,) = pod["containers"]
    for probe in ("livenessProbe", "readinessProbe", "startupProbe"):
        assert container[probe]["httpGet"]["port"] == "status"


def test_a_dashboard_may_reach_an_internal_database_if_it_is_named(render: Render) -> None:
    def peers(*options: str) -> list[Json]:
        policy = one(render("minimal", *options), "NetworkPolicy", "rei-postgres")
        found: list[Json] = policy["spec"]["ingress"][0]["from"]
        return found

    grafana = {"podSelector": {"matchLabels": {"app": "grafana"}}}
    named = "--set=networkPolicies.databaseFrom[0].podSelector.matchLabels.app=grafana"
    assert [*peers(), grafana] == peers(named)

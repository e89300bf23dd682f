"""Values that make no sense are refused with words that help, before anything is touched."""

from __future__ import annotations

import pytest

from rei_sandbox.cluster.helm import CHART, Helm, HelmRefused

from .conftest import tool


@pytest.mark.parametrize(
    ("profile", "options", "said"),
    [
        ("minimal", ["credentials.existingSecret="], "kubectl -n rei create secret generic"),
        ("minimal", ["bot.mode=webhook"], "bot.publicUrl is missing"),
        ("minimal", ["bot.mode=pull"], "value must be one of 'webhook', 'polling'"),
        ("minimal", ["bot.publicUrl=http://bot.example.com"], "/bot/publicUrl"),
        ("minimal", ["bot.modus=polling"], "additional properties 'modus' not allowed"),
        ("minimal", ["worker.concurrency=0"], "minimum: got 0, want 1"),
        ("minimal", ["worker.resources.limits=null"], "missing property 'limits'"),
        ("minimal", ["settings.GEMINI_API_KEY=k"], "settings.GEMINI_API_KEY is a secret"),
        ("minimal", ["bot.settings.REI_DATABASE_URL=p"], "bot.settings.REI_DATABASE_URL is a secret"),
        ("minimal", ["settings.PATH=/bin"], "'PATH'"),
        ("minimal", ["backups.schedule=daily"], "/backups/schedule"),
        ("minimal", ["backups.storage.s4.bucket=b"], "s4"),
        ("minimal", ["database.mode=mysql"], "'internal', 'cloudnativepg', 'external'"),
        ("minimal", ["database.mode=external"], "database.external.url.existingSecret"),
        ("minimal", ["redis.mode=external"], "redis.external.url.existingSecret"),
        ("minimal", ["autoscaling.worker.min=9"], "min (9) is more than max (8)"),
        ("minimal", ["autoscaling.worker.scaleDownSeconds=3601"], "maximum: got 3,601, want 3,600"),
        ("minimal", ["autoscaling.mode=keda"], "autoscaling.prometheus.address is missing"),
        ("minimal", ["bot.ingress.enabled=true"], "bot.publicUrl is missing"),
        ("production", ["bot.httpRoute.enabled=true"], "bot.httpRoute.parentRefs is empty"),
    ],
)  # fmt: skip
def test_nonsense_is_refused(helm: Helm, profile: str, options: list[str], said: str) -> None:
    with pytest.raises(HelmRefused) as refused:
        helm.render(*tool().VALUES[profile], *(f"--set={option}" for option in options))
    assert said in refused.value.said


@pytest.mark.parametrize(
    "option",
    [
        "credentials.botToken.value=geheim-0815",
        "credentials.webhookSecret.value=geheim-0815?",
        "database.external.url.value=geheim-0815",
        "redis.external.url.value=geheim-0815",
    ],
)
def test_a_secret_that_is_refused_is_not_shown(helm: Helm, option: str) -> None:
    with pytest.raises(HelmRefused) as refused:
        helm.render(*tool().VALUES["minimal"], f"--set={option}")
    assert "value has to be" in refused.value.said
    assert "geheim" not in refused.value.said


@pytest.mark.parametrize("kind", ["KEDA", "CloudNativePG", "the Prometheus operator"])
def test_what_the_cluster_lacks_is_named(helm: Helm, kind: str) -> None:
    known = {
        "KEDA": (),
        "CloudNativePG": ("keda.sh/v1alpha1/ScaledObject",),
        "the Prometheus operator": (
            "keda.sh/v1alpha1/ScaledObject",
            "postgresql.cnpg.io/v1/Cluster",
        ),
    }[kind]
    with pytest.raises(HelmRefused) as refused:
        helm(
            "template", "rei", str(CHART), *tool().VALUES["production"], "--kube-version=1.37.2",
            *(f"--api-versions={each}" for each in known),
        )  # fmt: skip
    assert f"{kind} is not installed in this cluster" in refused.value.said

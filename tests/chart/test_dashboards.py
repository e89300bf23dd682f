"""Grafana gets the dashboards as they are in the chart's files, and runbook links to where the pages are."""

from __future__ import annotations

import json

from rei_sandbox.cluster.helm import CHART
from rei_sandbox.dashboards import DASHBOARDS
from rei_sandbox.dashboards.grafana import RUNBOOK

from .conftest import Json, Render
from .objects import one


def shipped(objects: list[Json], name: str) -> str:
    (text,) = one(objects, "ConfigMap", f"rei-dashboard-{name}")["data"].values()
    assert isinstance(text, str)
    return text


def test_each_dashboard_is_a_config_map_that_the_sidecar_takes(render: Render) -> None:
    objects = render("production")
    for dashboard in DASHBOARDS:
        made = one(objects, "ConfigMap", f"rei-dashboard-{dashboard.name}")
        assert made["metadata"]["labels"]["grafana_dashboard"] == "1"
        assert list(made["data"]) == [f"{dashboard.name}.json"]
        text = (CHART / "files" / "dashboards" / f"{dashboard.name}.json").read_text()
        assert json.loads(shipped(objects, dashboard.name)) == json.loads(text)


def test_links_lead_to_the_runbook_that_the_values_name(render: Render) -> None:
    objects = render("everything")
    text = shipped(objects, "service")
    assert RUNBOOK not in text
    assert "https://runbook.example.com/rei/ReiBotDown.md" in text
    made = one(objects, "ConfigMap", "rei-dashboard-service")
    assert made["metadata"]["annotations"] == {"grafana_folder": "Rei"}


def test_nobody_gets_dashboards_who_has_not_asked(render: Render) -> None:
    names = [made["metadata"]["name"] for made in render("minimal") if made["kind"] == "ConfigMap"]
    assert not [name for name in names if "dashboard" in name]

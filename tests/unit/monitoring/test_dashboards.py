"""Every panel can be understood, asks about what there is, and lies where it can be seen."""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path
from typing import Any

import pytest

from rei_sandbox.dashboards import DASHBOARDS, address_of_alert, panel_of_alert
from rei_sandbox.dashboards.grafana import RUNBOOK, text_of
from rei_sandbox.dashboards.model import Dashboard, Metric, Panel, Sql

from .documented import series_names

Json = dict[str, Any]
ROOT = Path(__file__).parents[3]
MADE_BY_PROMETHEUS_CLIENT = {"process_resident_memory_bytes", "process_cpu_seconds_total"}
PANELS = [(page, panel) for page in DASHBOARDS for panel in page.panels]
NAMES = [f"{page.name}-{panel.id}" for page, panel in PANELS]
each_panel = pytest.mark.parametrize(("page", "panel"), PANELS, ids=NAMES)
each_page = pytest.mark.parametrize("page", DASHBOARDS, ids=[page.name for page in DASHBOARDS])


@each_page
def test_the_file_is_what_the_source_says(page: Dashboard) -> None:
    path = ROOT / "helm" / "rei" / "files" / "dashboards" / f"{page.name}.json"
    assert path.read_text(encoding="utf-8") == text_of(page), "run `make dashboards`"


@each_panel
def test_a_panel_says_what_it_shows_in_which_unit(page: Dashboard, panel: Panel) -> None:
    assert panel.title
    assert panel.description.endswith((".", "?"))
    assert panel.unit
    assert page.title.startswith("Rei / ")


@each_panel
def test_a_panel_asks_for_metrics_that_there_are_by_the_namespace_that_is_chosen(
    page: Dashboard, panel: Panel
) -> None:
    del page
    known = series_names() | MADE_BY_PROMETHEUS_CLIENT
    for ask in panel.ask:
        if isinstance(ask, Metric):
            selected = re.findall(r"\b((?:rei|process)_\w+)\{([^}]*)\}", ask.expr)
            assert {name for name, _ in selected} <= known
            assert all('namespace=~"$namespace"' in labels for _, labels in selected)
            assert set(re.findall(r"\b(?:rei|process)_\w+", ask.expr)) == {
                name for name, _ in selected
            }


@each_panel
def test_a_panel_asks_postgresql_for_what_a_dashboard_may_see(
    page: Dashboard, panel: Panel
) -> None:
    del page
    for ask in panel.ask:
        if isinstance(ask, Sql):
            views = re.findall(r"(?:FROM|JOIN)\s+(\w+\.?\w*)", re.sub(r"epoch FROM", "", ask.text))
            assert views
            assert all(view.startswith("reporting.") for view in views)


@each_page
def test_no_panel_lies_on_another_and_each_is_inside_the_page(page: Dashboard) -> None:
    taken: set[tuple[int, int]] = set()
    for panel in json.loads(text_of(page))["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        assert max(x for x, _ in cells) < 24
        taken |= cells


@each_page
def test_alerts_that_fire_are_drawn_over_the_curves(page: Dashboard) -> None:
    [drawn] = json.loads(text_of(page))["annotations"]["list"]
    assert drawn["enable"]
    assert drawn["expr"] == 'ALERTS{alertname=~"Rei.+",alertstate="firing",namespace=~"$namespace"}'
    assert drawn["datasource"] == {"type": "prometheus", "uid": "${datasource}"}


@each_page
def test_ids_are_one_panels_each(page: Dashboard) -> None:
    ids = [panel["id"] for panel in json.loads(text_of(page))["panels"]]
    assert len(set(ids)) == len(ids)


def test_each_alert_of_the_rules_has_a_panel_and_each_panels_alert_a_rule() -> None:
    rules = (ROOT / "helm" / "rei" / "files" / "monitoring" / "rules.yaml").read_text()
    assert set(re.findall(r"- alert: (\w+)", rules)) == panel_of_alert().keys()


def test_an_alert_has_one_panel_that_links_to_its_page() -> None:
    for alert, (page, panel) in panel_of_alert().items():
        drawn = [one for one in json.loads(text_of(page))["panels"] if one["id"] == panel.id]
        assert [link["url"] == f"{RUNBOOK}/{alert}.md" for link in drawn[0]["links"]].count(
            True
        ) == 1
    assert address_of_alert("ReiQueueTooLong") == "/d/rei-service?viewPanel=20"


def test_a_changed_file_is_seen_and_written_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from click.testing import CliRunner

    spec = importlib.util.spec_from_file_location(
        "tools_dashboards", ROOT / "tools" / "dashboards.py"
    )
    assert spec is not None
    assert spec.loader is not None
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    monkeypatch.setattr(tool, "FOLDER", tmp_path / "dashboards")
    run = CliRunner().invoke
    assert run(tool.main, []).exit_code == 0
    assert run(tool.main, ["--check"]).exit_code == 0
    (tmp_path / "dashboards" / "service.json").write_text("{}")
    (tmp_path / "dashboards" / "old.json").write_text("{}")
    stale = run(tool.main, ["--check"])
    assert (stale.exit_code, "old.json, service.json" in stale.output) == (1, True)
    assert run(tool.main, []).exit_code == 0
    assert not (tmp_path / "dashboards" / "old.json").exists()
    assert run(tool.main, ["--check"]).exit_code == 0

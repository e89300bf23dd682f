"""Our dashboards as Grafana's JSON, by Grafana's own library (docs/adr/0017): what it has no name for
cannot be written."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Final

from grafana_foundation_sdk.builders import common, dashboard, prometheus, stat, table, timeseries
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.variants import Dataquery
from grafana_foundation_sdk.models import common as looks
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models import prometheus as prometheus_models

from rei_sandbox.dashboards.model import NAMESPACE, Dashboard, Metric, Panel, Sql

RUNBOOK: Final = "https://runbook.example.com/en"
"""The chart puts the value `monitoring.runbookUrl` in its place."""
PROMETHEUS: Final = models.DataSourceRef(type_val="prometheus", uid="${datasource}")
POSTGRES: Final = models.DataSourceRef(type_val="postgres", uid="${postgres}")
FIRING: Final = f'ALERTS{{alertname=~"Rei.+",alertstate="firing",{NAMESPACE}}}'
"""Our alerts that fire, drawn over every curve."""
LETTERS: Final = "ABCDEFGH"
TIMES_OF_DAY: Final = "browser"
Visual = timeseries.Panel | stat.Panel | table.Panel


class SqlQuery(Dataquery, Builder["SqlQuery"]):
    """A query of Grafana's PostgreSQL source, which the library has no type for."""

    def __init__(self, sql: str, *, over_time: bool, ref_id: str) -> None:
        self._sql = sql
        self._format = "time_series" if over_time else "table"
        self._ref_id = ref_id

    def build(self) -> SqlQuery:
        return self

    def to_json(self) -> dict[str, object]:
        return {
            "datasource": POSTGRES,
            "editorMode": "code",
            "format": self._format,
            "rawQuery": True,
            "rawSql": self._sql,
            "refId": self._ref_id,
        }


def text_of(page: Dashboard) -> str:
    """The file that Grafana reads."""
    return json.dumps(_page(page), cls=JSONEncoder, indent=2, ensure_ascii=False) + "\n"


def _page(page: Dashboard) -> models.Dashboard:
    built = (
        dashboard.Dashboard(page.title)
        .uid(page.uid)
        .description(page.description)
        .tags(["rei"])
        .timezone(TIMES_OF_DAY)
        .time(page.span, "now")
        .refresh(page.refresh)
        .tooltip(models.DashboardCursorSync.CROSSHAIR)
        .link(
            dashboard.DashboardLink("Rei")
            .type(models.DashboardLinkType.DASHBOARDS)
            .tags(["rei"])
            .include_vars(True)
            .keep_time(True)
        )
        .annotation(
            dashboard.AnnotationQuery()
            .name("Alerts")
            .datasource(PROMETHEUS)
            .enable(True)
            .hide(False)
            .icon_color("red")
            .expr(FIRING)
        )
        .readonly()
    )
    for variable in _variables(page):
        built.with_variable(variable)
    for number, (title, y, placed) in enumerate(_laid_out(page)):
        # Panels have ids of their own; a row's is one that no panel has.
        row = dashboard.Row(title).id(1000 + number)
        built.with_row(row.grid_pos(models.GridPos(x=0, y=y, w=24, h=1)))
        for panel, position in placed:
            built.with_panel(_visual(panel).grid_pos(position))
    return built.build()


def _variables(page: Dashboard) -> Iterator[Builder[models.VariableModel]]:
    yield dashboard.DatasourceVariable("datasource").label("Prometheus").type("prometheus")
    if any(isinstance(ask, Sql) for panel in page.panels for ask in panel.ask):
        yield dashboard.DatasourceVariable("postgres").label("PostgreSQL").type("postgres")
    yield (
        dashboard.QueryVariable("namespace")
        .label("Namespace")
        .datasource(PROMETHEUS)
        .query("label_values(rei_build_info, namespace)")
        .refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .multi(True)
        .include_all(True)
        .all_value(".*")
        .current(models.VariableOption(selected=True, text=["All"], value=["$__all"]))
    )


def _laid_out(
    page: Dashboard,
) -> Iterator[tuple[str, int, list[tuple[Panel, models.GridPos]]]]:
    """Each row's headline, where it is, and its panels from left to right, line by line."""
    y = 0
    for row in page.rows:
        headline, x, height = y, 0, 0
        y += 1
        placed = []
        for panel in row.panels:
            if x + panel.width > 24:
                x, y, height = 0, y + height, 0
            position = models.GridPos(x=x, y=y, w=panel.width, h=panel.height)
            placed.append((panel, position))
            x, height = x + panel.width, max(height, panel.height)
        y += height
        yield row.title, headline, placed


def _visual(panel: Panel) -> Visual:
    built = {"lines": _lines, "number": _number, "table": _table}[panel.form](panel)
    built.id(panel.id).title(panel.title).description(panel.description).unit(panel.unit)
    built.datasource(POSTGRES if isinstance(panel.ask[0], Sql) else PROMETHEUS)
    for letter, ask in zip(LETTERS, panel.ask, strict=False):
        built.with_target(_query(panel, ask, letter))
    built.thresholds(
        dashboard.ThresholdsConfig()
        .mode(models.ThresholdsMode.ABSOLUTE)
        .steps(
            [
                models.Threshold(value=None, color=panel.below),
                *(models.Threshold(value=value, color=colour) for value, colour in panel.limits),
            ]
        )
    )
    if panel.words:
        shown = {str(number): models.ValueMappingResult(text=word) for number, word in panel.words}
        built.mappings([models.ValueMap(options=shown)])
    built.links([
        dashboard.DashboardLink(f"Runbook: {alert}")
        .type(models.DashboardLinkType.LINK)
        .url(f"{RUNBOOK}/{alert}.md")
        .target_blank(True)
        for alert in panel.alerts
    ])  # fmt: skip
    return built


def _lines(panel: Panel) -> Visual:
    built = (
        timeseries.Panel()
        .line_width(1)
        .fill_opacity(60 if panel.bars else 10)
        .draw_style(looks.GraphDrawStyle.BARS if panel.bars else looks.GraphDrawStyle.LINE)
        .show_points(looks.VisibilityMode.NEVER)
        .min(0)
        .legend(
            common.VizLegendOptions()
            .display_mode(looks.LegendDisplayMode.LIST)
            .placement(looks.LegendPlacement.BOTTOM)
            .show_legend(True)
        )
        .tooltip(common.VizTooltipOptions().mode(looks.TooltipDisplayMode.MULTI))
    )
    if panel.top is not None:
        built.max(panel.top)
    if panel.bars:
        built.stacking(common.StackingConfig().mode(looks.StackingMode.NORMAL))
    if panel.limits:
        shown = looks.GraphTresholdsStyleMode.LINE
        built.thresholds_style(common.GraphThresholdsStyleConfig().mode(shown))
    return built


def _number(panel: Panel) -> Visual:
    # A table's one row has a field for each number; Prometheus's answer a series for each.
    reduce = common.ReduceDataOptions().calcs(["lastNotNull"])
    return (
        stat.Panel()
        .reduce_options(reduce.values(isinstance(panel.ask[0], Sql)))
        .color_mode(looks.BigValueColorMode.VALUE)
        .graph_mode(looks.BigValueGraphMode.NONE)
        .text_mode(looks.BigValueTextMode.AUTO)
    )


def _table(panel: Panel) -> Visual:
    built = table.Panel().show_header(True)
    if isinstance(panel.ask[0], Metric):
        # One line for each resource, with what every query says about it.
        built.with_transformation(models.DataTransformerConfig(id_val="merge", options={}))
        shown = {"excludeByName": {"Time": True}, "renameByName": dict(_columns(panel))}
        built.with_transformation(models.DataTransformerConfig(id_val="organize", options=shown))
    for column, unit in panel.units:
        built.override_by_name(column, [models.DynamicConfigValue(id_val="unit", value=unit)])
    return built


def _columns(panel: Panel) -> Iterator[tuple[str, str]]:
    for letter, ask in zip(LETTERS, panel.ask, strict=False):
        assert isinstance(ask, Metric)
        yield f"Value #{letter}", ask.legend


def _query(panel: Panel, ask: Metric | Sql, letter: str) -> Builder[Dataquery]:
    if isinstance(ask, Sql):
        return SqlQuery(ask.text, over_time=panel.form == "lines", ref_id=letter)
    query = (
        prometheus.Dataquery()
        .expr(ask.expr)
        .legend_format(ask.legend)
        .ref_id(letter)
        .datasource(PROMETHEUS)
    )
    if panel.form == "lines":
        return query.range()
    form = prometheus_models.PromQueryFormat.TABLE if panel.form == "table" else None
    return query.instant() if form is None else query.instant().format(form)

"""A dashboard as an SVG, drawn from its JSON and the answers to its queries: no Grafana needs to run.

It shows what Grafana shows (places, titles, units, limits, legends, words for numbers), and not how
Grafana looks in every detail.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from html import escape
from typing import Any, Final

from rei_sandbox.dashboards import plot, svg
from rei_sandbox.dashboards.answers import Answer, Series, Table, has_data
from rei_sandbox.dashboards.numbers import shown

Json = dict[str, Any]

COLUMN: Final = 58
LINE: Final = 32
GAP: Final = 8
HEAD: Final = 56
PAGE: Final = 24 * COLUMN
TABLE_LINE: Final = 26


def picture(page: Json, answers: Mapping[int, Sequence[Answer]]) -> str:
    """The whole page; `answers` by panel id."""
    height = HEAD + GAP + LINE * max(
        panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in page["panels"]
    )  # fmt: skip
    opening = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {PAGE} {height}" '
        'font-family="Inter, Helvetica, Arial, sans-serif">'
    )
    parts = [
        opening,
        svg.box(0, 0, PAGE, height, colour=svg.BACK),
        svg.text(GAP * 2, 34, page["title"], size=20),
    ]
    for panel in page["panels"]:
        parts += _panel(panel, answers.get(panel["id"], ()))
    return "\n".join([*parts, "</svg>"]) + "\n"


def _panel(panel: Json, answers: Sequence[Answer]) -> Iterator[str]:
    place = panel["gridPos"]
    x, y = place["x"] * COLUMN, HEAD + place["y"] * LINE
    if panel["type"] == "row":
        yield svg.text(x + GAP, y + 22, panel["title"], size=15)
        return
    width, height = place["w"] * COLUMN - GAP, place["h"] * LINE - GAP
    yield f'<g transform="translate({x + GAP / 2:g} {y})">'
    yield f"<title>{escape(panel['description'])}</title>"
    yield (f'<rect width="{width}" height="{height}" rx="3" fill="{svg.CARD}" '
           f'stroke="{svg.EDGE}"/>')  # fmt: skip
    yield svg.text(12, 22, panel["title"], size=13)
    yield from _inside(panel, answers, width, height)
    yield "</g>"


def _inside(panel: Json, answers: Sequence[Answer], width: float, height: float) -> Iterator[str]:
    if not any(has_data(answer) for answer in answers):
        return iter([svg.text(width / 2, height / 2, "No data", colour=svg.FAINT, anchor="middle")])
    tables = [answer for answer in answers if isinstance(answer, Table)]
    series = [one for answer in answers if not isinstance(answer, Table) for one in answer]
    match panel["type"]:
        case "stat":
            return _numbers(panel, _values(series, tables), width, height)
        case "table":
            return _table(panel, _merged(tables), width, height)
        case _:
            return plot.drawn(panel, series, width, height)


def _values(series: Sequence[Series], tables: Sequence[Table]) -> list[tuple[str, float]]:
    found = [(one.legend, one.points[-1][1]) for one in series]
    for table in tables:
        found += [
            (name, float(value)) for row in table.rows
            for name, value in zip(table.columns, row, strict=True)
        ]  # fmt: skip
    return found


def _numbers(
    panel: Json, values: Sequence[tuple[str, float]], width: float, height: float
) -> Iterator[str]:
    each = width / max(1, len(values))
    for number, (name, value) in enumerate(values):
        middle = each * (number + 0.5)
        words = _worded(panel, value)
        size = min(30.0, 1.6 * each / max(4, len(words)))
        colour = _coloured(panel, value)
        yield svg.text(middle, height / 2 + 16, words, size=size, colour=colour, anchor="middle")
        if len(values) > 1:
            yield svg.text(middle, height / 2 + 38, name, colour=svg.FAINT, anchor="middle")


def _worded(panel: Json, value: float) -> str:
    defaults = panel["fieldConfig"]["defaults"]
    for mapping in defaults.get("mappings", ()):
        if word := mapping["options"].get(f"{value:g}"):
            return str(word["text"])
    return shown(value, defaults["unit"])


def _coloured(panel: Json, value: float) -> str:
    steps = panel["fieldConfig"]["defaults"]["thresholds"]["steps"]
    reached = [step for step in steps if step["value"] is None or value >= step["value"]]
    return svg.NAMED[reached[-1]["color"]]


def _merged(tables: Sequence[Table]) -> Table:
    """Several answers about the same things as one: Grafana's transformation `merge`."""
    if len(tables) == 1:
        return tables[0]
    rows: dict[tuple[Any, ...], list[Any]] = {}
    for number, table in enumerate(tables):
        for row in table.rows:
            rows.setdefault(row[:-1], [None] * len(tables))[number] = row[-1]
    return Table(
        (*tables[0].columns[:-1], *(table.columns[-1] for table in tables)),
        tuple((*key, *values) for key, values in sorted(rows.items())),
    )


def _table(panel: Json, table: Table, width: float, height: float) -> Iterator[str]:
    lines = int((height - 58) // TABLE_LINE)
    each = (width - 24) / len(table.columns)
    for number, name in enumerate(table.columns):
        x = 12 + each * number
        unit = _unit_of(panel, name)
        yield svg.text(x, 48, name, colour=svg.HEADER)
        for line, row in enumerate(table.rows[:lines], start=1):
            yield svg.text(x, 48 + TABLE_LINE * line, _cut(_cell(row[number], unit), each))
    yield svg.line(12, 56, width - 12, 56, colour=svg.EDGE)


def _unit_of(panel: Json, column: str) -> str:
    for override in panel["fieldConfig"]["overrides"]:
        if override["matcher"]["options"] == column:
            return str(override["properties"][0]["value"])
    return str(panel["fieldConfig"]["defaults"]["unit"])


def _cell(value: object, unit: str) -> str:
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%d %H:%M:%S")
    if isinstance(value, int | float | Decimal):
        return shown(float(value), unit)
    return "" if value is None else str(value)


def _cut(words: str, width: float) -> str:
    letters = int(width / plot.LETTER)
    return words if len(words) <= letters else f"{words[: max(1, letters - 1)]}…"

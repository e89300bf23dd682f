"""A picture is drawn from answers, with what Grafana would show."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime
from decimal import Decimal
from xml.etree import ElementTree

import pytest

from rei_sandbox.dashboards.answers import Answer, Series, Table, has_data
from rei_sandbox.dashboards.business import BUSINESS
from rei_sandbox.dashboards.grafana import text_of
from rei_sandbox.dashboards.maintenance import MAINTENANCE
from rei_sandbox.dashboards.model import Dashboard
from rei_sandbox.dashboards.numbers import shown
from rei_sandbox.dashboards.pictures import picture
from rei_sandbox.dashboards.service import SERVICE

SVG = "{http://www.w3.org/2000/svg}"


def drawn(page: Dashboard, answers: dict[int, list[Answer]]) -> ElementTree.Element:
    return ElementTree.fromstring(picture(json.loads(text_of(page)), answers))


def texts(root: ElementTree.Element) -> list[str]:
    return [one.text or "" for one in root.iter(f"{SVG}text")]


@pytest.mark.parametrize(
    ("value", "unit", "words"),
    [
        (1234.5, "currencyRUB", "₽1\u202f234.50"), (500, "currencyRUB", "₽500"),
        (0.995, "percentunit", "99.5%"), (0.0123, "s", "12.3 ms"), (75, "s", "1.25 min"),
        (90_000, "s", "1.04 days"), (3.5, "s", "3.5 s"), (2048, "bytes", "2 KiB"),
        (1500, "short", "1.5 K"), (7, "none", "7"), (3, "reqpm", "3 req/m"), (0, "bool_yes_no", "No"),
    ],
)  # fmt: skip
def test_a_number_is_written_in_its_unit(value: float, unit: str, words: str) -> None:
    assert shown(value, unit) == words


def test_a_number_has_the_word_and_the_colour_of_its_limit() -> None:
    up, down = Series("bot", ((1.0, 1.0),)), Series("worker", ((1.0, 0.0),))
    root = drawn(SERVICE, {2: [[up], [down]]})
    colours = {one.text: one.get("fill") for one in root.iter(f"{SVG}text")}
    assert (colours["up"], colours["down"]) == ("#73bf69", "#f2495c")
    assert {"bot", "worker"} <= colours.keys()


def test_a_table_shows_its_columns_each_in_its_unit() -> None:
    at = datetime(2026, 11, 28, 12, 0, tzinfo=UTC)
    table = Table(("customer", "spent", "orders", "last"), (("c-0a", Decimal("30.00"), 2, at),))
    shown_texts = texts(drawn(BUSINESS, {30: [table]}))
    assert {"customer", "c-0a", "₽30", "2", "2026-11-28 12:00:00"} <= set(shown_texts)


def test_answers_about_the_same_resources_are_one_table() -> None:
    who = ("kind", "name")
    root = drawn(MAINTENANCE, {1: [
        Table((*who, "healthy"), (("Backup", "a", 1.0), ("LedgerAudit", "b", 0.0))),
        Table((*who, "since success"), (("LedgerAudit", "b", 60.0),)),
        Table((*who, "interval"), (("LedgerAudit", "b", 3600.0),)),
    ]})  # fmt: skip
    found = texts(root)
    start = found.index("healthy")
    assert found[start : start + 3] == ["healthy", "Yes", "No"]
    assert {"1 min", "1 hours"} <= set(found)


def test_a_curve_has_a_hole_where_there_is_no_number_and_a_line_where_its_limit_is() -> None:
    points = ((0.0, 20.0), (60.0, 120.0), (120.0, math.nan), (180.0, 50.0), (240.0, 60.0))
    root = drawn(SERVICE, {20: [[Series("queued", points)]]})
    curves = [one.get("points", "").split() for one in root.iter(f"{SVG}polyline")]
    assert [len(curve) for curve in curves] == [2, 2]
    assert [one for one in root.iter(f"{SVG}line") if one.get("stroke-dasharray")]
    assert "queued" in texts(root)


def test_bars_stand_on_each_other() -> None:
    points = ((0.0, 1.0), (600.0, 1.0))
    root = drawn(MAINTENANCE, {3: [[Series("a", points), Series("b", points)]]})
    heights = [
        float(one.get("height", "0")) for one in root.iter(f"{SVG}rect")
        if one.get("fill") in {"#73bf69", "#f2cc0c"} and float(one.get("height", "0")) > 3
    ]  # fmt: skip
    assert max(heights) == pytest.approx(2 * min(heights), abs=0.2)


def test_a_panel_without_an_answer_says_so() -> None:
    assert texts(drawn(SERVICE, {})).count("No data") > 10


@pytest.mark.parametrize(
    ("answer", "data"),
    [
        ([], False), ([Series("a", ((1.0, math.nan),))], False), ([Series("a", ((1.0, 0.0),))], True),
        (Table(("n",), ()), False), (Table(("n",), ((None,),)), False), (Table(("n",), ((0,),)), True),
    ],
)  # fmt: skip
def test_nothing_and_what_is_not_a_number_is_no_data(answer: Answer, data: bool) -> None:
    assert has_data(answer) is data

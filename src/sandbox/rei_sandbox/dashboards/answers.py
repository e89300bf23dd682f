"""Asks what Grafana would ask: each query of a panel's JSON, its variables filled in, of a real
Prometheus and a real PostgreSQL."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import asyncpg
import httpx

from rei_core.errors import ReiError

Json = dict[str, Any]

RATE_INTERVAL: Final = "30s"
STEPS_MAX: Final = 240
ASK_SECONDS_MAX: Final = 30.0
LABEL: Final = re.compile(r"\{\{\s*(\w+)\s*\}\}")
TIME_FILTER: Final = re.compile(r"\$__timeFilter\(([\w.]+)\)")


class PanelBroken(ReiError):
    """A query of a panel was refused, or names a label that its answer does not have."""


@dataclass(frozen=True, slots=True)
class Series:
    """A curve, or a number if there is one point. Seconds since 1970, value."""

    legend: str
    points: tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class Table:
    """Rows."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]


Answer = list[Series] | Table


@dataclass(frozen=True, slots=True)
class Sources:
    """Where the answers come from, and of which span."""

    prometheus: httpx.AsyncClient
    postgres: asyncpg.Connection
    begin: datetime
    end: datetime
    namespace: str

    async def of_panel(self, panel: Json) -> list[Answer]:
        """One answer for each query of a panel; raises `PanelBroken`."""
        return [await self._of_query(panel["title"], target) for target in panel["targets"]]

    async def takes(self, expr: str) -> None:
        """Whether Prometheus understands it, whatever it gives; raises `PanelBroken`."""
        await self._asked("query", query=expr.replace("$namespace", self.namespace))

    async def _of_query(self, title: str, target: Json) -> Answer:
        try:
            if "rawSql" in target:
                return await self._sql(target["rawSql"])
            return await self._metric(target)
        except (asyncpg.PostgresError, httpx.HTTPError, PanelBroken) as error:
            raise PanelBroken(f"{title}: {error}") from error

    async def _sql(self, text: str) -> Table:
        span = f"BETWEEN '{self.begin.isoformat()}' AND '{self.end.isoformat()}'"
        statement = await self.postgres.prepare(TIME_FILTER.sub(rf"\1 {span}", text))
        rows = await statement.fetch()
        columns = tuple(attribute.name for attribute in statement.get_attributes())
        return Table(columns, tuple(tuple(row) for row in rows))

    async def _metric(self, target: Json) -> Answer:
        expr = target["expr"].replace("$__rate_interval", RATE_INTERVAL)
        expr = expr.replace("$namespace", self.namespace)
        if target["range"]:
            seconds = (self.end - self.begin).total_seconds()
            found = await self._asked(
                "query_range", query=expr, start=self.begin.timestamp(),
                end=self.end.timestamp(), step=max(1, math.ceil(seconds / STEPS_MAX)),
            )  # fmt: skip
        else:
            found = await self._asked("query", query=expr, time=self.end.timestamp())
        if target.get("format") == "table":
            return _rows(found, target["legendFormat"])
        named = set(LABEL.findall(target["legendFormat"]))
        if named and found and not any(named & one["metric"].keys() for one in found):
            raise PanelBroken(f"{expr}: no series has {', '.join(sorted(named))}")
        return [
            Series(
                _legend(target["legendFormat"], one["metric"]),
                tuple(
                    (float(at), float(value)) for at, value in one.get("values", [one.get("value")])
                ),
            )
            for one in found
        ]

    async def _asked(self, word: str, **query: str | float) -> list[Json]:
        response = await self.prometheus.get(f"/api/v1/{word}", params=query)
        answer = response.json()
        if answer["status"] != "success":
            raise PanelBroken(f"{query['query']}: {answer['error']}")
        found: list[Json] = answer["data"]["result"]
        return found


def _legend(form: str, labels: Mapping[str, str]) -> str:
    """The name of a series, as Grafana makes it; a label that is not there is nothing."""
    return LABEL.sub(lambda match: labels.get(match[1], ""), form).strip()


def _rows(found: list[Json], value: str) -> Table:
    names = sorted({name for one in found for name in one["metric"]})
    return Table(
        (*names, value),
        tuple(
            (*(one["metric"].get(name, "") for name in names), float(one["value"][1]))
            for one in found
        ),
    )


def has_data(answer: Answer) -> bool:
    """Is there anything to draw? Not a number is nothing."""
    if isinstance(answer, Table):
        return any(value is not None for row in answer.rows for value in row)
    return any(math.isfinite(value) for one in answer for _, value in one.points)

"""Every query of every panel of every dashboard gives data, asked of a real Prometheus that scrapes a
real bot, worker and operator at work, and of their PostgreSQL as Grafana's role.

REI_DASHBOARD_PICTURES=docs/images draws what it gave (`make dashboard-pictures`).
"""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest
from sqlalchemy.engine import make_url

from rei_sandbox.cluster.helm import CHART
from rei_sandbox.cluster.kubeconfig import Cluster
from rei_sandbox.dashboards import DASHBOARDS
from rei_sandbox.dashboards.answers import Answer, PanelBroken, Sources, has_data
from rei_sandbox.dashboards.pictures import picture
from rei_sandbox.prometheus import Prometheus
from rei_sandbox.services import free_port

from ..operator.stage import Stage, open_stage
from .shop import Shop, open_shop

Json = dict[str, Any]
Scraping = Callable[..., Awaitable[Prometheus]]

pytestmark = pytest.mark.usefixtures("crds")

PICTURES = os.environ.get("REI_DASHBOARD_PICTURES", "")
ROUNDS = 12 if PICTURES else 2


@pytest.fixture
def bot_port() -> int:
    return free_port()


@pytest.fixture
async def stage(
    cluster: Cluster, postgres_url: str, template_database: str, tmp_path: Path, bot_port: int
) -> AsyncIterator[Stage]:
    """A namespace and a database, and a YooKassa that tells the bot."""
    async with open_stage(
        cluster, postgres_url=postgres_url, template_database=template_database, folder=tmp_path,
        notifications=f"http://127.0.0.1:{bot_port}/webhook/yookassa",
    ) as opened:  # fmt: skip
        yield opened


@pytest.fixture
async def shop(stage: Stage, bot_port: int, redis_url: str) -> AsyncIterator[Shop]:
    async with open_shop(stage, bot_port=bot_port, redis_url=redis_url) as opened:
        yield opened


@pytest.fixture
async def grafana(stage: Stage) -> AsyncIterator[asyncpg.Connection]:
    """The role of docs/dashboards.md."""
    role = f"grafana_{stage.database}"
    await stage.pool.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'p'")
    await stage.pool.execute(f"GRANT USAGE ON SCHEMA reporting TO {role}")
    await stage.pool.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA reporting TO {role}")
    url = make_url(stage.database_url).set(username=role, password="p")
    connection = await asyncpg.connect(url.render_as_string(hide_password=False))
    yield connection
    await connection.close()
    await stage.pool.execute(f"DROP OWNED BY {role}")
    await stage.pool.execute(f"DROP ROLE {role}")


def page(name: str) -> Json:
    """A dashboard as Grafana gets it."""
    text = (CHART / "files" / "dashboards" / f"{name}.json").read_text(encoding="utf-8")
    read: Json = json.loads(text)
    return read


def panels(read: Json) -> list[Json]:
    return [panel for panel in read["panels"] if panel["type"] != "row"]


async def test_every_query_of_every_panel_gives_data(
    shop: Shop, scraping: Scraping, grafana: asyncpg.Connection, tmp_path: Path
) -> None:
    begin = datetime.now(UTC)
    server = await scraping(*shop.targets)
    await shop.busy(tmp_path, rounds=ROUNDS)

    async def scraped() -> bool:
        return bool(await server.ask("rei_backup_last_verified_timestamp_seconds"))

    await shop.stage.wait(scraped, what="what came last has been scraped")
    end = datetime.now(UTC)
    async with httpx.AsyncClient(base_url=server.url, timeout=30, trust_env=False) as client:
        sources = Sources(client, grafana, begin, end + timedelta(seconds=1), "rei")
        empty = []
        for dashboard in DASHBOARDS:
            read, answers = page(dashboard.name), {}
            for annotation in read["annotations"]["list"]:
                await sources.takes(annotation["expr"])  # no alert fires here
            for panel in panels(read):
                try:
                    answers[panel["id"]] = await sources.of_panel(panel)
                except PanelBroken as error:
                    empty.append(f"{dashboard.name}: {error}")
                    continue
                empty += _empty(dashboard.name, panel, answers[panel["id"]])
            if PICTURES:
                drawn = picture(read, answers)
                Path(PICTURES, f"dashboard-{dashboard.name}.svg").write_text(
                    drawn, encoding="utf-8"
                )
    assert empty == []
    await shop.stage.books_are_right()


def _empty(name: str, panel: Json, answers: list[Answer]) -> list[str]:
    """The queries of a panel that gave nothing."""
    return [
        f"{name}: {panel['title']}: nothing for {target.get('expr') or target.get('rawSql')}"
        for target, answer in zip(panel["targets"], answers, strict=True)
        if not has_data(answer)
    ]

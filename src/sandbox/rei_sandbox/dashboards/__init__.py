"""Grafana's dashboards as code: `make dashboards` writes helm/rei/files/dashboards from this.

model         what a panel is
business, service, maintenance
              the three pages
grafana       how a page becomes Grafana's JSON
"""

from __future__ import annotations

from typing import Final

from rei_sandbox.dashboards.business import BUSINESS
from rei_sandbox.dashboards.maintenance import MAINTENANCE
from rei_sandbox.dashboards.model import Dashboard, Panel
from rei_sandbox.dashboards.service import SERVICE

DASHBOARDS: Final[tuple[Dashboard, ...]] = (BUSINESS, SERVICE, MAINTENANCE)


def panel_of_alert() -> dict[str, tuple[Dashboard, Panel]]:
    """Where whoever was woken by an alert looks first; each alert has one panel."""
    found: dict[str, tuple[Dashboard, Panel]] = {}
    for page in DASHBOARDS:
        for panel in page.panels:
            for alert in panel.alerts:
                assert alert not in found, f"{alert} has two panels"
                found[alert] = (page, panel)
    return found


def address_of_alert(alert: str) -> str:
    """The path of an alert's panel below Grafana's own address."""
    page, panel = panel_of_alert()[alert]
    return f"/d/{page.uid}?viewPanel={panel.id}"

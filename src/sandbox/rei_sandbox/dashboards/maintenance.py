"""Maintenance: every custom resource, the books, the backups."""

from __future__ import annotations

from typing import Final

from grafana_foundation_sdk.models import units

from rei_sandbox.dashboards.model import (
    NAMESPACE,
    Dashboard,
    Metric,
    Panel,
    Row,
    per_minute,
)

SECONDS: Final = units.Seconds
COUNT: Final = units.Short
LAST: Final = "rei_maintenance_last_success_timestamp_seconds"
EVERY: Final = "rei_maintenance_expected_interval_seconds"
WHO: Final = "kind, name"
DAY: Final = 86_400


def _since_success(kind: str) -> Metric:
    """Seconds since the last success of each resource of a kind."""
    return Metric(f'time() - max by (name) ({LAST}{{{NAMESPACE},kind="{kind}"}})', "{{name}}")


def _of_schedules(form: str, metric: str) -> Metric:
    """About the newest backup of each schedule; those that were made by hand have none."""
    newest = f"max by (schedule) ({metric}{{{NAMESPACE}}})"
    named = f'label_replace({newest}, "schedule", "by hand", "schedule", "")'
    return Metric(form.format(named), "{{schedule}}")


def _in_an_hour(metric: str, by: str) -> str:
    return f"sum by ({by}) (increase({metric}{{{NAMESPACE}}}[1h]))"


RESOURCES: Final = Row(
    "Every resource",
    (
        Panel(
            id=1, title="Resources", unit=SECONDS, form="table", width=14, height=10,
            description="Is its condition true, how long ago did it last succeed, and how often should "
                        "it? What runs once has no interval.",
            units=(("healthy", "bool_yes_no"),),
            ask=(Metric(f"max by ({WHO}) (rei_maintenance_healthy{{{NAMESPACE}}})", "healthy"),
                 Metric(f"time() - max by ({WHO}) ({LAST}{{{NAMESPACE}}})", "since success"),
                 Metric(f"max by ({WHO}) ({EVERY}{{{NAMESPACE}}})", "interval")),
        ),
        Panel(
            id=2, title="Late by intervals", unit=COUNT, width=10, height=10,
            description="Time since the last success, in intervals: 1 is on time, 3 has missed two runs.",
            limits=((3, "red"),),
            ask=(Metric(f"(time() - max by ({WHO}) ({LAST}{{{NAMESPACE}}})) "
                        f"/ max by ({WHO}) ({EVERY}{{{NAMESPACE}}})", "{{kind}} {{name}}"),),
        ),
        Panel(
            id=3, title="Runs", unit=COUNT, width=8, bars=True,
            description="In the last hour, by kind and result.",
            alerts=("ReiMaintenanceFailing",),
            ask=(Metric(_in_an_hour("rei_maintenance_runs_total", "kind, result"),
                        "{{kind}} {{result}}"),),
        ),
        Panel(
            id=4, title="Time of a run", unit=SECONDS, width=8,
            description="The mean of the last hour, by kind.",
            ask=(Metric(f"{_in_an_hour('rei_maintenance_run_seconds_sum', 'kind')} "
                        f"/ {_in_an_hour('rei_maintenance_run_seconds_count', 'kind')}",
                        "{{kind}}"),),
        ),
        Panel(
            id=5, title="Looks at a resource", unit="opm", width=8,
            description="By the operator, a minute, by outcome. Errors are tried again, ever more slowly.",
            ask=(Metric(per_minute("rei_operator_reconciles_total", "outcome"), "{{outcome}}"),),
        ),
    ),
)  # fmt: skip

BOOKS: Final = Row(
    "The books",
    (
        Panel(
            id=10, title="Violations in the ledger", unit=COUNT, width=8,
            description="What the last audit found, by invariant. Anything but 0: stop, and look.",
            limits=((1, "red"),), alerts=("ReiLedgerInconsistent",),
            ask=(Metric(f"max by (invariant) (rei_ledger_violations{{{NAMESPACE}}})", "{{invariant}}"),),
        ),
        Panel(
            id=11, title="Since the last audit", unit=SECONDS, form="number", width=4,
            description="Of a LedgerAudit that came to its end. Red: two and a half hours, for one an hour.",
            limits=((2.5 * 3600, "red"),), alerts=("ReiLedgerAuditMissing",),
            ask=(_since_success("LedgerAudit"),),
        ),
        Panel(
            id=12, title="Since the last cleanup", unit=SECONDS, form="number", width=4,
            description="Of a JobRetentionPolicy that came to its end. Red: two and a half days, for one "
                        "a day.",
            limits=((2.5 * DAY, "red"),), alerts=("ReiCleanupBehind",),
            ask=(_since_success("JobRetentionPolicy"),),
        ),
        Panel(
            id=13, title="Refunds that wait", unit=COUNT, width=8,
            description="Refunds of payments whose end YooKassa has not told: `rei refund list`.",
            limits=((1, "red"),),
            ask=(Metric(f"max(rei_refunds_pending{{{NAMESPACE}}})", "waiting"),),
        ),
    ),
)  # fmt: skip

BACKUPS: Final = Row(
    "Backups",
    (
        Panel(
            id=20, title="Since the last backup", unit=SECONDS, form="number", width=6,
            description="That is whole, by schedule. Red: a day and a half, for one a day.",
            limits=((1.5 * DAY, "red"),), alerts=("ReiBackupTooOld",),
            ask=(_of_schedules("time() - {}", "rei_backup_last_success_timestamp_seconds"),),
        ),
        Panel(
            id=21, title="Since the last verified backup", unit=SECONDS, form="number", width=6,
            description="That was really restored, and whose ledger was audited. Red: two days, for one a "
                        "day.",
            limits=((2 * DAY, "red"),), alerts=("ReiBackupUnverified",),
            ask=(_of_schedules("time() - {}", "rei_backup_last_verified_timestamp_seconds"),),
        ),
        Panel(
            id=22, title="Size of the last backup", unit=units.BytesIEC, width=12,
            description="As it is stored. One that is suddenly small lacks something.",
            ask=(_of_schedules("{}", "rei_backup_last_size_bytes"),),
        ),
    ),
)  # fmt: skip

DONE: Final = Row(
    "What it did",
    (
        Panel(
            id=30, title="Rows changed", unit=COUNT, width=8, bars=True,
            description="In the last hour, by kind: jobs ended, payments settled, old rows removed.",
            ask=(Metric(_in_an_hour("rei_maintenance_rows_changed_total", "kind"), "{{kind}}"),),
        ),
        Panel(
            id=31, title="Rows that could not be dealt with", unit=COUNT, width=8, bars=True,
            description="In the last hour, by kind. The status of the resource names them.",
            limits=((1, "red"),),
            ask=(Metric(_in_an_hour("rei_maintenance_rows_failed_total", "kind"), "{{kind}}"),),
        ),
        Panel(
            id=32, title="Money moved", unit=units.Rubles, width=8, bars=True,
            description="By maintenance and by hand, in the last hour: credited or refunded to customers, "
                        "and taken from them.",
            ask=(Metric(f"{_in_an_hour('rei_maintenance_kopecks_moved_total', 'kind, direction')} / 100",
                        "{{kind}} {{direction}}"),),
        ),
    ),
)  # fmt: skip

MAINTENANCE: Final = Dashboard(
    name="maintenance",
    title="Rei / Maintenance",
    description="The custom resources, the books, and the backups with their age and proof.",
    rows=(RESOURCES, BOOKS, BACKUPS, DONE),
    span="now-24h",
)

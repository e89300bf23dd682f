"""Service: does it answer, does the queue move, do the outside services let us in?"""

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
    quantile,
    quantiles,
)

SECONDS: Final = units.Seconds
COUNT: Final = units.Short
CALLS: Final = "reqpm"
OPS: Final = "opm"
PARTS: Final = ("bot", "worker", "operator")
DOWN_UP: Final = ((0, "down"), (1, "up"))


def _of_each(what: str, parts: tuple[str, ...] = PARTS) -> tuple[Metric, ...]:
    """One question a part; {part} stands for it."""
    return tuple(Metric(what.replace("{part}", part), part) for part in parts)


def _well(metric: str, well: str, all_of: str) -> str:
    """The share that ended well, over an hour."""
    good = f'sum(increase({metric}{{{NAMESPACE},outcome=~"{well}"}}[1h]))'
    return f'{good} / sum(increase({metric}{{{NAMESPACE},outcome=~"{all_of}"}}[1h]))'


def _paused() -> str:
    """Every open circuit, or a 0 if there is none and PostgreSQL can be asked about it."""
    paused = f"sum by (circuit, reason) (rei_orders_paused{{{NAMESPACE}}}) > 0"
    none = f'label_replace(0 * max(rei_queue_queued{{{NAMESPACE}}}), "circuit", "none", "", "")'
    return f"({paused}) or ({none} unless on () ({paused}))"


STATE: Final = Row(
    "Is everything there?",
    (
        Panel(
            id=1, title="Processes that answer", unit=COUNT, form="number", width=6, height=5,
            description="How many bots, workers and operators Prometheus reaches. A part that is not "
                        "listed is not there.",
            below="red", limits=((1, "green"),), alerts=("ReiBotDown", "ReiWorkersDown"),
            ask=(Metric(f"count by (component) (rei_build_info{{{NAMESPACE}}})", "{{component}}"),),
        ),
        Panel(
            id=2, title="PostgreSQL", unit=COUNT, form="number", width=5, height=5,
            description="As the processes see it. Without it nothing is sold and nothing is lost.",
            below="red", limits=((1, "green"),), words=DOWN_UP, alerts=("ReiPostgresDown",),
            ask=_of_each(f"min(rei_{{part}}_database_up{{{NAMESPACE}}})"),
        ),
        Panel(
            id=3, title="Redis", unit=COUNT, form="number", width=4, height=5,
            description="As the processes see it. Without it orders take a second longer, and limits are "
                        "each process's own.",
            below="red", limits=((1, "green"),), words=DOWN_UP, alerts=("ReiRedisDown",),
            ask=_of_each(f"min(rei_{{part}}_redis_up{{{NAMESPACE}}})", ("bot", "worker")),
        ),
        Panel(
            id=4, title="Orders paused", unit=COUNT, form="number", width=5, height=5,
            description="Circuits that are open, and why: no orders are taken for that model, or none at "
                        "all, and nobody is charged.",
            limits=((1, "red"),), words=((0, "no"),), alerts=("ReiOrdersPaused",),
            ask=(Metric(_paused(), "{{circuit}} {{reason}}"),),
        ),
        Panel(
            id=5, title="The queue is counted", unit=COUNT, form="number", width=4, height=5,
            description="By the operator, in PostgreSQL. If it is not, nothing scales.",
            below="red", limits=((1, "green"),), words=((0, "no"), (1, "yes")),
            alerts=("ReiQueueMetricsMissing",),
            ask=(Metric(f"clamp_max(count(rei_queue_queued{{{NAMESPACE}}}), 1) or vector(0)",
                        "counted"),),
        ),
    ),
)  # fmt: skip

PROMISE: Final = Row(
    "What customers notice",
    (
        Panel(
            id=10, title="Orders that end well", unit=units.PercentUnit, width=8,
            description="Of the orders that ended in the last hour, without those that the customer could "
                        "not have had: the share with a picture. The promise is 99 %.",
            below="red", limits=((0.99, "green"),), top=1,
            alerts=("ReiErrorBudgetBurnFast", "ReiErrorBudgetBurnSlow"),
            ask=(Metric(_well("rei_worker_orders_ended_total", "completed", "completed|failed"),
                        "with a picture"),),
        ),
        Panel(
            id=11, title="Updates handled", unit=CALLS, width=8,
            description="What customers send and press, a minute, by what became of it.",
            ask=(Metric(per_minute("rei_bot_updates_total", "outcome"), "{{outcome}}"),),
        ),
        Panel(
            id=12, title="Time of an update", unit=SECONDS, width=8,
            description="From its arrival to its end: half, 95 %, 99 %.",
            limits=((2, "red"),), ask=quantiles("rei_bot_update_seconds"),
        ),
    ),
)  # fmt: skip

QUEUE: Final = Row(
    "Queue",
    (
        Panel(
            id=20, title="Jobs", unit=COUNT, width=8,
            description="queued: wait; due: of these, what a worker could take now; retrying: of these, what "
                        "was tried before. processing: at work. A hundred that wait are too many.",
            limits=((100, "red"),), alerts=("ReiQueueTooLong",),
            ask=tuple(Metric(f"max(rei_queue_{name}{{{NAMESPACE}}})", name)
                      for name in ("queued", "due", "retrying", "processing")),
        ),
        Panel(
            id=21, title="Longest wait", unit=SECONDS, width=6,
            description="The age of the job that waits longest.",
            limits=((900, "red"),), alerts=("ReiOldestJobTooOld",),
            ask=(Metric(f"max(rei_queue_oldest_age_seconds{{{NAMESPACE}}})", "longest wait"),),
        ),
        Panel(
            id=22, title="Jobs at work that may be stuck", unit=COUNT, width=4,
            description="Their worker's lease is over and nobody has taken them: StuckJobPolicy ends them "
                        "and gives the money back.",
            limits=((1, "red"),), alerts=("ReiJobsStuck",),
            ask=(Metric(f"max(rei_queue_lapsed{{{NAMESPACE}}})", "lapsed"),),
        ),
        Panel(
            id=23, title="Time at work", unit=SECONDS, width=6,
            description="Of the job that has been at work for longest now, and the mean of the last "
                        "hundred pictures.",
            ask=(Metric(f"max(rei_queue_oldest_at_work_seconds{{{NAMESPACE}}})", "longest now"),
                 Metric(f"max(rei_queue_mean_seconds{{{NAMESPACE}}})", "mean")),
        ),
    ),
)  # fmt: skip

WORKERS: Final = Row(
    "Workers and Gemini",
    (
        Panel(
            id=30, title="Places", unit=COUNT, width=6,
            description="Jobs that all workers together can do at a time, and those that they do.",
            ask=(Metric(f"sum(rei_worker_slots{{{NAMESPACE}}})", "places"),
                 Metric(f"sum(rei_worker_slots_used{{{NAMESPACE}}})", "used")),
        ),
        Panel(
            id=31, title="Attempts", unit=OPS, width=6,
            description="Attempts at jobs a minute, by their end. One job may need several.",
            ask=(Metric(per_minute("rei_worker_jobs_total", "end"), "{{end}}"),),
        ),
        Panel(
            id=32, title="Calls of Gemini", unit=CALLS, width=6,
            description="A minute, by whose fault a failure is. retry_later: 429, 503, no answer in time; "
                        "user_fault: the prompt; our_fault: the key, the quota, a retired model.",
            alerts=("ReiProviderFailing",),
            ask=(Metric(per_minute("rei_worker_provider_calls_total", "failure"), "{{failure}}"),),
        ),
        Panel(
            id=33, title="Time of a call of Gemini", unit=SECONDS, width=6,
            description="Half, 95 %, 99 %.",
            ask=quantiles("rei_worker_provider_call_seconds"),
        ),
    ),
)  # fmt: skip

TELEGRAM: Final = Row(
    "Telegram",
    (
        Panel(
            id=40, title="Calls of Telegram", unit=CALLS, width=6,
            description="A minute, by who calls and how it ended. limited: Telegram asks us to slow down; "
                        "network: it is not reached.",
            alerts=("ReiTelegramUnreachable", "ReiTelegramLimiting"),
            ask=tuple(Metric(per_minute(f"rei_{part}_telegram_calls_total", "outcome"),
                             f"{part} {{{{outcome}}}}") for part in ("bot", "worker")),
        ),
        Panel(
            id=41, title="Time of a call of Telegram", unit=SECONDS, width=4,
            description="95 % are quicker.",
            ask=_of_each(quantile("rei_{part}_telegram_call_seconds", 0.95, 'method!="getUpdates"'),
                         ("bot", "worker")),
        ),
        Panel(
            id=42, title="Deliveries", unit=OPS, width=5,
            description="Pictures and news a minute, by what became of the attempt.",
            ask=(Metric(per_minute("rei_worker_deliveries_total", "outcome"), "{{outcome}}"),),
        ),
        Panel(
            id=43, title="Deliveries that wait", unit=COUNT, width=4,
            description="Pictures and news that Telegram does not have yet.",
            ask=(Metric(f"max(rei_deliveries_pending{{{NAMESPACE}}})", "waiting"),),
        ),
        Panel(
            id=44, title="Updates that wait there", unit=COUNT, width=5,
            description="As Telegram tells: it keeps them for a day. Only with a webhook.",
            ask=(Metric(f"max(rei_bot_telegram_pending_updates{{{NAMESPACE}}})", "waiting"),),
        ),
    ),
)  # fmt: skip

YOOKASSA: Final = Row(
    "YooKassa",
    (
        Panel(
            id=50, title="Notifications", unit=CALLS, width=8,
            description="A minute, by what became of them. None while payments are pending: the address "
                        "in YooKassa's settings, or the way to it, is wrong.",
            alerts=("ReiWebhookSilent",),
            ask=(Metric(per_minute("rei_bot_notifications_total", "outcome"), "{{outcome}}"),),
        ),
        Panel(
            id=51, title="Calls of YooKassa", unit=CALLS, width=8,
            description="A minute, by who calls and how it ended. unknown: no answer that can be believed.",
            alerts=("ReiYooKassaFailing",),
            ask=tuple(Metric(per_minute(f"rei_{part}_yookassa_calls_total", "outcome"),
                             f"{part} {{{{outcome}}}}") for part in ("bot", "operator")),
        ),
        Panel(
            id=52, title="Time of a notification and of a call", unit=SECONDS, width=8,
            description="95 % are quicker.",
            ask=(Metric(quantile("rei_bot_notification_seconds", 0.95), "notification"),
                 Metric(quantile("rei_bot_yookassa_call_seconds", 0.95), "call")),
        ),
    ),
)  # fmt: skip

PROCESSES: Final = Row(
    "Processes",
    (
        Panel(
            id=60, title="Event loop", unit=SECONDS, width=6,
            description="How late the loops wake: what every request waits for on top.",
            limits=((0.5, "red"),),
            ask=_of_each(f"max(rei_{{part}}_event_loop_lag_seconds{{{NAMESPACE}}})"),
        ),
        Panel(
            id=61, title="Connections to PostgreSQL in use", unit=units.PercentUnit, width=6,
            description="Of those that a process may have; at 100 % requests wait for each other.",
            limits=((0.9, "red"),), top=1,
            ask=_of_each(f'max(rei_{{part}}_database_connections{{{NAMESPACE},state="used"}} '
                         f"/ ignoring(state) rei_{{part}}_database_connections_max{{{NAMESPACE}}})"),
        ),
        Panel(
            id=62, title="Memory", unit=units.BytesIEC, width=6,
            description="Of the largest process of each part.",
            ask=(Metric(f"max by (component) (process_resident_memory_bytes{{{NAMESPACE}}} "
                        f"* on (instance) group_left (component) rei_build_info{{{NAMESPACE}}})",
                        "{{component}}"),),
        ),
        Panel(
            id=63, title="Processor time", unit=units.PercentUnit, width=6,
            description="Of one core, by the busiest process of each part.",
            ask=(Metric("max by (component) (rate(process_cpu_seconds_total"
                        f"{{{NAMESPACE}}}[$__rate_interval]) "
                        f"* on (instance) group_left (component) rei_build_info{{{NAMESPACE}}})",
                        "{{component}}"),),
        ),
    ),
)  # fmt: skip

SERVICE: Final = Dashboard(
    name="service",
    title="Rei / Service",
    description="Bot, queue, workers, and the services outside.",
    rows=(STATE, PROMISE, QUEUE, WORKERS, TELEGRAM, YOOKASSA, PROCESSES),
)

"""Business: what came in, what was sold, what was given back, and to whom.

Sums over a span are PostgreSQL's, exact to the kopeck; curves are Prometheus's.
"""

from __future__ import annotations

from typing import Final

from grafana_foundation_sdk.models import units

from rei_sandbox.dashboards.model import NAMESPACE, Dashboard, Metric, Panel, Row, Sql

RUBLES: Final = units.Rubles
COUNT: Final = units.Short


def _transferred(kinds: str) -> str:
    """Rubles an hour that moved in the ledger, by kind."""
    chosen = f'{NAMESPACE},kind=~"{kinds}"'
    return f"36 * sum by (kind) (rate(rei_ledger_transferred_kopecks_total{{{chosen}}}[$__rate_interval]))"


def _sum(view: str, condition: str, time: str = "created_at") -> Sql:
    return Sql(
        f"SELECT coalesce(sum(amount_kopecks), 0) / 100.0 AS rubles FROM reporting.{view}\n"
        f"WHERE {condition} AND $__timeFilter({time})"
    )


MONEY: Final = Row(
    "Money",
    (
        Panel(
            id=1, title="Paid in", unit=RUBLES, form="number", width=3, height=4,
            description="Top-ups that YooKassa has confirmed and that were credited, in this span.",
            ask=(_sum("payments", "status = 'succeeded'", "settled_at"),),
        ),
        Panel(
            id=2, title="Payments", unit=COUNT, form="number", width=3, height=4,
            description="How many they were.",
            ask=(Sql("SELECT count(*) AS payments FROM reporting.payments\n"
                     "WHERE status = 'succeeded' AND $__timeFilter(settled_at)"),),
        ),
        Panel(
            id=3, title="Average payment", unit=RUBLES, form="number", width=3, height=4,
            description="Paid in, by payment.",
            ask=(Sql("SELECT coalesce(avg(amount_kopecks), 0) / 100.0 AS rubles FROM reporting.payments\n"
                     "WHERE status = 'succeeded' AND $__timeFilter(settled_at)"),),
        ),
        Panel(
            id=4, title="Revenue", unit=RUBLES, form="number", width=3, height=4,
            description="The price of the pictures that were made, in this span: what is ours.",
            ask=(_sum("transfers", "kind = 'capture'"),),
        ),
        Panel(
            id=5, title="Released", unit=RUBLES, form="number", width=3, height=4,
            description="Given back to balances because an order failed or was cancelled, in this span.",
            ask=(_sum("transfers", "kind = 'release'"),),
        ),
        Panel(
            id=6, title="Refunded", unit=RUBLES, form="number", width=3, height=4,
            description="Sent back to payers' cards, less what YooKassa then refused, in this span.",
            ask=(Sql("SELECT coalesce(sum(CASE kind WHEN 'payment_refund' THEN amount_kopecks\n"
                     "                             ELSE -amount_kopecks END), 0) / 100.0 AS rubles\n"
                     "FROM reporting.transfers\n"
                     "WHERE kind IN ('payment_refund', 'payment_refund_reversal')"
                     " AND $__timeFilter(created_at)"),),
        ),
        Panel(
            id=7, title="Held now", unit=RUBLES, form="number", width=3, height=4,
            description="The price of the orders that are not done yet. It goes to revenue or back.",
            ask=(Metric(f"max(rei_ledger_held_kopecks{{{NAMESPACE}}}) / 100", "held"),),
        ),
        Panel(
            id=8, title="Owed to customers", unit=RUBLES, form="number", width=3, height=4,
            description="All balances together, now: paid in, and neither spent nor refunded.",
            ask=(Sql("SELECT coalesce(sum(balance_kopecks), 0) / 100.0 AS rubles\n"
                     "FROM reporting.customers"),),
        ),
    ),
)  # fmt: skip

PAYMENTS: Final = Row(
    "Payments",
    (
        Panel(
            id=10, title="Payments by status", unit=COUNT, form="table", width=8,
            description="All that were begun in this span: how many, their sum, the average.",
            units=(("sum", RUBLES), ("average", RUBLES)),
            ask=(Sql("SELECT status, count(*) AS payments, sum(amount_kopecks) / 100.0 AS sum,\n"
                     "       round(avg(amount_kopecks) / 100.0, 2) AS average\n"
                     "FROM reporting.payments WHERE $__timeFilter(created_at)\n"
                     "GROUP BY status ORDER BY payments DESC"),),
        ),
        Panel(
            id=11, title="Rubles an hour", unit=RUBLES, width=8,
            description="topup: paid in. hold: taken from balances for orders. capture: became revenue.",
            ask=(Metric(_transferred("topup|hold|capture"), "{{kind}}"),),
        ),
        Panel(
            id=12, title="Rubles an hour, back to customers", unit=RUBLES, width=8,
            description="release: orders that failed or were cancelled. payment_refund: sent back to "
                        "cards. adjustment_credit: given by hand.",
            ask=(Metric(_transferred("release|payment_refund|adjustment_credit"), "{{kind}}"),),
        ),
        Panel(
            id=13, title="Payments that wait, by age", unit=COUNT, width=12, bars=True,
            description="Begun, and neither paid nor cancelled. A payer has an hour; what is older waits "
                        "for the reconciliation.",
            ask=(Metric(f"max by (age) (rei_payments_pending{{{NAMESPACE}}})", "{{age}}"),),
        ),
        Panel(
            id=14, title="Oldest payment that waits", unit=units.Seconds, width=12,
            description="A payer has an hour. More than two: neither a notification nor the reconciliation "
                        "has brought its end.",
            limits=((7200, "red"),), alerts=("ReiPaymentPendingTooLong",),
            ask=(Metric(f"max(rei_payments_oldest_pending_seconds{{{NAMESPACE}}})", "oldest"),),
        ),
    ),
)  # fmt: skip

ORDERS: Final = Row(
    "Orders",
    (
        Panel(
            id=20, title="Orders by type and status", unit=COUNT, form="table", width=12,
            description="All of this span that retention has not removed: model and size, how they "
                        "ended, and what they cost.",
            units=(("rubles", RUBLES),),
            ask=(Sql("SELECT model, image_size AS size, status, count(*) AS orders,\n"
                     "       sum(price_kopecks) / 100.0 AS rubles\n"
                     "FROM reporting.jobs WHERE $__timeFilter(created_at)\n"
                     "GROUP BY model, size, status ORDER BY orders DESC LIMIT 50"),),
        ),
        Panel(
            id=21, title="Why orders failed", unit=COUNT, form="table", width=12,
            description="By reason; each was refunded. `blocked`: the provider refuses such a prompt.",
            units=(("rubles", RUBLES),),
            ask=(Sql("SELECT coalesce(error_code, 'unknown') AS reason, count(*) AS orders,\n"
                     "       sum(price_kopecks) / 100.0 AS rubles\n"
                     "FROM reporting.jobs WHERE status = 'failed' AND $__timeFilter(created_at)\n"
                     "GROUP BY reason ORDER BY orders DESC LIMIT 20"),),
        ),
        Panel(
            id=22, title="Orders, by what became of the press", unit="opm", width=12,
            description="Presses of the order button a minute. insufficient_funds: a customer to top up; "
                        "provider_paused: we could not sell.",
            ask=(Metric(f"60 * sum by (outcome) (rate(rei_bot_orders_total{{{NAMESPACE}}}"
                        "[$__rate_interval]))", "{{outcome}}"),),
        ),
        Panel(
            id=23, title="From order to picture", unit=units.Seconds, form="table", width=12,
            description="Of the pictures of this span: until the half, 95 % and all of them were there.",
            ask=(Sql("SELECT model, count(*) AS pictures,\n"
                     "       percentile_cont(0.5) WITHIN GROUP (ORDER BY took) AS half,\n"
                     "       percentile_cont(0.95) WITHIN GROUP (ORDER BY took) AS most,\n"
                     "       max(took) AS slowest\n"
                     "FROM (SELECT model, extract(epoch FROM finished_at - created_at)::float AS took\n"
                     "      FROM reporting.jobs\n"
                     "      WHERE status = 'completed' AND $__timeFilter(created_at)) AS done\n"
                     "GROUP BY model ORDER BY pictures DESC"),),
            units=(("pictures", COUNT),),
        ),
    ),
)  # fmt: skip

CUSTOMERS: Final = Row(
    "Customers",
    (
        Panel(
            id=30, title="Who spends most", unit=RUBLES, form="table", width=12,
            description="By pseudonym, in this span. Who it is, `rei` tells those who may know.",
            units=(("orders", COUNT), ("last", units.DatetimeISO)),
            ask=(Sql("SELECT customer, sum(amount_kopecks) / 100.0 AS spent, count(*) AS orders,\n"
                     "       max(created_at) AS last\n"
                     "FROM reporting.transfers WHERE kind = 'capture' AND $__timeFilter(created_at)\n"
                     "GROUP BY customer ORDER BY spent DESC LIMIT 10"),),
        ),
        Panel(
            id=31, title="Customers", unit=COUNT, form="number", width=6,
            description="All there are, those seen and those new in this span.",
            ask=(Sql("SELECT count(*) AS all,\n"
                     "       count(*) FILTER (WHERE $__timeFilter(seen_at)) AS seen,\n"
                     "       count(*) FILTER (WHERE $__timeFilter(created_at)) AS new\n"
                     "FROM reporting.customers"),),
        ),
        Panel(
            id=32, title="Refunds of payments", unit=COUNT, form="table", width=6,
            description="Begun in this span. One that stays pending is for the reconciliation.",
            units=(("rubles", RUBLES),),
            ask=(Sql("SELECT status, count(*) AS refunds, sum(amount_kopecks) / 100.0 AS rubles\n"
                     "FROM reporting.refunds WHERE $__timeFilter(created_at)\n"
                     "GROUP BY status ORDER BY refunds DESC"),),
        ),
    ),
)  # fmt: skip

BUSINESS: Final = Dashboard(
    name="business",
    title="Rei / Business",
    description="Payments, orders, customers and what was given back.",
    rows=(MONEY, PAYMENTS, ORDERS, CUSTOMERS),
    span="now-24h",
    refresh="1m",
)

"""Numbers that PostgreSQL knows and Prometheus is told: the queue, money, what waits and for how long.

Each reading is told as a whole, and nothing at all once it cannot be renewed: a number that stands
still looks like one that is all right.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from rei_core.deliveries.backlog_queries import DeliveryBacklog
from rei_core.images.circuits import OpenCircuit
from rei_core.jobs.model import QueueState
from rei_core.ledger.model import TransferKind
from rei_core.ledger.turnover import Moved
from rei_core.payments.pending_queries import Backlog, PendingPayments

KINDS = (
    *(kind.value for kind in TransferKind if kind is not TransferKind.ADJUSTMENT),
    "adjustment_credit",
    "adjustment_debit",
)


class Figures(Collector):
    """The latest reading."""

    def __init__(self) -> None:
        self.latest: Sequence[Metric] = ()

    def collect(self) -> Iterable[Metric]:
        return self.latest


def queue_figures(queue: QueueState) -> list[Metric]:
    """The queue."""
    figures = {
        "rei_queue_queued": ("Jobs that wait", queue.queued),
        "rei_queue_due": ("Jobs that wait and could be worked on now", queue.due),
        "rei_queue_retrying": ("Jobs that wait and were tried before", queue.retrying),
        "rei_queue_processing": ("Jobs at work", queue.processing),
        "rei_queue_lapsed": ("Jobs at work whose worker has let its lease go", queue.lapsed),
        "rei_queue_oldest_age_seconds": (
            "Age of the job that waits longest", queue.oldest_queued_seconds,
        ),
        "rei_queue_oldest_at_work_seconds": (
            "How long the job that is longest at work has been", queue.oldest_at_work_seconds,
        ),
        "rei_queue_mean_seconds": ("Mean time of the jobs of the last minutes", queue.mean_seconds),
        "rei_ledger_held_kopecks": (
            "The price of all jobs that wait or are at work", queue.held_kopecks,
        ),
    }  # fmt: skip
    return [
        GaugeMetricFamily(name, text, value=float(value))
        for name, (text, value) in figures.items()
        if value is not None
    ]


@dataclass(frozen=True, slots=True)
class Books:
    """One reading of all that is not the queue."""

    moved: Mapping[str, Moved]
    payments: PendingPayments
    refunds: Backlog
    deliveries: DeliveryBacklog
    circuits: Sequence[OpenCircuit]


def book_figures(books: Books) -> list[Metric]:
    """Money, what waits, and why no orders are taken."""
    return [
        *_turnover(books.moved),
        _by_age("rei_payments_pending", "Payments that wait for payers", books.payments.payments),
        _by_age("rei_payments_pending_kopecks", "Their sum", books.payments.kopecks),
        GaugeMetricFamily(
            "rei_payments_oldest_pending_seconds", "Age of the oldest of them",
            value=books.payments.oldest_seconds,
        ),
        GaugeMetricFamily(
            "rei_payments_unanswered", "Payments that YooKassa has not been heard to know",
            value=books.payments.unanswered,
        ),
        GaugeMetricFamily(
            "rei_refunds_pending", "Refunds that YooKassa has not been seen to carry out",
            value=books.refunds.waiting,
        ),
        GaugeMetricFamily(
            "rei_refunds_oldest_pending_seconds", "Age of the oldest of them",
            value=books.refunds.oldest_seconds,
        ),
        GaugeMetricFamily(
            "rei_deliveries_pending", "Messages that customers have not got yet",
            value=books.deliveries.pending,
        ),
        GaugeMetricFamily(
            "rei_deliveries_oldest_overdue_seconds", "How long one of them has been due",
            value=books.deliveries.overdue_seconds,
        ),
        _paused(books.circuits),
    ]  # fmt: skip


def _turnover(moved: Mapping[str, Moved]) -> tuple[Metric, Metric]:
    transfers = CounterMetricFamily(
        "rei_ledger_transfers", "Transfers of the ledger since it began", labels=("kind",)
    )
    kopecks = CounterMetricFamily(
        "rei_ledger_transferred_kopecks", "Their sum", labels=("kind",)
    )  # fmt: skip
    for kind in KINDS:
        so_far = moved.get(kind, Moved())
        transfers.add_metric((kind,), so_far.transfers)
        kopecks.add_metric((kind,), so_far.kopecks)
    return transfers, kopecks


def _by_age(name: str, text: str, values: Mapping[str, int]) -> Metric:
    family = GaugeMetricFamily(name, text, labels=("age",))
    for age, value in values.items():
        family.add_metric((age,), value)
    return family


def _paused(circuits: Sequence[OpenCircuit]) -> Metric:
    """The provider's own circuit is told when it is closed too, so that there is always something."""
    family = GaugeMetricFamily(
        "rei_orders_paused", "Are orders refused (1), and why", labels=("circuit", "reason")
    )
    if all(circuit.model is not None for circuit in circuits):
        family.add_metric(("provider", ""), 0)
    for circuit in circuits:
        family.add_metric((circuit.name, circuit.reason or ""), 1)
    return family

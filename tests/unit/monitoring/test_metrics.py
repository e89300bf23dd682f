"""docs/metrics.md says what the processes tell, no more and no less."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from rei_bot.metrics import Metrics as BotMetrics
from rei_core.db import Pool
from rei_core.deliveries.backlog_queries import DeliveryBacklog
from rei_core.images.circuits import OpenCircuit
from rei_core.jobs.model import Outcome, QueueState
from rei_core.ledger.audit import INVARIANTS
from rei_core.ledger.turnover import Moved
from rei_core.maintenance.model import RunResult
from rei_core.maintenance.runs.model import Run, RunKey, RunStatus
from rei_core.payments.pending_queries import AGES, Backlog, PendingPayments
from rei_operator.figures import Books
from rei_operator.metrics import Metrics as OperatorMetrics
from rei_operator.standing import BackupStanding, Standing
from rei_worker.metrics import Metrics as WorkerMetrics

from .documented import Metric, documented

NOW = datetime(2026, 11, 24, tzinfo=UTC)
POOL = cast(
    "Pool",
    SimpleNamespace(get_idle_size=lambda: 1, get_size=lambda: 3, get_max_size=lambda: 5),
)


def bot() -> tuple[CollectorRegistry, bytes]:
    """A bot's metrics once everything has happened to it."""
    metrics = BotMetrics()
    metrics.update("message", "handled", 0.1)
    metrics.poll("ok")
    metrics.notification("payment.succeeded", "credited", 0.1)
    metrics.credited(100)
    metrics.ring("rung")
    metrics.order(Outcome.ACCEPTED)
    metrics.waiting(3, last_error=1.0)
    metrics.yookassa.called("get_payment", "ok", 0.1)
    metrics.telegram.called("sendMessage", "ok", 0.1)
    return metrics.registry, metrics.exposition(POOL)


def worker() -> tuple[CollectorRegistry, bytes]:
    metrics = WorkerMetrics()
    metrics.job_ended("failed_timeout", 1)
    metrics.order_ended("failed")
    metrics.provider_call("timeout", 1, failure="retry_later")
    metrics.delivery("result", "delivered", 1)
    metrics.circuit_opened("timeout")
    metrics.swept("lapsed", 1)
    metrics.slots(used=1, total=4)
    metrics.telegram.called("sendPhoto", "ok", 0.1)
    return metrics.registry, metrics.exposition(POOL)


def operator() -> tuple[CollectorRegistry, bytes]:
    metrics = OperatorMetrics()
    run = Run(
        id=1,
        key=RunKey("LedgerAudit", "rei", "books", NOW),
        status=RunStatus.SUCCEEDED,
        attempt=1,
        owner="o",
        result=RunResult(changed=1, amount_kopecks=5),
        detail={},
        error=None,
        started_at=NOW,
        finished_at=NOW,
    )
    metrics.ran(run, seconds=1)
    metrics.reconciled("LedgerAudit", "ok")
    violations = dict.fromkeys(INVARIANTS, 0)
    backup = BackupStanding("daily", made_at=1.0, verified_at=1.0, size_bytes=10)
    metrics.tell(("LedgerAudit", "rei", "books"), Standing(1.0, 60.0, True, violations, backup))
    metrics.queue(QueueState(1, 1, 0, 1, 0, 1.0, 1.0, 9.0, 100))
    metrics.books(
        Books(
            {"topup": Moved(1, 100)},
            PendingPayments(dict.fromkeys(AGES, 1), dict.fromkeys(AGES, 100), 1.0, 1),
            Backlog(1, 1.0),
            DeliveryBacklog(1, 1.0),
            (OpenCircuit("provider", "bad_key", None),),
        )
    )
    metrics.yookassa.called("list_payments", "ok", 0.1)
    return metrics.registry, metrics.exposition(POOL)


def told() -> Iterator[Metric]:
    """What the three processes tell, as Prometheus reads it."""
    for _, text in (bot(), worker(), operator()):
        for family in text_string_to_metric_families(text.decode()):
            if not family.name.startswith("rei_"):
                continue
            labels = {label for sample in family.samples for label in sample.labels} - {"le"}
            name = f"{family.name}_total" if family.type == "counter" else family.name
            yield Metric(name, family.type, frozenset(labels))


def test_the_page_tells_every_metric_with_its_type_and_labels() -> None:
    assert set(told()) == set(documented())


def test_no_metric_is_told_twice() -> None:
    names = [metric.name for metric in documented()]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("registry", [bot, worker, operator], ids=["bot", "worker", "operator"])
def test_all_that_can_be_told_has_been(registry: Any) -> None:
    """Every metric has a sample here, so none is missing from the comparison above."""
    collected, _ = registry()
    silent = [
        family.name
        for family in collected.collect()
        if family.name.startswith("rei_") and not family.samples
    ]
    assert silent == []


def test_what_cannot_be_read_is_absent() -> None:
    metrics = OperatorMetrics()
    assert b"rei_queue_" not in metrics.exposition(POOL)
    metrics.queue(QueueState(1, 1, 0, 1, 0, 1.0, 1.0, None, 100))
    assert b"rei_queue_queued 1.0" in metrics.exposition(POOL)
    assert b"rei_queue_mean_seconds" not in metrics.exposition(POOL)
    metrics.queue(None)
    assert b"rei_queue_" not in metrics.exposition(POOL)

"""The operator's process put together, and the order in which it comes up and goes down.

On the way down: no new looks, the running ones may end; a run that does not make it gives its lease
back and is taken over by the next process. A second operator that is alive meanwhile does no harm.
"""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import Coroutine
from typing import Any

import structlog
from sqlalchemy.engine import make_url

from rei_core.db import Pool, answers
from rei_core.payments.port import PaymentProvider, Receipt
from rei_core.reach import watch
from rei_core.settings import OperatorSettings
from rei_http.status import StatusServer, turns
from rei_operator.books_watch import BooksWatch
from rei_operator.cluster import Cluster
from rei_operator.deletion_costs import DeletionCosts
from rei_operator.facts import FactFinder
from rei_operator.failpoints import Failpoints
from rei_operator.hands import Hands
from rei_operator.index import Index, key_of, owner_of
from rei_operator.janitor import Janitor
from rei_operator.manifests import JobTemplate
from rei_operator.metrics import Metrics
from rei_operator.procedures import Procedures
from rei_operator.queue_watch import watch_queue
from rei_operator.reconcile import Look
from rei_operator.reconciler import LoopClock, Reconciler
from rei_operator.recorder import Recorder
from rei_operator.watch import Watch

Json = dict[str, Any]

log = structlog.get_logger(__name__)

TICK_AGE_SECONDS_MAX = 60.0


class WatchDied(Exception):
    """kopf ended by itself: without it nothing is seen, so the process ends and is begun anew."""


class Operator:
    """One operator process. The caller owns pool, cluster and provider, and closes them."""

    def __init__(
        self,
        *,
        settings: OperatorSettings,
        pool: Pool,
        cluster: Cluster,
        provider: PaymentProvider,
        receipt: Receipt | None,
        failpoints: Failpoints,
        metrics: Metrics,
    ) -> None:
        database_url = settings.database_url.get_secret_value()
        self._settings = settings
        self._pool = pool
        self._cluster = cluster
        self.metrics = metrics
        self._index = Index()
        self._stopping = asyncio.Event()
        instance = f"{socket.gethostname()}-{os.getpid()}"
        hands = Hands(
            pool=pool,
            cluster=cluster,
            index=self._index,
            procedures=Procedures(
                pool=pool, database_url=database_url, provider=provider, receipt=receipt
            ),
            recorder=Recorder(cluster, instance=instance, monotonic=time.monotonic),
            metrics=self.metrics,
            failpoints=failpoints,
            owner=instance,
        )
        facts = FactFinder(
            pool=pool,
            cluster=cluster,
            template=job_template(settings),
            live_database=make_url(database_url).database or "",
            stops=settings.restore_stops,
        )
        look = Look(
            cluster=cluster, index=self._index, facts=facts, hands=hands, metrics=self.metrics
        )
        self._reconciler = Reconciler(
            look, clock=LoopClock(), concurrency_max=settings.reconciles_max
        )
        self._janitor = Janitor(
            cluster=cluster,
            pool=pool,
            index=self._index,
            reconciler=self._reconciler,
            namespace=settings.namespace,
        )
        self._watch = Watch(namespace=settings.namespace, saw=self._saw, ended=self._watch_ended)
        self._status = StatusServer(
            pool=pool,
            exposition=self.metrics.exposition,
            healthy=lambda: turns(self._reconciler.ticked_at, seconds_max=TICK_AGE_SECONDS_MAX),
            obstacle=self._obstacle,
        )

    def stop(self) -> None:
        """End in order; `run` returns when that is done."""
        self._stopping.set()
        self._watch.stop()
        self._reconciler.stop()

    def _obstacle(self) -> str:
        return "" if self._watch.ready and not self._stopping.is_set() else "not watching"

    async def run(self) -> None:
        """Work until `stop`; raises `WatchDied`."""
        settings = self._settings
        await self._status.start(
            settings.operator_host, settings.operator_port, setting="REI_OPERATOR_PORT"
        )
        period_seconds = settings.resync_seconds
        queue_seconds = settings.queue_metrics_seconds
        background = [
            _spawn(self._janitor.run(period_seconds=period_seconds), "janitor"),
            _spawn(self._watch_when_possible(), "begin-watch"),
            _spawn(watch_queue(self._pool, self.metrics, period_seconds=queue_seconds), "queue"),
            _spawn(BooksWatch(self._pool, self.metrics).run(), "books"),
            _spawn(watch(self._database_answers, self.metrics.database.answered), "database"),
            _spawn(self.metrics.watch_loop(), "lag"),
        ]
        if settings.namespace and settings.worker_pods:
            costs = DeletionCosts(
                pool=self._pool,
                cluster=self._cluster,
                namespace=settings.namespace,
                selector=settings.worker_pods,
            )
            every = settings.deletion_cost_seconds
            background.append(_spawn(costs.run(period_seconds=every), "deletion-costs"))
        log.info("operator.started", namespace=settings.namespace or "all")
        try:
            await self._reconciler.run()
        finally:
            died = not self._stopping.is_set()
            self.stop()
            await _cancel(*background)
            await self._watch.join_gently()
            await self._status.close()
        log.info("operator.stopped")
        if died:
            raise WatchDied

    async def _database_answers(self) -> bool:
        return await answers(self._pool)

    async def _watch_when_possible(self) -> None:
        """kopf looks once for the kinds that there are, so it begins when all of them are."""
        await self._janitor.swept.wait()
        self._watch.start()

    def _saw(self, kind: str, deleted: bool, raw: Json) -> None:
        owner = owner_of(raw)
        if owner is not None:
            self._reconciler.wake(owner)
        if kind == "Job":
            return
        if deleted:
            if self._index.drop(raw):
                self._reconciler.wake(key_of(raw))
        elif self._index.put(raw):
            self._reconciler.wake(key_of(raw))

    def _watch_ended(self) -> None:
        if not self._stopping.is_set():
            log.error("operator.watch_ended")
            self._reconciler.stop()


def job_template(settings: OperatorSettings) -> JobTemplate:
    """What the settings say about Jobs."""
    return JobTemplate(
        image=settings.job_image,
        image_pull_policy=settings.job_image_pull_policy,
        pull_secrets=settings.job_pull_secrets,
        settings_secret=settings.job_settings_secret,
        database_url_key=settings.job_database_url_key,
        memory_limit=settings.job_memory_limit,
    )


def _spawn(work: Coroutine[Any, Any, Any], name: str) -> asyncio.Task[Any]:
    return asyncio.create_task(work, name=name)


async def _cancel(*tasks: asyncio.Task[Any]) -> None:
    for task in tasks:
        task.cancel()
    for result in await asyncio.gather(*tasks, return_exceptions=True):
        if isinstance(result, Exception):
            log.error("operator.loop_died", exc_info=result)

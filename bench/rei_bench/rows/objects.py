"""From the apply of an object to its end, and what a thousand of them cost in memory."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from rei_bench.api_server import Objects, api_server, namespace
from rei_bench.children import peak_megabytes, program
from rei_bench.figures import percentile
from rei_bench.plan import Case, Contender, Row, Sample, Scale
from rei_bench.stage import BenchError, Stage
from rei_sandbox.cluster.kubeconfig import Cluster
from rei_sandbox.programs import Program
from rei_sandbox.services import free_port

BARE = "bare kopf (status only)"
OURS = "Rei's operator"
_numbers = itertools.count(1)


@dataclass(frozen=True, slots=True)
class _Measured:
    """The milliseconds of each object, and the operator's memory before and after them."""

    at_once: list[float]
    by_one: list[float]
    megabytes_before: float
    megabytes_after: float
    megabytes_peak: float


@contextlib.contextmanager
def cases(stage: Stage, scale: Scale) -> Iterator[Sequence[Case]]:
    count = scale.pick(quick=30, full=1_000)
    more = scale.pick(quick=5, full=100)
    with api_server(stage) as cluster:
        shop = _Shop(stage, cluster, count=count, more=more)
        yield [
            Case(
                name=f"{count:,} at once: p50",
                contenders=(Contender(BARE, shop.bare), Contender(OURS, shop.rei)),
                wanted=(),
            ),
            Case(
                name=f"{more} one by one, beside {count:,}: p50",
                contenders=(Contender(BARE, shop.bare_one), Contender(OURS, shop.rei_one)),
                wanted=(),
            ),
        ]


class _Shop:
    """A namespace for each operator and round; what came after the burst is kept for the second case."""

    def __init__(self, stage: Stage, cluster: Cluster, *, count: int, more: int) -> None:
        self._stage = stage
        self._cluster = cluster
        self._count = count
        self._more = more
        self._last: dict[str, _Measured] = {}

    def bare(self) -> Sample:
        with self._namespace() as (name, kubeconfig), self._bare(name, kubeconfig) as pid:
            self._last[BARE] = self._measure(name, pid)
        return _sample(self._last[BARE].at_once, self._last[BARE])

    def rei(self) -> Sample:
        with self._stage.database() as database:
            with (
                self._namespace() as (name, kubeconfig),
                self._rei(name, kubeconfig, database) as pid,
            ):
                self._last[OURS] = self._measure(name, pid)
            sql = "SELECT count(*) FROM transfers WHERE ref_id LIKE 'object-%'"
            carried_out = self._stage.number(sql, database=database)
            if carried_out != self._count + self._more:
                raise BenchError(f"{carried_out} adjustments in the ledger")
            self._stage.audit(database)
        return _sample(self._last[OURS].at_once, self._last[OURS])

    def bare_one(self) -> Sample:
        return _sample(self._last[BARE].by_one, self._last[BARE])

    def rei_one(self) -> Sample:
        return _sample(self._last[OURS].by_one, self._last[OURS])

    @contextlib.contextmanager
    def _namespace(self) -> Iterator[tuple[str, Path]]:
        name = f"rei-bench-{next(_numbers)}"
        with namespace(self._cluster, name) as kubeconfig:
            yield name, kubeconfig

    @contextlib.contextmanager
    def _bare(self, name: str, kubeconfig: Path) -> Iterator[int]:
        with program(
            self._stage, "bare_kopf", kubeconfig=str(kubeconfig), namespace=name
        ) as child:  # fmt: skip
            child.told("ready")
            yield child.pid

    @contextlib.contextmanager
    def _rei(self, name: str, kubeconfig: Path, database: str) -> Iterator[int]:
        port = free_port()
        operator = Program(
            "operator",
            name="operator",
            folder=self._stage.folder,
            environment={
                **{key: text for key, text in os.environ.items() if not key.startswith("REI_")},
                "KUBECONFIG": str(kubeconfig),
                "REI_DATABASE_URL": self._stage.url(database),
                "REI_NAMESPACE": name,
                "REI_OPERATOR_HOST": "127.0.0.1",
                "REI_OPERATOR_PORT": str(port),
                "YOOKASSA_SHOP_ID": "bench",
                "YOOKASSA_SECRET_KEY": "bench",
                "YOOKASSA_API_URL": "http://127.0.0.1:9",
            },
            ready_url=f"http://127.0.0.1:{port}/readyz",
        )
        try:
            operator.start()
            assert operator.pid is not None
            yield operator.pid
        finally:
            operator.kill()

    def _measure(self, name: str, pid: int) -> _Measured:
        before = resident_megabytes(pid)
        at_once, by_one = asyncio.run(self._times(name))
        return _Measured(at_once, by_one, before, resident_megabytes(pid), peak_megabytes(pid))

    async def _times(self, name: str) -> tuple[list[float], list[float]]:
        objects = Objects(self._cluster, name)
        try:
            async with objects.watched():
                at_once = await objects.all_at_once([f"object-{n}" for n in range(self._count)])
                names = [f"object-more-{n}" for n in range(self._more)]
                return at_once, await objects.one_by_one(names)
        finally:
            await objects.close()


def resident_megabytes(pid: int) -> float:
    """The memory that a process has resident now."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise BenchError(f"process {pid} has ended")


def _sample(milliseconds: list[float], measured: _Measured) -> Sample:
    return Sample(
        percentile(milliseconds, 0.5),
        {
            "p99_ms": percentile(milliseconds, 0.99),
            "longest_ms": max(milliseconds),
            "megabytes_before": measured.megabytes_before,
            "megabytes_after": measured.megabytes_after,
            "peak_megabytes": measured.megabytes_peak,
        },
    )


ROW = Row(
    key="objects",
    title="A custom resource from apply to done",
    unit="ms",
    better="less",
    text=(
        "BalanceAdjustments are made on a real API server (kube-apiserver, etcd without fsync) and timed "
        "from the request until a watch shows `Succeeded`. Rei's operator is the real process with its "
        "own ServiceAccount and no more rights than `k8s/operator` gives; each adjustment is a transfer in "
        "PostgreSQL, an Event and a status. The bare operator is kopf with one handler that writes the "
        "status and does nothing. First all objects are made as fast as the API server takes them (the "
        "time of each has the queue in it), then some more one by one beside those. A round has a "
        "namespace and an operator of its own. The memory is the operator's: before the objects, with "
        "all of them, and the most it had."
    ),
    cases=cases,
)

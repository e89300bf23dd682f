"""Everything that a drill breaks, and what watches over it.

PostgreSQL, Redis, the sandbox, a bot, a worker and the operator are real processes; the operator
works on a real API server, with the recurring resources that a release brings. Prometheus scrapes
all of them and evaluates the chart's rules, a minute become a second; Alertmanager writes to the
person on call, in the sandbox's Telegram.

There is no node: what Kubernetes would start again, the drill starts, once what kept it away is gone.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import httpx

from rei_core.db import Connection
from rei_core.db.address import connect
from rei_core.errors import ReiError
from rei_core.maintenance.resources import API_VERSION, REQUESTED_AT
from rei_core.payments.yookassa import YooKassaClient
from rei_sandbox import alertmanager as alerting
from rei_sandbox import prometheus as scraping
from rei_sandbox.alertmanager import Alertmanager
from rei_sandbox.cluster import shared
from rei_sandbox.cluster.go_programs import CHECKOUT
from rei_sandbox.cluster.kubeconfig import Cluster, Kubectl
from rei_sandbox.demo.person import Person
from rei_sandbox.drill import rules
from rei_sandbox.drill.customers import Customer
from rei_sandbox.programs import Program
from rei_sandbox.prometheus import Prometheus
from rei_sandbox.services import free_port
from rei_sandbox.settings import SandboxSettings
from rei_sandbox.stage import SANDBOX_TOKEN, Stage

Say = Callable[[str], None]

K8S: Final = CHECKOUT / "k8s"
RIGHTS: Final = ("service-account.yaml", "role.yaml", "role-binding.yaml")
ACCOUNT: Final = "rei-operator"
DATABASE: Final = "rei"
LOOK_SECONDS: Final = 0.2
COMMAND_SECONDS_MAX: Final = 120.0
SAID_CHARS_MAX: Final = 2000
SELDOM: Final = 2_678_400
"""A period that does not end while the drill lasts: such a resource runs when it is asked to."""
RESOURCES: Final[dict[str, tuple[str, dict[str, Any]]]] = {
    "StuckJobPolicy": ("rei-stuck-jobs", {"periodSeconds": 10, "timeoutSeconds": 900}),
    "PaymentReconciliation": (
        "rei-payments", {"periodSeconds": SELDOM, "olderThanMinutes": 15, "lookbackDays": 3}
    ),
    "LedgerAudit": ("rei-books", {"periodSeconds": 10}),
}  # fmt: skip
SETTINGS: Final = {
    "REI_SANDBOX_GEMINI_LATENCY_SECONDS": "0.5",
    "REI_SANDBOX_GEMINI_SIDE_PIXELS_MAX": "96",
    "REI_SANDBOX_NOTIFICATION_SPEEDUP": "600",
    "REI_LEASE_SECONDS": "3",
    "REI_CONCURRENCY": "8",
    "REI_POLL_SECONDS": "0.5",
    "REI_RETRY_BASE_SECONDS": "0.5",
    "REI_UPDATES_PER_MINUTE_MAX": "100000",
    "REI_TELEGRAM_MESSAGES_PER_SECOND_MAX": "300",
    "REI_LOG_LEVEL": "WARNING",
}


class CommandFailed(ReiError):
    """A step that a person on call would have typed did not end well; the text holds its output."""


@dataclass(frozen=True)
class System:
    """All of it, up."""

    stage: Stage
    operator: Program
    kubectl: Kubectl
    alertmanager: Alertmanager
    prometheus: Prometheus
    http: httpx.AsyncClient
    """Of the sandbox."""
    provider: YooKassaClient
    waits_seconds: dict[str, float]
    """How long each alert of the chart waits in life."""
    on_call: Person
    """Whom Alertmanager writes to."""
    folder: Path

    @property
    def programs(self) -> list[Program]:
        """What has to run whenever nothing is being broken."""
        return [*self.stage.programs, self.operator]

    @asynccontextmanager
    async def database(self) -> AsyncIterator[Connection]:
        """A connection of its own for each question: the server comes and goes."""
        connection = await connect(self.stage.database_url, timeout_seconds=10)
        try:
            yield connection
        finally:
            await connection.close()

    async def fault(self, service: str, kind: str, *, count: int, operation: str = "*") -> None:
        body = {"service": service, "kind": kind, "count": count, "operation": operation}
        (await self.http.post("/_sandbox/faults", json=body)).raise_for_status()

    async def no_more_faults(self) -> None:
        (await self.http.delete("/_sandbox/faults")).raise_for_status()

    async def run_now(self, kind: str) -> None:
        """As the clock would, or a person with `kubectl annotate`."""
        moment = json.dumps({"metadata": {"annotations": {REQUESTED_AT: _now()}}})
        await self.kubectl("patch", kind, RESOURCES[kind][0], "--type=merge", "-p", moment)

    async def rei(self, *words: str) -> str:
        """`rei …` with the operator's settings, as `kubectl exec` would; what it printed."""
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "rei_core", *words,
            env={**self.operator.environment, "REI_POSTGRES_BIN": str(self.stage.postgres.programs)},
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        try:
            async with asyncio.timeout(COMMAND_SECONDS_MAX):
                said, _ = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        text = said.decode(errors="replace")[-SAID_CHARS_MAX:]
        if process.returncode != 0:
            raise CommandFailed(f"rei {' '.join(words)} ended with {process.returncode}: {text}")
        return text


@asynccontextmanager
async def open_system(folder: Path, *, rules_file: Path, say: Say) -> AsyncIterator[System]:
    """Everything is up inside the block, and gone after it.

    Raises `NoCluster`, `NoPrometheus` or `NoAlertmanager` where one of them is not to be had.
    """
    programs, alertmanager_program = scraping.obtain(), alerting.obtain()
    stage = Stage(folder, durable=False, mode="webhook", database=DATABASE, environment=SETTINGS)
    async with AsyncExitStack() as stack:
        cluster = await _entered(stack, shared.cluster(folder / "cluster", os.environ, say=say))
        say("starting PostgreSQL, Redis, the sandbox, a bot and a worker")
        await _entered(stack, stage.running())
        say("starting the operator, Prometheus and Alertmanager")
        kubectl, operator = await _operator(stack, cluster, stage)
        http = await stack.enter_async_context(
            httpx.AsyncClient(
                base_url=stage.sandbox_url, timeout=30, trust_env=False, follow_redirects=True
            )
        )
        on_call = (await Customer.arrives(http, "On call")).person
        alertmanager = Alertmanager(
            folder / "alertmanager", alertmanager_program,
            telegram_url=stage.sandbox_url, token=SANDBOX_TOKEN, chat_id=on_call.user_id,
        )  # fmt: skip
        shortened = folder / "rules.yaml"
        waits = rules.write(shortened, source=rules_file)
        operator_address = operator.ready_url.removeprefix("http://").partition("/")[0]
        prometheus = Prometheus(
            folder / "prometheus", programs,
            targets=[*stage.metrics_addresses, operator_address], labels={"namespace": "rei"},
            rules=shortened, alertmanager=alertmanager.url,
        )  # fmt: skip
        for server in (alertmanager, prometheus):
            stack.push_async_callback(asyncio.to_thread, server.stop)
            await asyncio.to_thread(server.start)
        provider = _provider(stage)
        stack.push_async_callback(provider.aclose)
        yield System(
            stage,
            operator,
            kubectl,
            alertmanager,
            prometheus,
            http,
            provider,
            waits,
            on_call,
            folder,
        )


async def _operator(
    stack: AsyncExitStack, cluster: Cluster, stage: Stage
) -> tuple[Kubectl, Program]:
    """A namespace with the resources of a release, and the operator that serves it."""
    namespace = f"rei-drill-{uuid.uuid4().hex[:8]}"
    admin = cluster.kubectl()
    await admin("apply", "--server-side", "--force-conflicts", "-k", str(K8S / "crds"))
    await admin("create", "namespace", namespace)
    stack.push_async_callback(admin, "delete", "namespace", namespace, "--wait=false")
    kubectl = cluster.kubectl(namespace=namespace)
    rights = (f"--filename={K8S / 'operator' / name}" for name in RIGHTS)
    await kubectl("apply", "--server-side", *rights)
    for kind, (name, spec) in RESOURCES.items():
        manifest = {
            "apiVersion": API_VERSION,
            "kind": kind,
            "metadata": {"name": name},
            "spec": spec,
        }
        await kubectl("apply", "--server-side", "-f", "-", stdin=json.dumps(manifest))
    port = free_port()
    operator = Program(
        "operator",
        name="operator",
        folder=stage.folder,
        environment={
            **stage.bot.environment,
            "KUBECONFIG": str(await cluster.as_service_account(ACCOUNT, namespace=namespace)),
            "REI_NAMESPACE": namespace,
            "REI_OPERATOR_HOST": "127.0.0.1",
            "REI_OPERATOR_PORT": str(port),
            "REI_QUEUE_METRICS_SECONDS": "0.5",
        },
        ready_url=f"http://127.0.0.1:{port}/readyz",
    )
    stack.push_async_callback(asyncio.to_thread, operator.stop)
    await asyncio.to_thread(operator.start)
    return kubectl, operator


async def _entered(stack: AsyncExitStack, manager: Any) -> Any:
    """Enter a context manager that blocks, beside a loop that goes on."""
    entered = await asyncio.to_thread(manager.__enter__)
    stack.push_async_callback(asyncio.to_thread, manager.__exit__, None, None, None)
    return entered


def _provider(stage: Stage) -> YooKassaClient:
    settings = SandboxSettings()
    return YooKassaClient(
        shop_id=settings.yookassa_shop_id,
        secret_key=settings.yookassa_secret_key,
        base_url=f"{stage.sandbox_url}/yookassa/v3",
    )


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

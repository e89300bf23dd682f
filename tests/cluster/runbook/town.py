"""What the runbook's blocks are run in: an installed release, an operator that works, and customers.

The API server, the release on it, the operator, its Jobs' work and PostgreSQL are real; the outside
world is the sandbox. The namespace is the test's own: where a block says `-n rei` it is put there.
"""

from __future__ import annotations

import asyncio
import os
import re
import stat
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from rei_sandbox.cluster.go_programs import CHECKOUT
from rei_sandbox.cluster.helm import CHART, Helm
from rei_sandbox.cluster.programs import obtain_helm
from rei_sandbox.stage import SANDBOX_TOKEN

from ..operator.process import OperatorProcess
from ..operator.stage import Stage
from ..operator.stories import a_payment_nobody_told_us_of, a_stuck_job
from .pages import Block
from .programs import __file__ as PROGRAMS  # noqa: N812 - a constant here

NAMESPACE = re.compile(r"-n rei\b")
DATABASE = "confirmDatabase: rei\n"
CUSTOMER = 123456789
"""The one of the pages' examples."""
BACKUP = "rei-daily-20270131030000"
"""The pages' example of a name from the list."""
BLOCK_SECONDS_MAX = 120.0
TAKE_OVER = ("--take-ownership", "--force-conflicts")
VALUES = (
    f"--values={CHART / 'values-minimal.yaml'}",
    "--set=credentials.existingSecret=rei-credentials",
    # The kinds are there already, and belong to whoever tests beside us.
    "--set=crds.install=false",
)


@dataclass(frozen=True)
class Town:
    """A release, and a terminal beside it."""

    stage: Stage
    operator: OperatorProcess
    environment: dict[str, str]
    folder: Path
    pasted: set[tuple[str, str]] = field(default_factory=set)
    """Blocks that have been run, and ended well: their info string and text."""

    async def paste(self, block: Block) -> tuple[int, str]:
        """Exit status and output of a block of bash, as from a checkout of the repository."""
        text = NAMESPACE.sub(f"-n {self.stage.namespace}", block.text)
        text = text.replace(DATABASE, f"confirmDatabase: {self.stage.database}\n")
        process = await asyncio.create_subprocess_exec(
            "bash", "-euo", "pipefail", "-c", text, cwd=CHECKOUT,
            env={**self.environment, "RUNBOOK_POD": "1" if block.info == "bash pod" else "0"},
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        try:
            async with asyncio.timeout(BLOCK_SECONDS_MAX):
                said, _ = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        assert process.returncode is not None
        return process.returncode, said.decode()


@asynccontextmanager
async def open_town(
    stage: Stage, *, redis_url: str, say: Callable[[str], None]
) -> AsyncIterator[Town]:
    """The release is installed, the default maintenance is there, and the operator is at work."""
    helm_program = await asyncio.to_thread(obtain_helm, say=say)
    helm = Helm(
        helm_program, stage.folder / "helm",
        kubeconfig=stage.cluster.kubeconfig, namespace=stage.namespace,
    )  # fmt: skip
    # The stage has made the operator's rights already: the release takes them over.
    words = ("rei", str(CHART), *VALUES, "--no-hooks")
    await asyncio.to_thread(helm, "install", *words, *TAKE_OVER)
    await asyncio.to_thread(helm, "upgrade", *words)  # a second revision, to go back from
    await _default_maintenance(stage, helm)
    await _pods(stage)
    async with stage.operator() as operator:
        await operator.ready()
        await _history(stage)
        yield Town(stage, operator, _terminal(stage, helm, redis_url), stage.folder)


async def _default_maintenance(stage: Stage, helm: Helm) -> None:
    """What the release's last hook applies, whose pod there is none of here."""
    objects = await asyncio.to_thread(helm.render, *VALUES)
    (held,) = (one for one in objects if one["metadata"]["name"] == "rei-maintenance"
               and one["kind"] == "ConfigMap")  # fmt: skip
    for document in yaml.safe_load_all(held["data"]["maintenance.yaml"]):
        if document:
            await stage.apply(document["kind"], document["metadata"]["name"], document["spec"])


async def _pods(stage: Stage) -> None:
    """One of each Deployment that says it is ready: commands find it, and go no further."""
    for part in ("bot", "worker", "operator"):
        name = f"rei-{part}"
        template = (await stage.get("Deployment", name))["spec"]["template"]
        container = {"name": part, "image": "rei"}
        await stage.api.create(
            "Pod",
            {
                "metadata": {"name": f"{name}-0", "labels": template["metadata"]["labels"]},
                "spec": {"containers": [container]},
            },
        )
        ready = {"conditions": [{"type": "Ready", "status": "True"}]}
        await stage.api.patch("Pod", f"{name}-0", {"status": ready}, subresource="status")


async def _history(stage: Stage) -> None:
    """What there is to look at and to mend: a customer, money, a job, a payment, a backup."""
    await stage.customer(CUSTOMER, kopecks=10_000)
    await a_payment_nobody_told_us_of(stage, CUSTOMER + 1)
    await a_stuck_job(stage, CUSTOMER + 2)
    await stage.customer(CUSTOMER + 3)
    await stage.apply("UserBan", "spammer", {"userID": CUSTOMER + 3, "reason": "resells"})
    storage = {"volume": {"claimName": "rei-backups"}}
    await stage.apply("Backup", BACKUP, {"storage": storage, "verification": "Restore"})
    await stage.condition("Backup", BACKUP, "Succeeded", "True", "BackupVerified")


def _terminal(stage: Stage, helm: Helm, redis_url: str) -> dict[str, str]:
    """The environment of the person on call, and that of the pods for what is run in them."""
    folder = stage.folder / "bin"
    folder.mkdir()
    for name in ("kubectl", "helm"):
        program = folder / name
        program.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{PROGRAMS}" {name} "$@"\n')
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
    settings = stage.sandbox.sandbox.settings
    return {
        "PATH": f"{folder}:{Path(sys.executable).parent}:{os.environ['PATH']}",
        "HOME": str(stage.folder),
        "LANG": "C.UTF-8",
        "KUBECONFIG": str(stage.cluster.kubeconfig),
        "KUBECACHEDIR": str(stage.cluster.folder / "kubectl-cache"),
        "REAL_KUBECTL": str(stage.cluster.kubectl_program),
        "REAL_HELM": str(helm.program),
        "HELM_CACHE_HOME": str(helm.home / "cache"),
        "HELM_CONFIG_HOME": str(helm.home / "config"),
        "HELM_DATA_HOME": str(helm.home / "data"),
        **stage.settings(),
        "REI_REDIS_URL": redis_url,
        "BOT_TOKEN": SANDBOX_TOKEN,
        "REI_TELEGRAM_API_URL": stage.sandbox.url,
        "GEMINI_API_KEY": settings.gemini_api_key,
        "GEMINI_BASE_URL": f"{stage.sandbox.url}/gemini",
    }

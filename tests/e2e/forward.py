"""A way from here to a Service of the cluster, as a person would make one: kubectl port-forward."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from rei_sandbox.cluster.kubeconfig import Kubectl
from rei_sandbox.services import free_port

OPEN_SECONDS_MAX = 60.0
AGAIN_SECONDS = 0.5


@contextlib.asynccontextmanager
async def forwarded(kubectl: Kubectl, target: str, port: int) -> AsyncIterator[int]:
    """A port on loopback that leads to `target`, such as "service/sandbox"; made again when it breaks.

    It does break: with the pod that it leads to, and with the kubelet that it leads through.
    """
    local, is_open = free_port(), asyncio.Event()
    keeping = asyncio.create_task(_keep(kubectl, target, f"{local}:{port}", is_open))
    try:
        async with asyncio.timeout(OPEN_SECONDS_MAX):
            await is_open.wait()
        yield local
    finally:
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)


async def _keep(kubectl: Kubectl, target: str, ports: str, is_open: asyncio.Event) -> None:
    while True:
        process = await asyncio.create_subprocess_exec(
            kubectl.program, f"--kubeconfig={kubectl.kubeconfig}",
            f"--namespace={kubectl.namespace}", "port-forward", target, ports,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        try:
            assert process.stdout is not None
            async for line in process.stdout:
                if line.startswith(b"Forwarding from"):
                    is_open.set()
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
        await asyncio.sleep(AGAIN_SECONDS)

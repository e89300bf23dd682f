"""A kubelet for the Jobs' pods: it runs their command as a process of this machine.

The Job controller is the real one: it makes the pods, and judges by their exit codes. There are no
nodes, so what a kubelet does is done here: a pod's environment is put together from its manifest
and the Secrets that this names, and from nothing else; its volumes are folders; how it ended is
written into its status. A pod that is deleted is ended, by SIGTERM and after a while by kill -9.

What is not like a node's: there is no image and no root of its own. Where a mount's path occurs in
the environment, the folder behind it is put there.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import os
import re
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rei_operator.manifests import MANAGED_BY, MANAGER

from .api import Api, ApiRefused, Json
from .process import bare_environment

LOOK_SECONDS = 0.2
GRACE_SECONDS = 5.0
MESSAGE_CHARS = 2048
"""A kubelet's: so much of the log's end becomes the message of a container that failed."""
BEGINS = ("Pending", "")
ENDED = ("Succeeded", "Failed")
CarryOut = Callable[[list[str], dict[str, str], Path], Awaitable[int]]


class NotThere(Exception):
    """A Secret or a key of one that the pod needs: a kubelet waits for it."""


@dataclass(frozen=True, slots=True)
class Mount:
    """A folder of this machine, and where the container has it."""

    path: str
    folder: Path


class Kubelet:
    """Runs pods. `claims` holds a folder for each PersistentVolumeClaim that a pod names."""

    def __init__(self, api: Api, *, folder: Path) -> None:
        self._api = api
        self._folder = folder
        self._claims = folder / "claims"
        self._claims.mkdir(parents=True)
        self._pods: dict[str, asyncio.Task[None]] = {}
        self.carry_out: CarryOut = _carried_out
        """Runs a command; a test that runs many may know a faster way."""
        self._begins = asyncio.Event()
        self._begins.set()
        self.exit_codes: dict[str, list[int]] = {}
        """How the pods of each Job ended, in order."""

    def claim(self, name: str) -> Path:
        """The folder behind a PersistentVolumeClaim."""
        folder = self._claims / name
        folder.mkdir(exist_ok=True)
        return folder

    def hold(self) -> None:
        """Begin no pod from now on, as if there were no room on any node."""
        self._begins.clear()

    def go_on(self) -> None:
        self._begins.set()

    def logs(self) -> dict[str, str]:
        """What the pods have written, by their names."""
        return {path.stem: path.read_text(errors="replace") for path in self._log_files()}

    def _log_files(self) -> list[Path]:
        return sorted(self._folder.glob("*.log"))

    async def run(self) -> None:
        """Look after the pods until cancelled; then all of them are ended."""
        try:
            while True:
                with contextlib.suppress(ApiRefused):  # the API server is away
                    await self._look()
                await asyncio.sleep(LOOK_SECONDS)
        finally:
            await self._end(list(self._pods))

    async def _look(self) -> None:
        listed = await self._api.every("Pod", labels=f"{MANAGED_BY}={MANAGER}")
        there = {pod["metadata"]["name"]: pod for pod in listed}
        deleted = {name for name, pod in there.items() if pod["metadata"].get("deletionTimestamp")}
        await self._end([name for name in self._pods if name not in there or name in deleted])
        for name in deleted:
            await self._tell_deleted(there[name])
        for name, pod in there.items():
            phase = pod.get("status", {}).get("phase", "")
            new = name not in self._pods and name not in deleted and phase in BEGINS
            if new and self._begins.is_set():
                self._pods[name] = asyncio.create_task(self._run(pod), name=f"pod {name}")

    async def _tell_deleted(self, pod: Json) -> None:
        """A pod that is deleted before its end has failed. Until somebody says so, the Job
        controller keeps it, and with it the namespace."""
        if pod.get("status", {}).get("phase", "") not in ENDED:
            ended = {"exitCode": 128 + signal.SIGKILL, "reason": "Error", "finishedAt": _now()}
            await self._tell(pod, "Failed", {"terminated": ended})

    async def _end(self, names: list[str]) -> None:
        tasks = [self._pods.pop(name) for name in names]
        for task in tasks:
            task.cancel()
        for result in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(result, Exception):
                raise result

    async def _run(self, pod: Json) -> None:
        name = pod["metadata"]["name"]
        (container,) = pod["spec"]["containers"]
        try:
            environment = await self._environment(pod, container)
        except (NotThere, ApiRefused) as missing:
            await self._tell(pod, "Pending", {"waiting": _waiting(str(missing))})
            self._pods.pop(name)  # it is tried again at the next look
            return
        began = _now()
        await self._tell(pod, "Running", {"running": {"startedAt": began}})
        log = self._folder / f"{name}.log"
        code = await self.carry_out(container["args"], environment, log)
        job = pod["metadata"]["labels"]["batch.kubernetes.io/job-name"]
        self.exit_codes.setdefault(job, []).append(code)
        ended = {"exitCode": code, "startedAt": began, "finishedAt": _now()}
        ended["reason"] = "Error" if code else "Completed"
        if code:
            ended["message"] = log.read_text(errors="replace")[-MESSAGE_CHARS:]
        await self._tell(pod, "Failed" if code else "Succeeded", {"terminated": ended})

    async def _tell(self, pod: Json, phase: str, state: Json) -> None:
        (container,) = pod["spec"]["containers"]
        told = {
            "name": container["name"], "image": container["image"], "imageID": "",
            "ready": False, "restartCount": 0, "state": state,
        }  # fmt: skip
        status = {"phase": phase, "startTime": _now(), "containerStatuses": [told]}
        with contextlib.suppress(ApiRefused):  # it may have been deleted meanwhile
            await self._api.patch(
                "Pod", pod["metadata"]["name"], {"status": status}, subresource="status"
            )

    async def _environment(self, pod: Json, container: Json) -> dict[str, str]:
        """All variables of a container, later ones over earlier ones, as a kubelet makes them."""
        found: dict[str, str] = {}
        for source in container.get("envFrom", ()):
            found |= await self._secret(source["secretRef"]["name"])
        for variable in container.get("env", ()):
            value = await self._value(variable)
            if value is not None:
                found[variable["name"]] = value
        mounts = [mount async for mount in self._mounts(pod, container)]
        own = self._folder / f"{pod['metadata']['name']}.tmp"
        own.mkdir(exist_ok=True)
        inside = {name: _inside(value, mounts) for name, value in found.items()}
        return {**bare_environment(), "TMPDIR": str(own), **inside}

    async def _value(self, variable: Json) -> str | None:
        if "valueFrom" not in variable:
            return str(variable["value"])
        reference = variable["valueFrom"]["secretKeyRef"]
        try:
            values = await self._secret(reference["name"])
        except NotThere:
            values = {}
        value = values.get(reference["key"])
        if value is None and not reference.get("optional"):
            raise NotThere(f"couldn't find key {reference['key']} in Secret {reference['name']}")
        return value

    async def _secret(self, name: str) -> dict[str, str]:
        found = await self._api.get("Secret", name)
        if found is None:
            raise NotThere(f'secret "{name}" not found')
        data: dict[str, str] = found.get("data") or {}
        return {key: base64.b64decode(value).decode() for key, value in data.items()}

    async def _mounts(self, pod: Json, container: Json) -> AsyncIterator[Mount]:
        volumes: dict[str, Any] = {one["name"]: one for one in pod["spec"].get("volumes", ())}
        for mount in container.get("volumeMounts", ()):
            volume = volumes[mount["name"]]
            if claim := volume.get("persistentVolumeClaim"):
                yield Mount(mount["mountPath"], self.claim(claim["claimName"]))
            elif secret := volume.get("secret"):
                folder = self._folder / f"{pod['metadata']['name']}.{mount['name']}"
                await self._project(secret, folder)
                yield Mount(mount["mountPath"], folder)

    async def _project(self, secret: Json, folder: Path) -> None:
        """The keys of a Secret as files."""
        values = await self._secret(secret["secretName"])
        folder.mkdir(exist_ok=True, mode=0o700)
        for item in secret["items"]:
            if item["key"] not in values:
                raise NotThere(f"references non-existent secret key: {item['key']}")
            (folder / item["path"]).write_text(values[item["key"]], encoding="utf-8")


def _inside(value: str, mounts: list[Mount]) -> str:
    """The value with each mounted path replaced by the folder that it stands for."""
    for mount in mounts:
        # Not where it is a part of a longer path, such as that of another folder.
        path = rf'(?<![\w./-]){re.escape(mount.path)}(?=[/"]|$)'
        value = re.sub(path, str(mount.folder).replace("\\", r"\\"), value)
    return value


async def _carried_out(command: list[str], environment: dict[str, str], log: Path) -> int:
    """Run a container's command; its exit code, as a container runtime would tell it."""
    assert command[0] == "rei", command
    with log.open("ab") as output:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "rei_core", *command[1:],
            env=environment, cwd="/", start_new_session=True,
            stdin=asyncio.subprocess.DEVNULL, stdout=output, stderr=output,
        )  # fmt: skip
    try:
        code = await process.wait()
    finally:
        if process.returncode is None:
            await _ended(process)
    return code if code >= 0 else 128 - code


async def _ended(process: asyncio.subprocess.Process) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(GRACE_SECONDS):
                await process.wait()
                return


def _waiting(message: str) -> Json:
    return {"reason": "CreateContainerConfigError", "message": message}


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@asynccontextmanager
async def at_work(api: Api, *, folder: Path) -> AsyncIterator[Kubelet]:
    """A kubelet for the length of the block; no process of its pods is left after it."""
    kubelet = Kubelet(api, folder=folder)
    task = asyncio.create_task(kubelet.run(), name="kubelet")
    try:
        yield kubelet
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task

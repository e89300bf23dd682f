"""How to reach a cluster: as its admin, or as a ServiceAccount with nothing but its own rights."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from rei_sandbox.cluster.certificates import Pair, write_private
from rei_sandbox.cluster.errors import KubectlRefused

COMMAND_SECONDS_MAX: Final = 240.0
TOKEN_SECONDS: Final = 7200
SAID_CHARS_MAX: Final = 4000


@dataclass(frozen=True, slots=True)
class Kubectl:
    """`await kubectl("get", "pods")`: the real one, as the user that the kubeconfig names."""

    program: Path
    kubeconfig: Path
    cache: Path
    """Of this cluster alone: another one, at the same port before, may have had other kinds."""
    namespace: str = "default"
    """Empty: that of each object, where a manifest has several."""

    async def __call__(self, *words: str, stdin: str | None = None) -> str:
        """What it printed; raises `KubectlRefused`."""
        options = [f"--kubeconfig={self.kubeconfig}", f"--cache-dir={self.cache}"]
        if self.namespace:
            options.append(f"--namespace={self.namespace}")
        process = await asyncio.create_subprocess_exec(
            self.program, *options, *words,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        # What a Secret is made of is nobody's to read in an error's text.
        command = " ".join(word for word in words if not word.startswith("--from-literal"))
        try:
            async with asyncio.timeout(COMMAND_SECONDS_MAX):
                said, refused = await process.communicate((stdin or "").encode())
        except TimeoutError:
            text = f"not done after {COMMAND_SECONDS_MAX:.0f} s"
            raise KubectlRefused(command, exit_status=None, said=text) from None
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if process.returncode != 0:
            text = refused.decode(errors="replace").strip()[-SAID_CHARS_MAX:]
            raise KubectlRefused(command, exit_status=process.returncode, said=text)
        return said.decode()

    async def json(self, *words: str) -> dict[str, Any]:
        """What it printed with `--output=json`."""
        answer: dict[str, Any] = json.loads(await self(*words, "--output=json"))
        return answer


@dataclass(frozen=True, slots=True)
class Cluster:
    """An API server that answers, and its admin's means to talk to it."""

    kubeconfig: Path
    kubectl_program: Path
    folder: Path
    """For what belongs to it: kubectl's cache, kubeconfigs of ServiceAccounts."""
    ours: bool = field(kw_only=True)
    """Whether we started it; to a given one we owe more care."""

    def kubectl(self, *, namespace: str = "default", kubeconfig: Path | None = None) -> Kubectl:
        """kubectl in a namespace, as the admin or as whom another kubeconfig names."""
        return Kubectl(
            program=self.kubectl_program,
            kubeconfig=kubeconfig or self.kubeconfig,
            cache=self.folder / "kubectl-cache",
            namespace=namespace,
        )

    async def as_service_account(self, name: str, *, namespace: str) -> Path:
        """A kubeconfig with a token from the TokenRequest API: only what RBAC grants to it."""
        kubectl = self.kubectl(namespace=namespace)
        token = await kubectl("create", "token", name, f"--duration={TOKEN_SECONDS}s")
        # --flatten: a given kubeconfig may name its authority by a path that only holds there.
        given = await kubectl.json("config", "view", "--raw", "--minify", "--flatten")
        path = self.folder / f"{namespace}.{name}.kubeconfig"
        cluster = given["clusters"][0]["cluster"]
        write(path, _document(cluster, user={"token": token.strip()}, namespace=namespace))
        return path


def write(path: Path, document: Mapping[str, Any]) -> None:
    """Write a kubeconfig that only its owner can read, whole or not at all (JSON is YAML too)."""
    write_private(path, json.dumps(document, indent=2).encode())


def of_client(*, server: str, authority: Path, client: Pair) -> dict[str, Any]:
    """A kubeconfig for whom the certificate names."""
    user = {"client-certificate": str(client.certificate), "client-key": str(client.key)}
    cluster = {"server": server, "certificate-authority": str(authority)}
    return _document(cluster, user=user, namespace="default")


def _document(
    cluster: Mapping[str, Any], *, user: Mapping[str, Any], namespace: str
) -> dict[str, Any]:
    context = {"cluster": "rei", "user": "rei", "namespace": namespace}
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "rei", "cluster": dict(cluster)}],
        "users": [{"name": "rei", "user": dict(user)}],
        "contexts": [{"name": "rei", "context": context}],
        "current-context": "rei",
    }

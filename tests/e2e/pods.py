"""Pods as Rei's are, each with one command."""

from __future__ import annotations

import json
from typing import Any

from rei_sandbox.cluster.errors import KubectlRefused
from rei_sandbox.cluster.images import image_of
from rei_sandbox.cluster.kubeconfig import Kubectl

END_SECONDS_MAX = 90
SERVE = "import http.server as h; h.test(h.SimpleHTTPRequestHandler, port=8000)"
"""What a pod with it does until it is ended; further words in its command line do no harm."""


def pod(name: str, part: str, *command: str, token: bool = False) -> dict[str, Any]:
    """A pod as Rei's are, that runs `command` once."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"run": name}},
        "spec": {
            "restartPolicy": "Never",
            "automountServiceAccountToken": token,
            "securityContext": {
                "runAsNonRoot": True,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [
                {
                    "name": part,
                    "image": image_of(part),
                    "imagePullPolicy": "IfNotPresent",
                    "args": list(command),
                    "ports": [{"containerPort": 8000}],
                    "securityContext": {
                        "allowPrivilegeEscalation": False,
                        "capabilities": {"drop": ["ALL"]},
                        "readOnlyRootFilesystem": True,
                    },
                    "readinessProbe": {"tcpSocket": {"port": 8000}, "periodSeconds": 1},
                    "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],
                }
            ],
            "volumes": [{"name": "tmp", "emptyDir": {}}],
        },
    }


async def create(kubectl: Kubectl, document: dict[str, Any]) -> None:
    await kubectl("create", "-f", "-", stdin=json.dumps(document))


async def output(kubectl: Kubectl, name: str) -> str:
    """What a pod has said, once it has ended well."""
    try:
        wanted = "--for=jsonpath={.status.phase}=Succeeded"
        await kubectl("wait", wanted, f"pod/{name}", f"--timeout={END_SECONDS_MAX}s")
    except KubectlRefused as error:
        state = await kubectl("describe", "pod", name)
        raise AssertionError(f"{error}\n{state}") from None
    return (await kubectl("logs", name)).strip()


async def ready(kubectl: Kubectl, name: str) -> None:
    await kubectl("wait", "--for=condition=Ready", f"pod/{name}", f"--timeout={END_SECONDS_MAX}s")

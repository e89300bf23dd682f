"""Running `rei` where the database is: in a pod of a part of the release."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any, Final, Literal

from rei_core.errors import ReiError
from rei_core.kubectl.client import Kubectl

Json = dict[str, Any]
Part = Literal["operator", "bot", "worker"]

SELECTOR: Final = "app.kubernetes.io/part-of=rei"
COMPONENT: Final = "app.kubernetes.io/component"
APP: Final = "app.kubernetes.io/name"


class NoPod(ReiError):
    """No pod of that part is ready to run a command."""

    def __init__(self, part: Part) -> None:
        self.part = part
        super().__init__(
            f"no pod of Rei's {part} is ready in this namespace: "
            f"kubectl get pods -l {SELECTOR}; is it the right one (-n)?"
        )


def pod_of(pods: Sequence[Json], part: Part) -> str:
    """The name of a pod of the part that is ready; raises `NoPod`."""
    ready = sorted(
        pod["metadata"]["name"] for pod in pods if _is_part(pod, part) and _is_ready(pod)
    )
    if not ready:
        raise NoPod(part)
    return str(ready[0])


def _is_part(pod: Json, part: Part) -> bool:
    # The chart tells parts by component, the plain manifests by name.
    labels: dict[str, str] = pod["metadata"].get("labels", {})
    return labels.get(COMPONENT) == part or labels.get(APP) == f"rei-{part}"


def _is_ready(pod: Json) -> bool:
    if "deletionTimestamp" in pod["metadata"]:
        return False
    conditions = pod.get("status", {}).get("conditions", [])
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)


def exec_words(pod: str, part: Part, words: Sequence[str], *, terminal: bool) -> list[str]:
    """kubectl's words for `rei WORDS` in the pod; with a terminal its width and colours count."""
    return [
        "exec",
        *(["--stdin", "--tty"] if terminal else []),
        f"pod/{pod}",
        f"--container={part}",
        "--",
        "rei",
        *words,
    ]


def find(kubectl: Kubectl, part: Part) -> str:
    """A pod of the part."""
    return pod_of(kubectl.json("get", "pods", f"--selector={SELECTOR}")["items"], part)


def run_through(kubectl: Kubectl, words: Sequence[str], *, part: Part = "operator") -> int:
    """`rei WORDS` in a pod, on the caller's terminal; its exit status."""
    terminal = sys.stdin.isatty() and sys.stdout.isatty()
    return kubectl.through(*exec_words(find(kubectl, part), part, words, terminal=terminal))


def run_text(
    kubectl: Kubectl, words: Sequence[str], *, part: Part = "operator", any_status: bool = False
) -> str:
    """The same, and what it printed; raises `KubectlFailed`, with `any_status` only if it printed
    nothing."""
    command = exec_words(find(kubectl, part), part, words, terminal=False)
    return kubectl.text(*command, any_status=any_status)

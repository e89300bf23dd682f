"""Stands before kubectl and helm in the PATH where the runbook's blocks are run.

    python programs.py kubectl -n rei exec deploy/rei-operator -- rei audit

The real program does all that needs no pod. There is no node here, so of a block that is marked
`bash pod`

- `kubectl exec` and `kubectl logs` go as far as to the pod: that the words are right and what they
  name is there, the real kubectl says. Then the words of `exec` are carried out on this machine,
  with the environment of the pod.
- `kubectl rollout status` goes as far as to the Deployment.
- `helm upgrade` and `helm rollback` are dry runs by the API server: their hooks are pods.

What else would need a pod fails.
"""

from __future__ import annotations

import os
import subprocess
import sys

NO_PODS = (
    "timed out waiting for the condition",
    "does not have a host assigned",
    "unable to find any pods",
    "no pods found",
    "No resources found",
)


def main(program: str, words: list[str]) -> int:
    real = os.environ[f"REAL_{program.upper()}"]
    if os.environ["RUNBOOK_POD"] != "1":
        return _run([real, *words])
    if program == "helm":
        dry = ["--dry-run=server"] if {"upgrade", "rollback"} & set(words) else []
        return _run([real, *words, *dry])
    own, _, inside = _split(words)
    if "exec" in own or "logs" in own:
        short = "--pod-running-timeout=1s"
        code = _until_the_pod([real, *own, short, *(["--", *inside] if inside else [])])
        return code or (_carry_out(inside) if inside else 0)
    if own[-2:] and "rollout" in own and "status" in own:
        return _until_the_pod([real, *own, "--timeout=1s"])
    return _run([real, *words])


def _split(words: list[str]) -> tuple[list[str], str, list[str]]:
    if "--" not in words:
        return words, "", []
    at = words.index("--")
    return words[:at], "--", words[at + 1 :]


def _run(command: list[str]) -> int:
    return subprocess.run(command, check=False).returncode


def _until_the_pod(command: list[str]) -> int:
    """0 if all that was missing is the pod."""
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    said = done.stdout + done.stderr
    if done.returncode == 0 or any(text in said for text in NO_PODS):
        return 0
    sys.stderr.write(said)
    return done.returncode


def _carry_out(words: list[str]) -> int:
    assert words[0] == "rei", f"the pod has no {words[0]}"
    return _run([sys.executable, "-m", "rei_core", *words[1:]])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))

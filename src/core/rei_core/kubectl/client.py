"""kubectl, called as a program. No library reads kubeconfigs, plug-ins and proxies as it does."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from rei_core.errors import ReiError

Json = dict[str, Any]

PROGRAM_VARIABLE: Final = "KUBECTL"
SAID_CHARS_MAX: Final = 2_000
ALREADY_EXISTS: Final = "AlreadyExists"
NOT_FOUND: Final = "NotFound"


class KubectlFailed(ReiError):
    """kubectl, or the API server behind it, said no; `said` is what it said."""

    def __init__(self, words: Sequence[str], said: str) -> None:
        self.said = said.strip()[-SAID_CHARS_MAX:]
        super().__init__(f"kubectl {words[0]}: {self.said}")

    def means(self, reason: str) -> bool:
        """Whether the API server gave this reason: kubectl writes it in brackets."""
        return f"({reason})" in self.said


class Kubectl(Protocol):
    """What is asked of kubectl."""

    def json(self, *words: str, stdin: Json | None = None) -> Json:
        """What it prints with `--output=json`; raises `KubectlFailed`."""
        ...

    def text(self, *words: str, any_status: bool = False) -> str:
        """What it prints; raises `KubectlFailed`. With `any_status` a failure that has printed
        something is an answer."""
        ...

    def through(self, *words: str) -> int:
        """Let it have the terminal; its exit status."""
        ...


@dataclass(frozen=True, slots=True)
class Program:
    """The real one. `options` choose cluster and namespace, as the caller gave them."""

    options: tuple[str, ...] = ()

    def json(self, *words: str, stdin: Json | None = None) -> Json:
        """See `Kubectl`."""
        given = None if stdin is None else json.dumps(stdin)
        answer: Json = json.loads(self._run((*words, "--output=json"), stdin=given))
        return answer

    def text(self, *words: str, any_status: bool = False) -> str:
        """See `Kubectl`."""
        return self._run(words, stdin=None, any_status=any_status)

    def through(self, *words: str) -> int:
        """See `Kubectl`."""
        return self._started(words, capture=False, stdin=None).returncode

    def _run(self, words: Sequence[str], *, stdin: str | None, any_status: bool = False) -> str:
        ended = self._started(words, capture=True, stdin=stdin)
        if ended.returncode != 0 and not (any_status and ended.stdout):
            raise KubectlFailed(words, ended.stderr)
        return ended.stdout

    def _started(
        self, words: Sequence[str], *, capture: bool, stdin: str | None
    ) -> subprocess.CompletedProcess[str]:
        program = os.environ.get(PROGRAM_VARIABLE, "kubectl")
        # kubectl's own options go first: after exec's `--` they would be the pod's.
        command = [program, *self.options, *words]
        try:
            return subprocess.run(  # noqa: S603 - the caller's kubectl, with words of our own
                command, capture_output=capture, text=True, check=False, input=stdin
            )
        except OSError as error:
            raise KubectlFailed(
                words, f"{program} cannot be run ({error.strerror}): is it on the PATH?"
            ) from None

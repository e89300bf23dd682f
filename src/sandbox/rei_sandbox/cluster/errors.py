"""What goes wrong with a cluster of our own.

NoCluster           there is no cluster to be had here; the text says what would help
└── BuildFailed         a program did not get built; the text holds the end of what go said
KubectlRefused      kubectl, or the API server that it asked, said no
ServiceError        a server did not start (rei_sandbox.services)
"""

from __future__ import annotations

from rei_core.errors import ReiError


class NoCluster(ReiError):
    """Nothing that a cluster could be made of is obtainable on this machine."""


class BuildFailed(NoCluster):
    """`go build` ended otherwise than well."""

    def __init__(self, program: str, problem: str, log: str) -> None:
        self.program = program
        super().__init__(f"{program} was not built: {problem}\n{log}")


class KubectlRefused(ReiError):
    """kubectl ended otherwise than well; `said` is its standard error."""

    def __init__(self, command: str, *, exit_status: int | None, said: str) -> None:
        self.exit_status = exit_status
        self.said = said
        super().__init__(f"kubectl {command}: {said}")

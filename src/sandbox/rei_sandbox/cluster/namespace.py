"""A network namespace for one node, and the wire that leads into it.

Everything of a node that has an address is in there: its servers, its pods, its iptables. So nothing
of the machine's own network is touched, and the end of the namespace is the end of all of it.
"""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rei_sandbox.services import ServiceError

COMMAND_SECONDS_MAX: Final = 30.0
NAMESPACES: Final = Path("/run/netns")  # where `ip netns` keeps them


@dataclass(frozen=True, slots=True)
class NetworkNamespace:
    """`inside` is its address, `outside` this machine's at the other end of the wire."""

    name: str
    inside: str
    outside: str
    prefix_length: int = 24

    @property
    def enter(self) -> tuple[str, ...]:
        """The words before a command that start it in there.

        Not `ip netns exec`, which mounts /sys anew and so hides the cgroups.
        """
        return ("nsenter", f"--net={NAMESPACES / self.name}")

    def create(self) -> None:
        """Raises `ServiceError`, and then leaves nothing."""
        wire_in, wire_out = self._wire
        commands = (
            f"netns add {self.name}",
            f"link add {wire_out} type veth peer name {wire_in} netns {self.name}",
            f"addr add {self.outside}/{self.prefix_length} dev {wire_out}",
            f"link set {wire_out} up",
            f"-n {self.name} addr add {self.inside}/{self.prefix_length} dev {wire_in}",
            f"-n {self.name} link set {wire_in} up",
            f"-n {self.name} link set lo up",
            # Nothing lies behind it; kubelet and kube-proxy look for a default route all the same.
            f"-n {self.name} route add default via {self.outside}",
        )
        try:
            for command in commands:
                _run("ip", *command.split())
            _run(*self.enter, "sysctl", "-qw", "net.ipv4.ip_forward=1")
        except BaseException:
            self.remove()
            raise

    def remove(self) -> None:
        """Safe where there is none. The wire goes by name: a process may still hold the rest."""
        for command in (f"link delete {self._wire[1]}", f"netns delete {self.name}"):
            subprocess.run(
                ["ip", *command.split()], check=False, capture_output=True,
                timeout=COMMAND_SECONDS_MAX,
            )  # fmt: skip

    @property
    def _wire(self) -> tuple[str, str]:
        return f"{self.name}-in", f"{self.name}-out"


def _run(*command: str) -> None:
    done = subprocess.run(
        command, check=False, capture_output=True, text=True, timeout=COMMAND_SECONDS_MAX
    )
    if done.returncode != 0:
        raise ServiceError(" ".join(command), f"exit {done.returncode}", done.stderr.strip())

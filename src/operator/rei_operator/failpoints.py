"""Places where the operator can be told to die, one between every two side effects of every kind.

How they are named in the environment, and what happens there, says `rei_core.failpoints`. Tests kill
the operator at each of them, start it again, and compare the end with that of one that lived.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Final

from rei_core.failpoints import VARIABLE, Failpoint, end_process

_RUN: Final = ("run-begun", "run-worked", "run", "event", "status")
_PLACES: Final[dict[str, tuple[str, ...]]] = {
    "StuckJobPolicy": _RUN,
    "PaymentReconciliation": _RUN,
    "JobRetentionPolicy": _RUN,
    "LedgerAudit": _RUN,
    "BackupSchedule": (*_RUN, "create", "delete"),
    "Backup": ("create", "event", "status", "delete"),
    "Restore": ("run-begun", "run-worked", "run", "create", "scale", "event", "status", "delete"),
    "BalanceAdjustment": ("adjust", "event", "status"),
    "UserBan": ("put-ban", "lift-ban", "event", "status"),
}
FAILPOINTS: Final = frozenset(
    f"{kind}:{place}" for kind, places in _PLACES.items() for place in places
)
"""Every name; a place is reached right *after* what it is called after has been done."""


class Failpoints:
    """Reaches places; dies at the one that is named."""

    def __init__(
        self, fatal: str | None = None, *, die: Callable[[str], None] = end_process
    ) -> None:
        self._fatal = Failpoint(fatal, places=FAILPOINTS, die=die)

    def reach(self, kind: str, place: str) -> None:
        """This place of this kind is reached."""
        name = f"{kind}:{place}"
        self.reached(name)
        self._fatal.reach(name)

    def reached(self, name: str) -> None:
        """For tests that watch which places are reached."""

    @classmethod
    def of_environment(cls) -> Failpoints:
        """As the environment says."""
        return cls(os.environ.get(VARIABLE) or None)

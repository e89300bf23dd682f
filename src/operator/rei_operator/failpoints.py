"""Places where the operator can be told to die, one between every two side effects of every kind.

`REI_FAILPOINT=<name>` ends the process there as `kill -9` would: no handler, no flush. Tests kill
it at each of them, start it again, and compare the end with that of an operator that lived. Without
the variable a place costs one comparison of strings.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Final

VARIABLE: Final = "REI_FAILPOINT"
EXIT_CODE: Final = 137

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


def _die(name: str) -> None:
    del name
    os._exit(EXIT_CODE)


class Failpoints:
    """Reaches places; dies at the one that is named."""

    def __init__(self, fatal: str | None = None, *, die: Callable[[str], None] = _die) -> None:
        if fatal is not None and fatal not in FAILPOINTS:
            raise ValueError(f"{VARIABLE}: there is no failpoint {fatal!r}")
        self._fatal = fatal
        self._die = die

    def reach(self, kind: str, place: str) -> None:
        """This place of this kind is reached."""
        name = f"{kind}:{place}"
        assert name in FAILPOINTS, name
        self.reached(name)
        if name == self._fatal:
            self._die(name)

    def reached(self, name: str) -> None:
        """For tests that watch which places are reached."""

    @classmethod
    def of_environment(cls) -> Failpoints:
        """As the environment says."""
        return cls(os.environ.get(VARIABLE) or None)

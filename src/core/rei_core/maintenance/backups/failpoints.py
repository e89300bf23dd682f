"""The places where taking, verifying, restoring and deleting backups can be told to die.

They lie between every two things that outlive the process: an object in the storage, a database
made, marked, renamed or dropped, a row. A process arms them once, from its environment.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import Final

from rei_core.failpoints import Failpoint

PLACES: Final = frozenset(
    {
        "run-begun",
        "run-ended",
        # Taking a backup
        "chunk-stored",
        "dumped",
        "manifest-stored",
        "verification-stored",
        # A database beside the living one
        "scratch-created",
        "scratch-marked",
        "scratch-dropped",
        "database-created",
        "database-marked",
        "loaded",
        "examined",
        # In its place: the three before "swapped" are inside of one transaction
        "numbering-carried",
        "renamed-aside",
        "renamed-in",
        "marked",
        "swapped",
        "payments-carried",
        # Deleting
        "intent-stored",
        "object-deleted",
        "backup-deleted",
    }
)
"""Each is reached right after what it is called after has been done."""

_armed: ContextVar[Failpoint | None] = ContextVar("failpoint", default=None)


def arm(text: str | None) -> None:
    """Let this process die there; raises `ValueError` if there is no such place."""
    _armed.set(Failpoint(text, places=PLACES))


def reach(place: str) -> None:
    """This place is reached."""
    failpoint = _armed.get()
    if failpoint is not None:
        failpoint.reach(place)

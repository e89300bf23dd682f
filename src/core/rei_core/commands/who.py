"""Who sits at the terminal, for the trail."""

from __future__ import annotations

import getpass
import os
import socket

from rei_core.trail.model import Actor


def person(via: str, *, by: str | None = None) -> Actor:
    """The person that `by` names, else the one whom the system knows: `anna@laptop`.

    Nobody proves it: whoever may write to the database may say anything. It is for finding each
    other, not for finding thieves.
    """
    return Actor(by or f"{_user()}@{socket.gethostname()}", via)


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user has a number and no name
        return str(os.getuid())

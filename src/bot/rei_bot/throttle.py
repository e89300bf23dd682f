"""How many updates a customer may send in a minute, counted over all pods.

Dangers: throttling drops what a customer has sent, so only the first attempt at an update counts;
repeats of a failed one are our fault, not theirs. With Redis away the limiter counts in each
process alone: a customer may then be faster, and is never stopped for nothing.
"""

from __future__ import annotations

import enum

from limits import RateLimitItemPerMinute

from rei_core.rates import SharedLimiter


class Verdict(enum.Enum):
    """What to do with an update of a customer."""

    PASS = enum.auto()
    WARN = enum.auto()
    """Too many: say so, once in a minute."""
    DROP = enum.auto()
    """Too many, and it has been said."""


class Throttle:
    """Judges customers by the number of their updates."""

    def __init__(self, limiter: SharedLimiter, *, updates_per_minute_max: int) -> None:
        self._limiter = limiter
        self._updates = RateLimitItemPerMinute(updates_per_minute_max)
        self._warnings = RateLimitItemPerMinute(1)

    async def judge(self, user_id: int) -> Verdict:
        """Count an update of this customer."""
        if await self._limiter.hit(self._updates, "updates", str(user_id)):
            return Verdict.PASS
        if await self._limiter.hit(self._warnings, "warnings", str(user_id)):
            return Verdict.WARN
        return Verdict.DROP

"""The image provider's calls per minute, shared by all workers.

With Redis away each worker counts for itself; the provider then answers 429, and the job is
retried when it says so.
"""

from __future__ import annotations

from limits import RateLimitItemPerMinute

from rei_core.rates import SharedLimiter


class SharedRate:
    """Permits to call the provider."""

    def __init__(self, redis_url: str, *, calls_per_minute_max: int) -> None:
        self._limiter = SharedLimiter(redis_url, name="images")
        self._limit = RateLimitItemPerMinute(calls_per_minute_max, namespace="calls")

    async def acquire(self, deadline_seconds: float) -> bool:
        """Wait for a permit; False if there is none within the deadline."""
        return await self._limiter.wait(self._limit, deadline_seconds=deadline_seconds)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._limiter.aclose()

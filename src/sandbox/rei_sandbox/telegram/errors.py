"""Refusals with the descriptions of the real Bot API, which programs match on."""

from __future__ import annotations

import math
from typing import Any

from rei_core.errors import ReiError


class BotApiError(ReiError):
    """A method is refused: `error_code` is the HTTP status too."""

    def __init__(
        self, error_code: int, description: str, *, retry_after_seconds: float | None = None
    ) -> None:
        self.error_code = error_code
        self.description = description
        self.retry_after_seconds = retry_after_seconds
        super().__init__(f"{error_code}: {description}")

    def body(self) -> dict[str, Any]:
        """The JSON answer, with `parameters.retry_after` in whole seconds for a 429."""
        answer: dict[str, Any] = {
            "ok": False,
            "error_code": self.error_code,
            "description": self.description,
        }
        if self.retry_after_seconds is not None:
            answer["parameters"] = {"retry_after": whole_seconds(self.retry_after_seconds)}
        return answer


def whole_seconds(seconds: float) -> int:
    """Telegram counts waits in whole seconds, at least one."""
    return max(1, math.ceil(seconds))


def bad_request(problem: str) -> BotApiError:
    return BotApiError(400, f"Bad Request: {problem}")


def conflict(problem: str) -> BotApiError:
    return BotApiError(409, f"Conflict: {problem}")


def too_many_requests(retry_after_seconds: float) -> BotApiError:
    return BotApiError(
        429,
        f"Too Many Requests: retry after {whole_seconds(retry_after_seconds)}",
        retry_after_seconds=retry_after_seconds,
    )


def blocked_by_user() -> BotApiError:
    return BotApiError(403, "Forbidden: bot was blocked by the user")

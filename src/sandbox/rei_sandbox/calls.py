"""What the stand-ins were asked, and how it ended: counted for ever, the last ones in full.

Tests and the chat page read it to see that a picture was made once, or a payment asked for twice.
Credentials are never recorded.
"""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

KEPT_MAX: Final = 1000
DETAIL_LENGTH_MAX: Final = 300


@dataclass(frozen=True)
class Call:
    """One request. `outcome` is `ok`, an error's code, or `fault:KIND`."""

    at: datetime
    service: str
    operation: str
    outcome: str
    subject: str = ""
    detail: str = ""


class Calls:
    """The record of all requests to the stand-ins."""

    def __init__(self) -> None:
        self._counts: Counter[tuple[str, str, str]] = Counter()
        self._last: deque[Call] = deque(maxlen=KEPT_MAX)

    def record(
        self, service: str, operation: str, outcome: str, *, subject: str = "", detail: str = ""
    ) -> None:
        """Note one request; `detail` is cut to 300 characters."""
        self._counts[service, operation, outcome] += 1
        self._last.append(
            Call(
                at=datetime.now(UTC),
                service=service,
                operation=operation,
                outcome=outcome,
                subject=subject,
                detail=detail[:DETAIL_LENGTH_MAX],
            )
        )

    def counts(self) -> dict[str, dict[str, dict[str, int]]]:
        """Numbers by service, operation and outcome."""
        tree: dict[str, dict[str, dict[str, int]]] = {}
        for (service, operation, outcome), number in sorted(self._counts.items()):
            tree.setdefault(service, {}).setdefault(operation, {})[outcome] = number
        return tree

    def last(self, service: str = "") -> list[Call]:
        """The last thousand requests (of one service), oldest first."""
        return [call for call in self._last if service in ("", call.service)]

    def clear(self) -> None:
        """Forget everything."""
        self._counts.clear()
        self._last.clear()

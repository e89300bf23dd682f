"""Lists of payments and refunds: filtered, newest first, page by page.

A cursor names the last object shown, not a number of objects, so that nothing is shown twice or
left out when new objects come in between two pages.
"""

from __future__ import annotations

import operator
from datetime import UTC, datetime
from typing import Final, TypeVar

from rei_sandbox.yookassa.model import Payment, Refund, moment
from rei_sandbox.yookassa.requests import ListQuery

Kind = TypeVar("Kind", Payment, Refund)

_COMPARE: Final = {"gte": operator.ge, "gt": operator.gt, "lte": operator.le, "lt": operator.lt}


def page(items: list[Kind], query: ListQuery) -> tuple[list[Kind], str]:
    """One page, newest first, and the cursor of the next ("" if this is the last)."""
    ordered = sorted(
        (item for item in items if _matches(item, query)),
        key=lambda item: (item.created_at, item.id),
        reverse=True,
    )
    if query.cursor:
        ordered = [item for item in ordered if _cursor(item) < query.cursor]
    shown = ordered[: query.limit]
    return shown, _cursor(shown[-1]) if len(ordered) > query.limit else ""


def _cursor(item: Payment | Refund) -> str:
    # Sorts as (created_at, id) does.
    return f"{item.created_at.astimezone(UTC):%Y%m%d%H%M%S%f}_{item.id}"


def _matches(item: Payment | Refund, query: ListQuery) -> bool:
    status = item.status if isinstance(item, Payment) else "succeeded"
    if query.status and status != query.status:
        return False
    if query.payment_id and isinstance(item, Refund) and item.payment_id != query.payment_id:
        return False
    # The API shows milliseconds: what it has shown must be found again by the same text.
    at = datetime.fromisoformat(moment(item.created_at.astimezone(UTC)))
    return all(_COMPARE[sign](at, bound) for sign, bound in query.bounds)

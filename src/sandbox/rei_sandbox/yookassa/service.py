"""The shop, its notifications and the faults between them, put together."""

from __future__ import annotations

import asyncio
import dataclasses
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from rei_sandbox.calls import Calls
from rei_sandbox.faults import Faults, Order
from rei_sandbox.settings import SandboxSettings
from rei_sandbox.yookassa.model import Payment, Refund, payment_json, refund_json
from rei_sandbox.yookassa.notifications import Notifier
from rei_sandbox.yookassa.store import Clock, Shop

EXPIRY_LOOK_SECONDS: Final = 1.0


class YooKassa:
    """One YooKassa with one shop."""

    def __init__(
        self,
        *,
        settings: SandboxSettings,
        faults: Faults,
        calls: Calls,
        now: Clock = lambda: datetime.now(UTC),
    ) -> None:
        self.settings = settings
        self.faults = faults
        self.calls = calls
        self.notifier = Notifier(
            url=settings.notification_url,
            speedup=settings.notification_speedup,
            timeout_seconds=settings.notification_timeout_seconds,
            faults=faults,
            calls=calls,
        )
        self.shop = Shop(
            announce=self._announced,
            now=now,
            lifetime=timedelta(seconds=settings.payment_lifetime_seconds),
        )
        self._now = now
        faults.listen(self._ordered)

    async def keep_expiring(self) -> None:
        """Cancel what expired, once a second, so that its notification comes unasked."""
        while True:
            self.shop.expire()
            await asyncio.sleep(EXPIRY_LOOK_SECONDS)

    def shown(self, item: Payment | Refund, *, public_url: str = "") -> dict[str, Any]:
        """The JSON of a payment or a refund."""
        if isinstance(item, Refund):
            return refund_json(item)
        base = public_url or self.settings.public_url or ""
        return payment_json(item, public_url=base, shop_id=self.settings.yookassa_shop_id)

    def forge_if_ordered(self) -> None:
        """Send a forged success of the newest unpaid payment for each such fault that waits.

        With no unpaid payment the fault goes on waiting for one.
        """
        pending = [one for one in self.shop.payments.values() if one.status == "pending"]
        for payment in reversed(pending):
            while fault := self.faults.take(
                "yookassa", "notification", subject=payment.id, kinds=("forged",)
            ):
                now = self._now()
                lie = dataclasses.replace(payment, status="succeeded", paid_at=now, captured_at=now)
                self.notifier.forge(self.shown(lie), delay_seconds=fault.delay_seconds)

    def _announced(self, event: str, item: Payment | Refund) -> None:
        self.notifier.send(event, self.shown(item))

    def _ordered(self, order: Order) -> None:
        if order.kind == "forged":
            self.forge_if_ordered()

"""The receipt (54-FZ) that goes with a top-up, and with its refund the same."""

from __future__ import annotations

from rei_core.payments.port import Receipt
from rei_core.settings import YooKassaSettings
from rei_core.texts import Texts


def receipt_of(settings: YooKassaSettings) -> Receipt | None:
    """What the tax office is told; None where no receipts are configured."""
    if settings.receipt_email is None:
        return None
    return Receipt(
        customer_email=settings.receipt_email,
        item_description=Texts("ru").plain("Balance top-up"),
        vat_code=settings.receipt_vat_code,
        tax_system_code=settings.receipt_tax_system_code,
    )

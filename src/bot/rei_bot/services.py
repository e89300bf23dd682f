"""What the handlers work with, built once in `main` and passed down."""

from __future__ import annotations

from dataclasses import dataclass

from rei_bot.metrics import Metrics
from rei_core.catalog import Catalog
from rei_core.db import Pool
from rei_core.jobs.doorbell import Doorbell
from rei_core.payments.port import PaymentProvider
from rei_core.payments.service import TopUpTerms
from rei_core.settings import BotSettings


@dataclass(frozen=True, slots=True)
class Services:
    """The bot's outside: database, catalogue, payment provider, doorbell, and who counts."""

    settings: BotSettings
    pool: Pool
    catalog: Catalog
    payments: PaymentProvider
    doorbell: Doorbell
    topup_terms: TopUpTerms
    metrics: Metrics

"""Every setting of the sandbox, from the environment (`REI_SANDBOX_*`), read once at its start.

The credentials are test ones and open nothing: the stand-ins refuse all others, so a process
that sends a real key here by mistake is told so by the same error the real service gives.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from rei_core.settings import Url


class SandboxSettings(BaseSettings):
    """The stand-ins for Telegram, YooKassa and Gemini, in one process."""

    model_config = SettingsConfigDict(env_prefix="REI_SANDBOX_", frozen=True, extra="ignore")

    host: Annotated[str, Field(description="Address to listen on; loopback only by default")] = (
        "127.0.0.1"
    )
    port: Annotated[int, Field(ge=0, le=65535, description="Port to listen on")] = 8090
    public_url: Annotated[
        Url | None,
        Field(description="How a browser reaches the sandbox; from the request if unset"),
    ] = None

    telegram_bot_token: Annotated[
        str, Field(description="The one bot token that is let in; if empty, any well-formed one")
    ] = ""
    telegram_messages_max: Annotated[
        int,
        Field(ge=0, description="Messages and edits to one chat in 10 s, then 429; 0: no limit"),
    ] = 0

    yookassa_shop_id: Annotated[str, Field(description="The one shop id that is let in")] = "100500"
    yookassa_secret_key: Annotated[str, Field(description="The one secret key that is let in")] = (
        "test_sandbox_secret_key"  # noqa: S105  # a test credential of a stand-in
    )
    yookassa_receipts_required: Annotated[
        bool, Field(description="Refuse payments and refunds without a 54-FZ receipt")
    ] = False
    payment_lifetime_seconds: Annotated[
        float, Field(gt=0, description="An unpaid payment is canceled after this; really 1 h")
    ] = 3600
    notification_url: Annotated[Url, Field(description="Where notifications are sent")] = (
        "http://127.0.0.1:8080/webhook/yookassa"
    )
    notification_speedup: Annotated[
        float,
        Field(gt=0, description="Retries of notifications run this much faster than real ones"),
    ] = 60
    notification_timeout_seconds: Annotated[
        float, Field(gt=0, description="A notification not answered in this time is retried")
    ] = 10

    gemini_api_key: Annotated[str, Field(description="The one API key that is let in")] = (
        "sandbox-gemini-key"
    )
    gemini_latency_seconds: Annotated[
        float, Field(ge=0, description="How long a flash picture takes; a pro one takes twice that")
    ] = 1.5
    gemini_side_pixels_max: Annotated[
        int, Field(ge=16, description="Pictures are drawn no larger than this, for load tests")
    ] = 8192
    seed: Annotated[int, Field(description="Seed of the jitter, so that runs repeat")] = 1

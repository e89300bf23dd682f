"""What `rei doctor` and `rei preflight` try: each service, by a question that changes nothing.

A check returns what it found, or raises; `run_checks` makes a finding of either.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

import httpx
from redis.asyncio import Redis

from rei_core.admin.judging import Finding, Verdict
from rei_core.catalog import load_catalog
from rei_core.db.address import connect
from rei_core.db.migrate import schema_state
from rei_core.errors import ImageProviderError, PaymentOutcomeUnknown, ReiError
from rei_core.images.gemini import GeminiClient
from rei_core.logs import masked_text
from rei_core.payments.yookassa import YooKassaClient
from rei_core.settings import (
    TELEGRAM_PATH,
    CatalogSettings,
    CoreSettings,
    GeminiSettings,
    ReceivingSettings,
    RedisSettings,
    TelegramSettings,
    YooKassaSettings,
    load,
)

CHECK_SECONDS_MAX: Final = 15.0
DETAIL_LENGTH_MAX: Final = 300
REDIS_VERSION_MIN: Final = (6, 2)

LAST_ERROR_SECONDS: Final = 900.0
PENDING_UPDATES_MAX: Final = 100


@dataclass(frozen=True, slots=True)
class Check:
    """A question, and what to do when the answer is not the one that is needed."""

    name: str
    ask: Callable[[], Awaitable[str]]
    remedy: str


async def run_checks(checks: Sequence[Check]) -> list[Finding]:
    """All of them at once; in their order."""
    return list(await asyncio.gather(*(_run(check) for check in checks)))


async def _run(check: Check) -> Finding:
    try:
        async with asyncio.timeout(CHECK_SECONDS_MAX):
            return Finding(check.name, Verdict.OK, await check.ask())
    except CheckDoubtful as doubt:
        return Finding(check.name, Verdict.WARN, str(doubt), check.remedy)
    except CheckFailed as failure:
        return Finding(check.name, Verdict.FAIL, str(failure), failure.remedy or check.remedy)
    except TimeoutError:
        detail = f"no answer in {CHECK_SECONDS_MAX:.0f} s"
    except ReiError as error:
        detail = str(error)
    except Exception as error:  # a doctor who faints helps nobody
        detail = masked_text(f"{type(error).__name__}: {error}")[:DETAIL_LENGTH_MAX]
    return Finding(check.name, Verdict.FAIL, detail, check.remedy)


class CheckFailed(ReiError):
    """A check that got no answer, or not the one we need; `remedy` if it knows a better one than the
    check's own."""

    def __init__(self, problem: str, *, remedy: str = "") -> None:
        self.remedy = remedy
        super().__init__(problem)


def out_of_reach(url: str) -> str:
    """What to do when nobody answers there: a key is not to blame."""
    return (
        f"Can this machine reach {urlsplit(url).netloc}? "
        "Look at DNS, proxy, firewall and network policies"
    )


class CheckDoubtful(ReiError):
    """A check that got an answer with which things still work, and that somebody should look at."""


async def check_database() -> str:
    """The server's version and the schema's revision."""
    url = load(CoreSettings).database_url.get_secret_value()
    connection = await connect(url, timeout_seconds=CHECK_SECONDS_MAX)
    try:
        version = connection.get_server_version()
    finally:
        await connection.close()
    schema = await schema_state(url)
    if not schema.up_to_date:
        raise CheckFailed(f"schema is at {schema.current or 'nothing'}, {schema.head} is wanted")
    return f"PostgreSQL {version.major}.{version.minor}, schema {schema.current}"


async def check_redis() -> str:
    """The server's version and eviction policy."""
    redis = Redis.from_url(
        load(RedisSettings).redis_url.get_secret_value(), socket_timeout=5, socket_connect_timeout=5
    )
    try:
        info: dict[str, Any] = await redis.info()
    finally:
        await redis.aclose()
    version = str(info["redis_version"])
    if tuple(int(part) for part in version.split(".")[:2]) < REDIS_VERSION_MIN:
        raise CheckFailed(f"Redis {version} is too old, 6.2 or newer is needed")
    policy = info.get("maxmemory_policy", "noeviction")
    return f"Redis {version}, eviction policy {policy} (any will do: Redis holds no truth here)"


async def check_telegram() -> str:
    """The bot's name."""
    me = await _ask_telegram(load(TelegramSettings), "getMe")
    return f"@{me.get('username')}"


async def check_webhook() -> str:
    """Whether updates reach us, as Telegram sees it."""
    settings = load(ReceivingSettings)
    info = await _ask_telegram(settings, "getWebhookInfo")
    url, waiting = info.get("url", ""), info.get("pending_update_count", 0)
    if settings.mode == "polling":
        if url:
            raise CheckFailed(f"REI_MODE is polling, and Telegram brings updates to {url}")
        return f"none, as polling wants it; {waiting} updates wait"
    wanted = f"{(settings.public_url or '').rstrip('/')}{TELEGRAM_PATH}"
    if url != wanted:
        raise CheckFailed(f"Telegram brings updates to {url or 'nowhere'}, and not to {wanted}")
    if time.time() - info.get("last_error_date", 0) < LAST_ERROR_SECONDS:
        said = str(info.get("last_error_message", "?"))[:DETAIL_LENGTH_MAX]
        raise CheckDoubtful(f"Telegram could not bring an update lately: {said}")
    if waiting > PENDING_UPDATES_MAX:
        raise CheckDoubtful(f"{waiting} updates wait at Telegram")
    return f"{url}, {waiting} updates wait"


async def _ask_telegram(settings: TelegramSettings, method: str) -> dict[str, Any]:
    token = settings.bot_token.get_secret_value()
    async with httpx.AsyncClient(timeout=CHECK_SECONDS_MAX) as client:
        try:
            answer = await client.get(f"{settings.telegram_api_url}/bot{token}/{method}")
            body = answer.json()
        except ValueError as error:
            raise CheckFailed(f"the answer to {method} is not Telegram's") from error
        except httpx.HTTPError as error:  # its text may hold the URL, and that the token
            raise CheckFailed(
                f"{method} failed: {type(error).__name__}",
                remedy=out_of_reach(settings.telegram_api_url),
            ) from None
    if not isinstance(body, dict) or not body.get("ok"):
        reason = body.get("description", "?") if isinstance(body, dict) else "?"
        raise CheckFailed(f"{method} refused: {reason}")
    result: dict[str, Any] = body["result"]
    return result


async def check_yookassa() -> str:
    """The shop's account."""
    settings = load(YooKassaSettings)
    client = YooKassaClient(
        shop_id=settings.yookassa_shop_id,
        secret_key=settings.yookassa_secret_key.get_secret_value(),
        base_url=settings.yookassa_api_url,
    )
    try:
        return f"shop {await client.check_credentials()}"
    except PaymentOutcomeUnknown as error:
        if error.http_status is not None:
            raise
        raise CheckFailed(str(error), remedy=out_of_reach(settings.yookassa_api_url)) from None
    finally:
        await client.aclose()


async def check_gemini() -> str:
    """Every model of the catalogue."""
    settings = load(GeminiSettings)
    models = [model.id for model in load_catalog(load(CatalogSettings).catalog_file).models]
    client = GeminiClient(
        api_key=settings.gemini_api_key.get_secret_value(), base_url=settings.gemini_base_url
    )
    try:
        for model in models:
            await client.probe(model)
    except ImageProviderError as error:
        if error.http_status is not None:
            raise
        raise CheckFailed(str(error), remedy=out_of_reach(settings.gemini_base_url)) from None
    finally:
        await client.aclose()
    return f"models {', '.join(models)}"

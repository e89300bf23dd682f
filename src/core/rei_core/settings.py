"""Every setting of every process, from the environment, read once in `main` and passed down.

A process reads only its own class, so a worker needs no YooKassa key and a bot no Gemini key.
Secrets are `SecretStr`: they do not show in reprs, logs or errors.
"""

from __future__ import annotations

import json
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Literal, TypeVar
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from rei_core.addresses import LOOKS_LIKE, is_web_address
from rei_core.errors import ConfigurationError

Rubles = Annotated[int, Field(ge=1, le=350_000)]
"""Of one payment: what YooKassa takes by card."""
TelegramId = Annotated[int, Field(ge=1, le=2**53 - 1)]
TELEGRAM_PATH = "/webhook/telegram"
"""Below `public_url`: where Telegram brings updates."""
ESCAPES = "in the password / # ? @ are written %2F %23 %3F %40"
METRICS_PORT = "Port of health and metrics, for our own network only; 0: none"


ObjectName = Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$")]
"""What Kubernetes takes as the name of an object."""


def _from_json(value: object) -> object:
    # Not left to pydantic-settings, whose own error is none of a setting's and ends the program.
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        raise ValueError("is no JSON list") from None


def _networks(texts: tuple[str, ...]) -> tuple[str, ...]:
    for number, text in enumerate(texts, start=1):
        try:
            ip_network(text, strict=False)
        except ValueError:  # its own words quote what was written, which may be anything
            raise ValueError(f"number {number} of the list is no network") from None
    return texts


def _web_address(url: str) -> str:
    if not is_web_address(url):
        raise ValueError(f"is no address. {LOOKS_LIKE}")
    return url


Url = Annotated[str, AfterValidator(_web_address)]


def _database_address(url: SecretStr) -> SecretStr:
    try:
        parts = urlsplit(url.get_secret_value())
        one_host = "," not in parts.netloc  # several, each with a port, make no port for urlsplit
        known = parts.scheme in {"postgresql", "postgres"} and not (one_host and parts.port == 0)
    except ValueError:
        known = False
    if not known:
        raise ValueError(f"is no address of a database; {ESCAPES}")
    return url


def _redis_address(url: SecretStr) -> SecretStr:
    # Not left to the clients, whose errors quote what they stumble over: with a / in a password
    # that is the password.
    try:
        parts = urlsplit(url.get_secret_value())
        known = parts.scheme in {"redis", "rediss", "unix"} and parts.port != 0
    except ValueError:
        known = False
    if not known:
        raise ValueError(f"is no address of a Redis; {ESCAPES}")
    return url


class RedisSettings(BaseSettings):
    """The way to Redis."""

    model_config = SettingsConfigDict(env_prefix="REI_", frozen=True, extra="ignore")

    redis_url: Annotated[
        SecretStr,
        AfterValidator(_redis_address),
        Field(description="Redis: redis://:password@host:6379/0"),
    ] = SecretStr("redis://127.0.0.1:6379/0")


class CatalogSettings(BaseSettings):
    """What is for sale."""

    model_config = SettingsConfigDict(env_prefix="REI_", frozen=True, extra="ignore")

    catalog_file: Annotated[
        Path | None,
        Field(description="Models, prices, ratios, sizes (TOML); the bundled one if unset"),
    ] = None


class LogSettings(BaseSettings):
    """What is logged, and how."""

    model_config = SettingsConfigDict(env_prefix="REI_", frozen=True, extra="ignore")

    log_level: Annotated[
        Literal["DEBUG", "INFO", "WARNING", "ERROR"], Field(description="How much is logged")
    ] = "INFO"
    log_levels_dir: Annotated[
        Path | None,
        Field(description="Levels that change while it runs, a file for each (`rei log-level`)"),
    ] = None
    log_format: Annotated[
        Literal["json", "console"], Field(description="json for collectors, console for people")
    ] = "json"


class CoreSettings(RedisSettings, CatalogSettings, LogSettings):
    """What every process needs."""

    model_config = SettingsConfigDict(env_prefix="REI_", frozen=True, extra="ignore")

    database_url: Annotated[
        SecretStr,
        Field(min_length=1, description="PostgreSQL: postgresql://user:password@host/db"),
        AfterValidator(_database_address),
    ]
    database_pool_size_max: Annotated[
        int, Field(ge=2, le=200, description="Connections to PostgreSQL of one process")
    ] = 10
    active_jobs_max: Annotated[
        int, Field(ge=1, le=1000, description="Unfinished jobs one customer may have")
    ] = 3
    job_attempts_max: Annotated[
        int, Field(ge=1, le=20, description="Attempts at a job before it is failed and refunded")
    ] = 4
    job_deadline_seconds: Annotated[
        float,
        Field(gt=0, le=604_800, description="A job still queued after this is failed and refunded"),
    ] = 3600


class TelegramSettings(BaseSettings):
    """The way to Telegram."""

    model_config = SettingsConfigDict(env_prefix="REI_", frozen=True, extra="ignore")

    bot_token: Annotated[
        SecretStr,
        Field(
            validation_alias="BOT_TOKEN",
            min_length=1,
            description="The bot's token from @BotFather",
        ),
    ]
    telegram_api_url: Annotated[
        Url, Field(description="Telegram's Bot API, or a local server or the sandbox")
    ] = "https://api.telegram.org"


class ReceivingSettings(TelegramSettings):
    """How Telegram's updates come to us."""

    mode: Annotated[
        Literal["polling", "webhook"],
        Field(description="polling for one node, webhook for a cluster"),
    ] = "polling"
    public_url: Annotated[
        Url | None,
        Field(description="How Telegram reaches us (webhook mode): https://bot.example.com"),
    ] = None


def no_token() -> ConfigurationError:
    """BOT_TOKEN is no bot's token, which aiogram finds out; its own words are not passed on."""
    return ConfigurationError(
        "BOT_TOKEN",
        "does not look like a bot's token",
        "It is two parts with a colon between them; @BotFather shows it under /mybots",
    )


class YooKassaSettings(BaseSettings):
    """The way to YooKassa, and 54-FZ receipts."""

    model_config = SettingsConfigDict(env_prefix="REI_", frozen=True, extra="ignore")

    yookassa_shop_id: Annotated[
        str, Field(validation_alias="YOOKASSA_SHOP_ID", min_length=1, description="The shop's id")
    ]
    yookassa_secret_key: Annotated[
        SecretStr,
        Field(
            validation_alias="YOOKASSA_SECRET_KEY",
            min_length=1,
            description="The shop's secret key",
        ),
    ]
    yookassa_api_url: Annotated[
        Url,
        Field(validation_alias="YOOKASSA_API_URL", description="YooKassa's API, or the sandbox's"),
    ] = "https://api.yookassa.ru/v3"
    yookassa_return_url: Annotated[
        Url,
        Field(validation_alias="YOOKASSA_RETURN_URL", description="Where the payer comes back to"),
    ] = "https://t.me/"
    yookassa_check_sender: Annotated[
        bool,
        Field(
            validation_alias="YOOKASSA_CHECK_SENDER",
            description="Take notifications only from YooKassa's addresses (the truth is fetched anyway)",
        ),
    ] = False
    trusted_proxies: Annotated[
        tuple[str, ...],
        NoDecode,
        BeforeValidator(_from_json),
        AfterValidator(_networks),
        Field(description="Networks of our own proxies, as a JSON list of CIDRs"),
    ] = ()
    receipt_email: Annotated[
        str | None, Field(description="Receipts (54-FZ) go here; none are sent if unset")
    ] = None
    receipt_vat_code: Annotated[int, Field(ge=1, le=12, description="VAT code of receipts")] = 1
    receipt_tax_system_code: Annotated[
        int | None, Field(ge=1, le=6, description="Tax system code of receipts")
    ] = None


class GeminiSettings(BaseSettings):
    """The way to Gemini."""

    model_config = SettingsConfigDict(env_prefix="REI_", frozen=True, extra="ignore")

    gemini_api_key: Annotated[
        SecretStr,
        Field(validation_alias="GEMINI_API_KEY", min_length=1, description="The API key"),
    ]
    gemini_base_url: Annotated[
        Url, Field(validation_alias="GEMINI_BASE_URL", description="Gemini's API, or the sandbox's")
    ] = "https://generativelanguage.googleapis.com"
    gemini_timeout_seconds: Annotated[
        float, Field(gt=0, le=900, description="A call that takes longer is given up")
    ] = 180


class ServerSettings(BaseSettings):
    """Where a process listens."""

    model_config = SettingsConfigDict(env_prefix="REI_", frozen=True, extra="ignore")

    host: Annotated[str, Field(description="Address that is listened on")] = "0.0.0.0"  # noqa: S104


class BotSettings(CoreSettings, ServerSettings, ReceivingSettings, YooKassaSettings):
    """The bot's process."""

    port: Annotated[
        int, Field(ge=1, le=65535, description="Port of webhooks: what the world may reach")
    ] = 8080
    # Worker, bot and operator have defaults of their own, so that all start on one machine.
    metrics_port: Annotated[int, Field(ge=0, le=65535, description=METRICS_PORT)] = 8082
    webhook_secret: Annotated[
        SecretStr | None,
        Field(description="Shared with Telegram (webhook mode), 1-256 of A-Za-z0-9_-"),
    ] = None
    admin_ids: Annotated[
        tuple[TelegramId, ...],
        NoDecode,
        BeforeValidator(_from_json),
        Field(max_length=50, description="Telegram ids of who may use /admin, as a JSON list"),
    ] = ()
    updates_per_minute_max: Annotated[
        int,
        Field(
            ge=1,
            le=1_000_000,
            description="Updates one customer may send in a minute, over all pods",
        ),
    ] = 60
    topup_min_rubles: Annotated[Rubles, Field(description="Smallest top-up")] = 50
    topup_max_rubles: Annotated[Rubles, Field(description="Largest top-up")] = 100_000
    topup_choices_rubles: Annotated[
        tuple[Rubles, ...],
        NoDecode,
        BeforeValidator(_from_json),
        Field(max_length=20, description="Amounts on the buttons, as a JSON list"),
    ] = (200, 500, 1000, 3000)
    support_contact: Annotated[
        str, Field(max_length=200, description="Shown by /support")
    ] = "@your_support"  # fmt: skip


class WorkerSettings(CoreSettings, ServerSettings, TelegramSettings, GeminiSettings):
    """The worker's process."""

    concurrency: Annotated[
        int, Field(ge=1, le=2000, description="Jobs at a time in this process")
    ] = 8
    lease_seconds: Annotated[
        float, Field(ge=1, le=3600, description="A worker silent for this long has lost its jobs")
    ] = 30
    poll_seconds: Annotated[
        float, Field(gt=0, le=600, description="How often the queue is looked at without a ring")
    ] = 1
    provider_concurrency_max: Annotated[
        int, Field(ge=1, le=1_000_000, description="Calls at a time of all workers together")
    ] = 64
    provider_calls_per_minute_max: Annotated[
        int, Field(ge=1, le=1_000_000, description="Calls in a minute of all workers together")
    ] = 600
    circuit_failures_max: Annotated[
        int, Field(ge=1, le=1_000_000, description="Failures in a row that stop taking orders")
    ] = 8
    circuit_probe_seconds: Annotated[
        float,
        Field(
            gt=0, le=3600, description="How often a stopped provider is asked whether it is back"
        ),
    ] = 15
    retry_base_seconds: Annotated[
        float,
        Field(gt=0, le=3600, description="Delay before the second attempt; doubles with each"),
    ] = 2
    telegram_messages_per_second_max: Annotated[
        int,
        Field(
            ge=1,
            le=1000,
            description="Messages a second of all workers together; Telegram takes 30 unless paid",
        ),
    ] = 25
    delivery_attempts_max: Annotated[
        int, Field(ge=1, le=1_000_000, description="Attempts at a delivery")
    ] = 30
    drain_seconds: Annotated[
        float,
        Field(gt=0, le=86_400, description="After SIGTERM: how long running jobs may take to end"),
    ] = 240
    metrics_port: Annotated[int, Field(ge=0, le=65535, description=METRICS_PORT)] = 8081


class OperatorSettings(CoreSettings, YooKassaSettings):
    """The operator's process."""

    namespace: Annotated[
        ObjectName | None,
        Field(description="The namespace whose resources are served; all of them if unset"),
    ] = None
    operator_port: Annotated[
        int, Field(ge=0, le=65535, description="Health and metrics; 0: none")
    ] = 8083
    operator_host: Annotated[
        str, Field(description="Address that health and metrics listen on")
    ] = "0.0.0.0"  # noqa: S104 - the kubelet and Prometheus come from outside the pod
    reconciles_max: Annotated[
        int, Field(ge=1, le=100, description="Resources worked on at a time")
    ] = 8
    resync_seconds: Annotated[
        float,
        Field(ge=1, le=86_400, description="How often everything is listed and looked at anyway"),
    ] = 300
    queue_metrics_seconds: Annotated[
        float, Field(ge=0.1, le=600, description="How often the queue is counted for /metrics")
    ] = 1
    worker_pods: Annotated[
        str,
        Field(
            max_length=300,
            pattern=r"^[-A-Za-z0-9_./,=]*$",
            description="Labels of the workers' pods, whose busy ones go last; empty: they are let be",
        ),
    ] = "app.kubernetes.io/name=rei-worker"
    deletion_cost_seconds: Annotated[
        float, Field(ge=1, le=600, description="How often busy workers' pods are marked")
    ] = 5
    job_image: Annotated[
        str, Field(min_length=1, description="The image of Jobs for backups: the operator's own")
    ] = "rei-operator"
    job_image_pull_policy: Annotated[
        str,
        Field(pattern="^(Always|IfNotPresent|Never)$", description="When Jobs pull their image"),
    ] = "IfNotPresent"
    job_pull_secrets: Annotated[
        tuple[ObjectName, ...],
        NoDecode,
        BeforeValidator(_from_json),
        Field(
            max_length=10,
            description="Secrets by which Jobs pull their image, as a JSON list of names",
        ),
    ] = ()
    job_settings_secret: Annotated[
        ObjectName,
        Field(description="The Secret, in the resource's namespace, that is the Jobs' environment"),
    ] = "rei"  # noqa: S105 - a Secret's name
    job_database_url_key: Annotated[
        str | None,
        Field(
            pattern=r"^[-._a-zA-Z0-9]{1,253}$",
            description="The key in that Secret that is the Jobs' REI_DATABASE_URL, if it has another name",
        ),
    ] = None
    job_memory_limit: Annotated[
        str, Field(pattern=r"^[0-9]+(Mi|Gi)$", description="The memory limit of Jobs")
    ] = "512Mi"
    restore_stops: Annotated[
        tuple[ObjectName, ...],
        NoDecode,
        BeforeValidator(_from_json),
        Field(
            max_length=10,
            description="Deployments that a restore in place stops, as a JSON list of names",
        ),
    ] = ("rei-bot", "rei-worker")


# pydantic's own words for what happens most are not a person's.
_PROBLEMS = {
    "missing": "is not set",
    "too_short": "is empty",
    "string_too_short": "is empty",
    "tuple_type": "is no JSON list",
}

Settings = TypeVar("Settings", bound=BaseSettings)


def load(kind: type[Settings]) -> Settings:
    """Read one process's settings; raises `ConfigurationError` for the first that is wrong."""
    try:
        return kind()
    except ValidationError as error:
        variable, problem = next(iter(problems_of(kind, error).items()))
        raise ConfigurationError(
            variable,
            problem,
            f"{describe(kind, variable)}. `rei config check` shows all settings",
        ) from None  # the original holds the value, which may be a secret


def problems_of(kind: type[BaseSettings], error: ValidationError) -> dict[str, str]:
    """What is wrong, by variable; values, which may be secrets, are not shown."""
    return {
        variable_of(kind, str(problem["loc"][0])): _PROBLEMS.get(
            problem["type"], problem["msg"].removeprefix("Value error, ")
        )
        for problem in error.errors(include_url=False, include_input=False)
    }


def variable_of(kind: type[BaseSettings], location: str) -> str:
    """The environment variable of a field, by its name or alias."""
    field = kind.model_fields.get(location)
    if field is None:
        return location
    alias = field.validation_alias
    return alias if isinstance(alias, str) else f"REI_{location}".upper()


def describe(kind: type[BaseSettings], variable: str) -> str:
    """The sentence about a variable."""
    for name, field in kind.model_fields.items():
        if variable_of(kind, name) == variable:
            return field.description or ""
    return ""

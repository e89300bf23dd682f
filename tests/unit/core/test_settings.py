"""Settings from the environment: what is wrong is said by name, with a remedy and no value."""

from __future__ import annotations

import pytest

from rei_core.errors import ConfigurationError
from rei_core.settings import (
    BotSettings,
    CoreSettings,
    GeminiSettings,
    TelegramSettings,
    WorkerSettings,
    YooKassaSettings,
    load,
)

ENOUGH = {
    "REI_DATABASE_URL": "postgresql://rei:geheim@db/rei",
    "BOT_TOKEN": "123456:geheim",
    "YOOKASSA_SHOP_ID": "100500",
    "YOOKASSA_SECRET_KEY": "geheim",
    "GEMINI_API_KEY": "geheim",
}


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    for name in list(os.environ):
        if name.startswith(("REI_", "YOOKASSA_", "GEMINI_", "BOT_TOKEN")):
            monkeypatch.delenv(name)


@pytest.fixture
def enough(monkeypatch: pytest.MonkeyPatch) -> None:
    """All that has no default."""
    for name, value in ENOUGH.items():
        monkeypatch.setenv(name, value)


@pytest.mark.usefixtures("enough")
def test_what_has_a_default_need_not_be_set() -> None:
    bot, worker = load(BotSettings), load(WorkerSettings)
    assert bot.yookassa_api_url == "https://api.yookassa.ru/v3"
    assert bot.topup_choices_rubles == (200, 500, 1000, 3000)
    assert bot.trusted_proxies == ()
    assert worker.gemini_base_url == "https://generativelanguage.googleapis.com"
    assert worker.redis_url.get_secret_value() == "redis://127.0.0.1:6379/0"


@pytest.mark.usefixtures("enough")
def test_secrets_do_not_show() -> None:
    for settings in (load(BotSettings), load(WorkerSettings)):
        assert "geheim" not in repr(settings) + str(settings)
    assert load(BotSettings).yookassa_secret_key.get_secret_value() == "geheim"


@pytest.mark.parametrize(
    ("kind", "variable"),
    [
        (CoreSettings, "REI_DATABASE_URL"),
        (TelegramSettings, "BOT_TOKEN"),
        (YooKassaSettings, "YOOKASSA_SHOP_ID"),
        (GeminiSettings, "GEMINI_API_KEY"),
    ],
)
def test_a_missing_setting_is_named(
    kind: type[CoreSettings | TelegramSettings | YooKassaSettings | GeminiSettings], variable: str
) -> None:
    with pytest.raises(ConfigurationError) as wrong:
        load(kind)
    assert (wrong.value.setting, wrong.value.problem) == (variable, "is not set")
    assert "rei config check" in wrong.value.remedy


@pytest.mark.usefixtures("enough")
@pytest.mark.parametrize(
    ("variable", "value", "problem"),
    [
        ("BOT_TOKEN", "", "is empty"),
        ("REI_DATABASE_URL", "", "is empty"),
        ("YOOKASSA_SECRET_KEY", "", "is empty"),
        ("YOOKASSA_SHOP_ID", "", "is empty"),
        ("YOOKASSA_API_URL", "api.yookassa.ru", "is no address. It looks like https://host"),
        ("REI_TELEGRAM_API_URL", "https://", "is no address"),
        ("REI_PUBLIC_URL", "https://geheim:x@host:port/v3", "is no address"),
        ("REI_PORT", "geheim", "integer"),
        ("REI_DATABASE_URL", "geheim", "no address of a database"),
        ("REI_DATABASE_URL", "mysql://rei:geheim@db/rei", "no address of a database"),
        ("REI_DATABASE_URL", "postgresql://rei:geheim/x@db/rei", "no address of a database"),
        ("REI_DATABASE_URL", "postgresql://rei:[geheim@db/rei", "no address of a database"),
        ("REI_DATABASE_URL", "postgresql://rei:geheim@db:0/rei", "no address of a database"),
        ("REI_REDIS_URL", "geheim", "no address of a Redis"),
        ("REI_REDIS_URL", "http://:geheim@127.0.0.1/0", "no address of a Redis"),
        ("REI_REDIS_URL", "redis://:geheim/x@127.0.0.1/0", "no address of a Redis"),
        ("REI_REDIS_URL", "redis://:geheim@[::1/0", "no address of a Redis"),
        ("REI_TRUSTED_PROXIES", '["10.0.0.0/8", "geheim"]', "number 2 of the list is no network"),
        ("REI_PORT", "70000", "65535"),
        ("REI_MODE", "pigeon", "polling"),
        ("REI_TOPUP_CHOICES_RUBLES", "200", "is no JSON list"),
        ("REI_TOPUP_CHOICES_RUBLES", "200,500", "is no JSON list"),
        ("REI_TOPUP_CHOICES_RUBLES", '["many"]', "integer"),
        ("REI_TRUSTED_PROXIES", "10.0.0.0/8", "is no JSON list"),
        ("REI_TRUSTED_PROXIES", '["10.0.0/8"]', "number 1 of the list is no network"),
        ("REI_RECEIPT_VAT_CODE", "13", "12"),
    ],
)
def test_a_wrong_setting_is_named(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, problem: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(ConfigurationError) as wrong:
        load(BotSettings)
    assert wrong.value.setting == variable
    assert problem in wrong.value.problem
    assert "geheim" not in str(wrong.value)
    assert wrong.value.__cause__ is None, "pydantic's own error would show the value"


@pytest.mark.usefixtures("enough")
@pytest.mark.parametrize(
    "url",
    [
        "postgres://db/rei",
        "postgresql:///rei?host=/run/postgresql",
        "postgresql://rei:a%2Fb@one:5432,other:5432/rei",
    ],
)
def test_a_database_may_be_named_in_every_way_there_is(
    monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.setenv("REI_DATABASE_URL", url)
    assert load(BotSettings).database_url.get_secret_value() == url


@pytest.mark.usefixtures("enough")
def test_lists_are_json(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REI_TOPUP_CHOICES_RUBLES", "[100, 700]")
    monkeypatch.setenv("REI_TRUSTED_PROXIES", '["10.0.0.0/8", "fd00::/8", "192.168.1.7/24"]')
    settings = load(BotSettings)
    assert settings.topup_choices_rubles == (100, 700)
    assert settings.trusted_proxies == ("10.0.0.0/8", "fd00::/8", "192.168.1.7/24")


@pytest.mark.usefixtures("enough")
def test_a_process_needs_only_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GEMINI_API_KEY")
    assert load(BotSettings).yookassa_shop_id == "100500"
    monkeypatch.setenv("GEMINI_API_KEY", "k")
    monkeypatch.delenv("YOOKASSA_SHOP_ID")
    assert load(WorkerSettings).concurrency == 8

"""Which services of a stage are real: those whose credentials are in the environment."""

from __future__ import annotations

from pathlib import Path

import pytest

from rei_sandbox.stage import Outside, Stage

ALL = {
    "BOT_TOKEN": "1:real",
    "YOOKASSA_SHOP_ID": "42",
    "YOOKASSA_SECRET_KEY": "live_x",
    "GEMINI_API_KEY": "AIza",
}


@pytest.mark.parametrize(
    ("names", "outside"),
    [
        ((), Outside()),
        (("BOT_TOKEN",), Outside(telegram=True)),
        (("YOOKASSA_SHOP_ID",), Outside()),
        (("YOOKASSA_SHOP_ID", "YOOKASSA_SECRET_KEY"), Outside(yookassa=True)),
        (("GEMINI_API_KEY",), Outside(gemini=True)),
        (tuple(ALL), Outside(telegram=True, yookassa=True, gemini=True)),
    ],
)
def test_a_service_is_real_when_all_of_its_credentials_are_given(
    names: tuple[str, ...], outside: Outside
) -> None:
    assert Outside.of({name: ALL[name] for name in names}) == outside


def test_real_credentials_go_to_the_real_address_and_never_to_a_stand_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in ALL.items():
        monkeypatch.setenv(name, value)
    stage = Stage(tmp_path, outside=Outside(gemini=True))
    settings = stage.worker.environment
    assert settings["GEMINI_API_KEY"] == "AIza"
    assert "GEMINI_BASE_URL" not in settings
    assert settings["BOT_TOKEN"] != "1:real"
    assert settings["REI_TELEGRAM_API_URL"] == stage.sandbox_url
    assert settings["YOOKASSA_SECRET_KEY"] != "live_x"
    assert settings["YOOKASSA_API_URL"].startswith(stage.sandbox_url)


def test_settings_of_another_rei_in_the_shell_do_not_leak_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REI_DATABASE_URL", "postgresql://elsewhere/production")
    monkeypatch.setenv("REI_ACTIVE_JOBS_MAX", "1")
    monkeypatch.setenv("YOOKASSA_CHECK_SENDER", "true")
    settings = Stage(tmp_path).bot.environment
    assert settings["REI_DATABASE_URL"].startswith("postgresql://postgres@127.0.0.1:")
    assert "REI_ACTIVE_JOBS_MAX" not in settings
    assert "YOOKASSA_CHECK_SENDER" not in settings

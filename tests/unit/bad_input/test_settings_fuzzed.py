"""Whatever stands in the environment: settings that can be worked with, or a sentence that names
the variable. Never a traceback, and never a secret."""

from __future__ import annotations

import json
import math
import os
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import SecretStr
from pydantic_settings import BaseSettings

from rei_bot.handlers.topup import menu_view
from rei_core.errors import ConfigurationError
from rei_core.settings import BotSettings, WorkerSettings, load, variable_of
from rei_core.texts import Texts
from rei_core.users.model import User

SECRET = "geheim-0123456789"
ENOUGH = {
    "REI_DATABASE_URL": f"postgresql://rei:{SECRET}@db/rei",
    "BOT_TOKEN": f"123456:{SECRET}",
    "YOOKASSA_SHOP_ID": "100500",
    "YOOKASSA_SECRET_KEY": SECRET,
    "GEMINI_API_KEY": SECRET,
}
DATABASE_INT_MAX = 2**31 - 1
YEAR_SECONDS = 366 * 86_400


VARIABLES = [
    (kind, name, variable_of(kind, name))
    for kind in (BotSettings, WorkerSettings)
    for name in kind.model_fields
]


NUMBERS = [
    "0", "-1", "+1", " 7 ", "007", "1_000", "0x10", "1e3", "1e309", "nan", "inf", "-inf",
    "Infinity", "1.5", "٣", "７", str(2**31), str(2**63), str(-(2**63)), "9" * 5_000,
]  # fmt: skip
LISTS = [
    "[", "[]", "{}", "null", "[[]]", '[""]', "[null]", "[-5]", "[0]", "[1.5]", "[true]",
    "[200, 200]", "[1e400]", f"[{10**30}]", '["0.0.0.0/0"]', '["::/129"]', "[" * 100_000,
    json.dumps(list(range(1, 2_000))),
]  # fmt: skip
WORDS = [
    "", " ", "\t", "true", "no", "None", "polling\n", "http://", "https://\u202e.ru", "http:// x",
    "/", "..", "\udcff", "x" * 100_000, "DEBUG ", "debug", "json;console",
]  # fmt: skip
TEXTS = st.text(st.characters(blacklist_characters="\0", blacklist_categories=["Cs"]), max_size=40)
VALUES = (
    st.sampled_from([*NUMBERS, *LISTS, *WORDS])
    | TEXTS
    | st.integers().map(str)
    | st.floats().map(str)
    | st.lists(st.integers() | TEXTS, max_size=4).map(json.dumps)
)


@pytest.mark.parametrize(("kind", "name", "variable"), VARIABLES)
@settings(max_examples=60, deadline=None, derandomize=True, database=None)
@given(value=VALUES)
def test_any_value_is_taken_or_refused_by_name(
    kind: type[BaseSettings], name: str, variable: str, value: str
) -> None:
    is_secret = SecretStr.__name__ in repr(kind.model_fields[name].annotation)
    shown = f"{SECRET}{value}{SECRET}" if is_secret and value else value
    with patch.dict(os.environ, {**ENOUGH, variable: shown}, clear=True):
        loaded = _load(kind)
    if isinstance(loaded, ConfigurationError):
        assert loaded.setting == variable
        assert loaded.__cause__ is None  # pydantic's own error would show the value
        assert SECRET not in str(loaded)
        assert len(str(loaded)) < 1_000
        return
    assert SECRET not in repr(loaded)
    _can_be_worked_with(getattr(loaded, name), name)


def _load(kind: type[BaseSettings]) -> BaseSettings | ConfigurationError:
    try:
        return load(kind)
    except ConfigurationError as refused:
        return refused


def _can_be_worked_with(value: object, name: str) -> None:
    """Numbers that PostgreSQL, Redis and the event loop can take."""
    for number in value if isinstance(value, tuple) else (value,):
        if isinstance(number, float):
            assert math.isfinite(number)
            assert 0 < number <= YEAR_SECONDS, name
        elif isinstance(number, int):
            assert 0 <= number <= DATABASE_INT_MAX, name


@pytest.mark.parametrize(
    ("kind", "variable"),
    [(kind, v) for kind, name, v in VARIABLES if kind.model_fields[name].is_required()],
)
def test_what_has_no_default_must_not_be_empty(kind: type[BaseSettings], variable: str) -> None:
    """An empty address of the database would be PostgreSQL's own defaults: some other database."""
    with (
        patch.dict(os.environ, {**ENOUGH, variable: ""}, clear=True),
        pytest.raises(ConfigurationError) as refused,
    ):
        load(kind)
    assert (refused.value.setting, refused.value.problem) == (variable, "is empty")


@settings(max_examples=100, deadline=None, derandomize=True, database=None)
@given(value=VALUES)
def test_whatever_amounts_are_offered_can_be_shown(value: str) -> None:
    """A button that cannot be made would leave the customer without any answer to /topup."""
    environment = {**ENOUGH, "REI_TOPUP_CHOICES_RUBLES": value}
    with patch.dict(os.environ, environment, clear=True):
        try:
            loaded = load(BotSettings)
        except ConfigurationError:
            return
    user = User(
        id=7, username=None, first_name="", language="ru", model=None, banned=False,
        ban_reason=None, banned_until=None, awaiting=None, balance_kopecks=0, active_jobs=0,
    )  # fmt: skip
    keyboard = menu_view(user, loaded, Texts("ru")).keyboard
    assert keyboard is not None
    assert len(keyboard.inline_keyboard) <= 20

"""Texts become kopecks exactly, or not at all."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rei_core.errors import AmountError
from rei_core.money import decimal_of, format_rubles, kopecks_of, parse_rubles

AMOUNTS = st.integers(min_value=0, max_value=10**12)


@pytest.mark.parametrize(
    ("text", "kopecks"),
    [
        ("300", 30000),
        (" 300 ", 30000),
        ("300,5", 30050),
        ("300.05", 30005),
        ("1 000", 100000),
        ("1\u202f000,50\u00a0₽", 100050),
        ("1000 руб.", 100000),
        ("1000р", 100000),
        ("1000 RUB", 100000),
        ("007", 700),
    ],
)
def test_what_people_type_is_understood(text: str, kopecks: int) -> None:
    assert parse_rubles(text, minimum_kopecks=1, maximum_kopecks=10**9) == kopecks


@pytest.mark.parametrize(
    "text",
    [
        "",
        "кот",
        "-5",
        "1e3",
        "1,000",
        "1.000",
        "10 00",
        "0x10",
        "१२",
        "5.",
        ".5",
        "5₽₽",
        "nan",
        "9" * 40,
    ],
)
def test_what_is_not_clearly_an_amount_is_refused(text: str) -> None:
    with pytest.raises(AmountError):
        parse_rubles(text, minimum_kopecks=1, maximum_kopecks=10**9)


@pytest.mark.parametrize("text", ["49,99", "100000,01"])
def test_bounds_are_exact(text: str) -> None:
    with pytest.raises(AmountError):
        parse_rubles(text, minimum_kopecks=50_00, maximum_kopecks=100_000_00)


@given(AMOUNTS)
def test_what_we_show_reads_back_as_the_same_amount(kopecks: int) -> None:
    shown = format_rubles(kopecks)
    assert parse_rubles(shown, minimum_kopecks=0, maximum_kopecks=10**12) == kopecks


@given(AMOUNTS)
def test_the_wire_keeps_every_kopeck(kopecks: int) -> None:
    assert kopecks_of(decimal_of(kopecks)) == kopecks


@pytest.mark.parametrize(
    "decimal", ["200", "200.0", "200.000", "-1.00", "1e2", "", "٢.٠٠", " 1.00"]
)
def test_a_wire_amount_without_two_decimals_is_refused(decimal: str) -> None:
    with pytest.raises(AmountError):
        kopecks_of(decimal)


def test_a_negative_amount_is_shown_with_a_minus() -> None:
    assert format_rubles(-1500) == "−15\u00a0₽"

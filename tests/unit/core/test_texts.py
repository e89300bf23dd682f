"""Texts in one language: plurals, escaping, excerpts."""

from __future__ import annotations

import pytest

from rei_core.texts import Texts, excerpt


@pytest.mark.parametrize(
    ("n", "words"),
    [(1, "1 заказ"), (2, "2 заказа"), (5, "5 заказов"), (11, "11 заказов"), (21, "21 заказ")],
)
def test_russian_counts_as_russian_does(n: int, words: str) -> None:
    text = Texts("ru").plural("🎨 {n} order in progress", "🎨 {n} orders in progress", n)
    assert text == f"🎨 {words} в работе"


def test_what_customers_write_is_escaped_in_html_and_not_on_buttons() -> None:
    _ = Texts("en")
    assert _("Reason: {reason}", reason="<b>&") == "Reason: &lt;b&gt;&amp;"
    assert _.plain("Reason: {reason}", reason="<b>&") == "Reason: <b>&"


def test_an_excerpt_is_one_line_of_a_bounded_length() -> None:
    assert excerpt("a\n b", 10) == "a b"
    assert excerpt("x" * 50, 10) == "x" * 9 + "…"

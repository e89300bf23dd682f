"""Every text of the bot in Russian: there, complete, with the same placeholders and tags."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest
from babel.messages.catalog import Catalog
from babel.messages.extract import extract
from babel.messages.pofile import read_po

import rei_bot
from rei_bot.texts import Texts, excerpt
from rei_core.i18n import LOCALES

SOURCE = Path(rei_bot.__file__).parent
KEYWORDS = {"_": None, "plain": None, "plural": (1, 2)}
HANDLERS = [
    *sorted((SOURCE / "handlers").glob("*.py")),
    *(SOURCE / f"{name}.py" for name in ("cards", "dispatcher", "keyboards")),
]


def messages() -> set[str | tuple[str, ...]]:
    """All texts in the code; a pair has plural forms."""
    found: set[str | tuple[str, ...]] = set()
    for file in HANDLERS:
        with file.open("rb") as source:
            for _line, message, _comments, _context in extract("python", source, KEYWORDS):
                found.add(message if isinstance(message, str) else tuple(message))
    return found


@pytest.fixture(scope="module")
def russian() -> Catalog:
    with (LOCALES / "ru" / "LC_MESSAGES" / "bot.po").open("rb") as source:
        return read_po(source, locale="ru")


def marks(text: str) -> Counter[str]:
    """Placeholders and tags."""
    return Counter(re.findall(r"\{\w*\}|</?\w+>|/[a-z]{3,}", text))


def test_every_text_has_a_russian_one_with_the_same_placeholders_and_tags(russian: Catalog) -> None:
    assert len(messages()) > 100
    for message in messages():
        entry = russian.get(message if isinstance(message, str) else message[0])
        assert entry is not None, message
        assert not entry.fuzzy, message
        if isinstance(message, str):
            assert isinstance(entry.string, str)
            assert entry.string, message
            assert marks(entry.string) == marks(message), message
        else:
            assert tuple(entry.id) == message
            assert isinstance(entry.string, tuple)
            assert len(entry.string) == russian.num_plurals == 3
            for form in entry.string:
                assert form, message
                assert marks(form) == marks(message[1]), message


def test_no_russian_text_is_left_over(russian: Catalog) -> None:
    known = {message if isinstance(message, str) else message[0] for message in messages()}
    for entry in russian:
        if entry.id:
            assert (entry.id if isinstance(entry.id, str) else entry.id[0]) in known


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

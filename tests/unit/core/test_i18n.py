"""Every sentence that customers read, in the whole source, has its Russian one."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from babel.messages.catalog import Catalog
from babel.messages.extract import extract
from babel.messages.pofile import read_po

import rei_bot
import rei_core
import rei_worker
from rei_core.i18n import LOCALES, language_of, translations

KEYWORDS = {"_": None, "plain": None, "gettext": None, "mark": None, "plural": (1, 2)}
PARTS = tuple(Path(str(part.__file__)).parent for part in (rei_core, rei_bot, rei_worker))
CATALOGUES = sorted((LOCALES / "ru" / "LC_MESSAGES").glob("*.po"))


def sentences() -> Iterator[tuple[Path, tuple[str, ...]]]:
    """(file, the sentence or its singular and plural)"""
    for part in PARTS:
        for file in sorted(part.rglob("*.py")):
            with file.open("rb") as source:
                for _line, found, _comments, _context in extract("python", source, KEYWORDS):
                    yield file, (found,) if isinstance(found, str) else tuple(found)


def read(file: Path) -> Catalog:
    with file.open("rb") as source:
        return read_po(source, locale="ru")


def placeholders(text: str) -> Counter[str]:
    """Placeholders, tags and commands."""
    return Counter(re.findall(r"\{\w*\}|</?\w+>|/[a-z]{3,}", text))


def test_the_source_is_really_looked_through() -> None:
    found = list(sentences())
    assert len(found) > 130
    for part in PARTS:
        assert any(file.is_relative_to(part) for file, _ in found)
    assert any(len(sentence) == 2 for _, sentence in found)


def test_every_sentence_has_a_russian_one_with_the_same_placeholders() -> None:
    russian = translations("ru")
    for file, sentence in sentences():
        if len(sentence) == 1:
            forms = [russian.gettext(sentence[0])]
        else:
            forms = [russian.ngettext(sentence[0], sentence[1], n) for n in (1, 2, 5)]
        for form in forms:
            assert form not in sentence or not re.search("[A-Za-z]{3}", _words(form)), (
                f"{file.name}: no Russian for {sentence[0]!r}"
            )
            assert placeholders(form) == placeholders(sentence[-1]), form


def _words(text: str) -> str:
    """The text without placeholders and tags, which are the same in every language."""
    return re.sub(r"\{\w*\}|</?\w+>|/[a-z]+|Gemini|YooKassa|Telegram", "", text)


@pytest.mark.parametrize("file", CATALOGUES, ids=lambda file: file.stem)
def test_no_entry_is_doubtful_or_empty(file: Path) -> None:
    catalog = read(file)
    assert catalog.num_plurals == 3
    for entry in catalog:
        if not entry.id:
            continue
        assert not entry.fuzzy, entry.id
        for form in entry.string if isinstance(entry.string, tuple) else (entry.string,):
            assert isinstance(form, str), entry.id
            assert form.strip(), entry.id


def test_no_two_catalogues_say_the_same_sentence_differently() -> None:
    said: dict[str, object] = {}
    for file in CATALOGUES:
        for entry in read(file):
            if entry.id:
                key = entry.id if isinstance(entry.id, str) else entry.id[0]
                assert said.setdefault(key, entry.string) == entry.string, key


def test_english_and_what_we_do_not_have_are_the_source() -> None:
    for language in ("en", "de", ""):
        assert translations(language).gettext("No such sentence") == "No such sentence"


@pytest.mark.parametrize(
    ("code", "language"),
    [("ru", "ru"), ("ru-RU", "ru"), ("uk", "ru"), (None, "ru"), ("", "ru"), ("en", "en"),
     ("en-GB", "en"), ("de", "en"), ("RU", "ru")],
)  # fmt: skip
def test_the_language_for_telegrams(code: str | None, language: str) -> None:
    assert language_of(code) == language


def test_no_russian_sentence_is_left_over() -> None:
    known = {sentence[0] for _file, sentence in sentences()}
    for file in CATALOGUES:
        for entry in read(file):
            first = entry.id if isinstance(entry.id, str) else entry.id[0]
            assert not first or first in known, first

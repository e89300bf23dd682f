"""Texts in the customer's language, by gettext. English is the source; Russian is a catalogue.

The catalogue is the `.po` file itself, one for all parts, so that one sentence has one translation;
it is compiled in memory at start, and there is no build step to forget.
"""

from __future__ import annotations

import gettext
import io
from functools import cache
from pathlib import Path

from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po

LOCALES = Path(__file__).parent / "locales"
LANGUAGES = ("ru", "en")


@cache
def translations(language: str) -> gettext.NullTranslations:
    """The texts of a language; English, or any we do not have, is the source itself."""
    file = LOCALES / language / "LC_MESSAGES" / "rei.po"
    if language not in LANGUAGES or not file.exists():
        return gettext.NullTranslations()
    with file.open("rb") as source:
        catalog = read_po(source, locale=language)
    compiled = io.BytesIO()
    write_mo(compiled, catalog)
    compiled.seek(0)
    return gettext.GNUTranslations(compiled)


def language_of(telegram_code: str | None) -> str:
    """Our language for Telegram's: Russian for its neighbours too, English for the rest."""
    code = (telegram_code or "").lower().split("-")[0]
    return "ru" if code in {"ru", "be", "uk", "kk", ""} else "en"

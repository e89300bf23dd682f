"""Texts in the customer's language, by gettext. English is the source; Russian is a catalogue.

The catalogues are the `.po` files themselves, one for each part that talks to customers: they are
compiled in memory at start, so there is no build step to forget.
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
    merged: gettext.NullTranslations = gettext.NullTranslations()
    if language not in LANGUAGES:
        return merged
    for file in sorted((LOCALES / language / "LC_MESSAGES").glob("*.po")):
        with file.open("rb") as source:
            catalog = read_po(source, locale=language)
        compiled = io.BytesIO()
        write_mo(compiled, catalog)
        compiled.seek(0)
        part = gettext.GNUTranslations(compiled)
        part.add_fallback(merged)
        merged = part
    return merged


def language_of(telegram_code: str | None) -> str:
    """Our language for Telegram's: Russian for its neighbours too, English for the rest."""
    code = (telegram_code or "").lower().split("-")[0]
    return "ru" if code in {"ru", "be", "uk", "kk", ""} else "en"

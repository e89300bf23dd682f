"""The customer's language in a handler's hands.

Guarantee: whatever is put into a text is escaped for Telegram's HTML, so a prompt with `<` in it
can neither break a message nor forge one. `plain` is for what Telegram shows as it is: buttons
and the small notices over the keyboard.
"""

from __future__ import annotations

import html
from datetime import datetime, timedelta, timezone

from rei_core.i18n import translations

MOSCOW = timezone(timedelta(hours=3), "MSK")
"""Moscow knows no daylight saving; a fixed offset needs no time zone database in the image."""


class Texts:
    """Texts in one language; the English sentence in the code is the key."""

    __slots__ = ("_source", "language")

    def __init__(self, language: str) -> None:
        self.language = language
        self._source = translations(language)

    def __call__(self, message: str, /, **values: object) -> str:
        """A text as HTML with its values escaped."""
        return self._source.gettext(message).format(**_escaped(values))

    def plain(self, message: str, /, **values: object) -> str:
        """A text for a button or a notice, which know no HTML."""
        return self._source.gettext(message).format(**values)

    def plural(self, singular: str, plural: str, n: int, /, **values: object) -> str:
        """A text as HTML whose words depend on the number `n`, which it shows as `{n}`."""
        return self._source.ngettext(singular, plural, n).format(n=n, **_escaped(values))

    def date(self, moment: datetime) -> str:
        """A moment as customers read it, in Moscow time."""
        local = moment.astimezone(MOSCOW)
        if self.language == "ru":
            return f"{local:%d.%m.%Y %H:%M} МСК"
        return f"{local:%Y-%m-%d %H:%M} MSK"

    def moment(self, moment: datetime) -> str:
        """A time of day to the second, in Moscow time."""
        return f"{moment.astimezone(MOSCOW):%H:%M:%S}"


def excerpt(text: str, length_max: int) -> str:
    """One line of at most `length_max` characters."""
    line = " ".join(text.split())
    return line if len(line) <= length_max else line[: length_max - 1].rstrip() + "…"


def _escaped(values: dict[str, object]) -> dict[str, object]:
    return {
        name: html.escape(value, quote=False) if isinstance(value, str) else value
        for name, value in values.items()
    }

"""What the bot's process says by itself: in Russian too, complete, with the same placeholders."""

from __future__ import annotations

import re
from pathlib import Path

from babel.messages.extract import extract
from babel.messages.pofile import read_po

import rei_bot
from rei_core.i18n import LOCALES

SOURCE = Path(rei_bot.__file__).parent
MARKS = re.compile(r"\{\w*\}|</?\w+>|/[a-z]{3,}")


def test_every_text_has_its_russian_one_and_none_is_left_over() -> None:
    said = set()
    for name in ("main.py", "notices.py"):
        with (SOURCE / name).open("rb") as source:
            said |= {found[1] for found in extract("python", source, {"_": None, "plain": None})}
    with (LOCALES / "ru" / "LC_MESSAGES" / "bot_process.po").open("rb") as source:
        russian = {entry.id: entry.string for entry in read_po(source, locale="ru") if entry.id}
    assert len(said) == 3
    assert set(russian) == said
    for text, translated in russian.items():
        assert isinstance(text, str)
        assert isinstance(translated, str)
        assert translated
        assert sorted(MARKS.findall(text)) == sorted(MARKS.findall(translated))

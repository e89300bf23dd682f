"""Strategies: what people, and those who are none, write to a bot."""

from __future__ import annotations

from typing import Any, Literal, get_args, get_origin
from uuid import UUID, uuid4

from aiogram.filters.callback_data import CallbackData
from hypothesis import strategies as st

from rei_bot import callbacks

TEXT_LENGTH_MAX = 4096
CALLBACK_BYTES_MAX = 64

NUMBERS = [
    "", "0", "-0", "1", "-1", "+1", " 1", "1 ", "01", "1.0", "1e9", "0x1", "1_000", "abc", "nan",
    "inf", "١", "１", "²", "½", "Ⅷ", str(2**31), str(2**63 - 1), str(2**63), str(-(2**63)),
    "9" * 40, "None", "null", "1\x00", "\u202e1",
]  # fmt: skip

# Text as JSON can carry it; half a surrogate pair is refused before any handler (`test_bodies`).
CHARACTERS = st.characters(blacklist_categories=["Cs"])
NASTY = st.sampled_from(
    [
        "\x00", "\x00кот", "кот\x00" * 10, "\x01\x02\x1b[31m", "\r\n\t\v\f", "\u202eток\u202c",
        "\u200f\u200e\u2066\u2069", "\ufeff", "\ufffe\uffff", "\U0010ffff" * 8, "a\u0301" * 50,
        "<b>", "</b>", "<a href='tg://user?id=1'>x</a>", "&lt;&amp;&#0;", "<script>", "{0}", "{n}",
        "{balance.__class__}", "%s%n", "%(x)s", "'; DROP TABLE jobs; --", "\\x00\\u0000",
        "$1", "👨‍👩‍👧‍👦" * 40, "ﷺ" * 100, "  ", "\u3164", "-", "/", "//", "/@", "@", "№" * 4000,
    ]
)  # fmt: skip
WORDS = st.text(CHARACTERS, min_size=1, max_size=60) | NASTY
LONG = st.builds(
    lambda word, length: (word * length)[:length],
    WORDS,
    st.sampled_from([1024, 4000, 4001, TEXT_LENGTH_MAX]),
)
AMOUNTS = st.sampled_from(
    [*NUMBERS, "300", "1 000,50", "300,5.0", "-300 ₽", "1,000", "٣٠٠", "300 рублей", "50.001"]
)
COMMANDS = st.builds(
    lambda command, mention, space, argument: f"/{command}{mention}{space}{argument}"[
        :TEXT_LENGTH_MAX
    ],
    st.sampled_from(
        ["start", "topup", "generate", "balance", "history", "settings", "support", "help",
         "START", "admin", "refund", "ban", "generаte", "", "start\x00", "topup_", "_"]
    ),
    st.sampled_from(["", "@rei_bot", "@another_bot", "@", "@\x00"]),
    st.sampled_from([" ", "  ", "\n", "\t", "\u00a0", ""]),
    WORDS | LONG | AMOUNTS,
)  # fmt: skip
# Telegram sends no empty text, and cuts the spaces around one.
TEXTS = (WORDS | LONG | AMOUNTS | COMMANDS).filter(lambda text: text.strip() != "")


def callback_data(numbers: list[int], ids: list[UUID]) -> st.SearchStrategy[str]:
    """Data as our own buttons carry it, with every part hostile or another's, and data as none do."""
    kinds = [
        kind
        for kind in vars(callbacks).values()
        if isinstance(kind, type) and issubclass(kind, CallbackData) and kind is not CallbackData
    ]
    digits = st.sampled_from([*NUMBERS, *map(str, numbers)]) | st.integers().map(str)
    uuids = st.sampled_from(
        [*map(str, ids), *(each.hex for each in ids), str(uuid4()), "0" * 32, "{" + "1" * 32 + "}"]
    )
    made = st.one_of([_like(kind, digits, uuids) for kind in kinds])
    prefixes = st.sampled_from([kind.__prefix__ for kind in kinds])
    torn = st.builds(lambda prefix, rest: f"{prefix}:{rest}", prefixes, WORDS)
    return (made | torn | WORDS).map(_cut)


def _like(
    kind: type[CallbackData], digits: st.SearchStrategy[str], uuids: st.SearchStrategy[str]
) -> st.SearchStrategy[str]:
    parts = [_part(field.annotation, digits, uuids) for field in kind.model_fields.values()]
    return st.tuples(*parts).map(lambda made: ":".join((kind.__prefix__, *made)))


def _part(
    annotation: Any, digits: st.SearchStrategy[str], uuids: st.SearchStrategy[str]
) -> st.SearchStrategy[str]:
    anything = WORDS.map(lambda text: text.replace(":", ""))
    if get_origin(annotation) is Literal:
        return st.sampled_from(get_args(annotation)) | anything
    if annotation is int:
        return digits
    if annotation is UUID:
        return uuids | anything
    return digits | anything


def _cut(data: str) -> str:
    """As much as Telegram carries."""
    return data.encode()[:CALLBACK_BYTES_MAX].decode(errors="ignore")

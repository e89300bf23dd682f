"""Money at the edges. Inside, an amount is an integer of kopecks; texts become one only here.

No floats and no rounding: a text that is not an exact number of kopecks is refused.
"""

from __future__ import annotations

import re

from rei_core.errors import AmountError

THIN = "\u202f"
"""Between thousands; does not break a line."""
AMOUNT_LENGTH_MAX = 32

# Groups of three behind a space are thousands, and a comma or a point begins the kopecks. So
# "1 000,50" is clear, while "1,000" may be a thousand or one: three digits behind a comma are refused.
_TYPED = re.compile(r"([0-9]{1,3}(?: [0-9]{3})+|[0-9]+)(?:[.,]([0-9]{1,2}))?(?:₽|р\.?|руб\.?|rub)?")
_DECIMAL = re.compile(r"([0-9]{1,15})\.([0-9]{2})")
_SPACES = re.compile(r"\s+")


def format_rubles(kopecks: int) -> str:
    """`1 000 ₽`, `12,50 ₽`, `−15 ₽`, with spaces at which no line breaks."""
    sign = "−" if kopecks < 0 else ""
    rubles, rest = divmod(abs(kopecks), 100)
    fraction = f",{rest:02d}" if rest else ""
    return f"{sign}{rubles:,}".replace(",", THIN) + f"{fraction}\u00a0₽"


def parse_rubles(text: str, *, minimum_kopecks: int, maximum_kopecks: int) -> int:
    """Kopecks from what a person typed: `300`, `300,50`, `1 000 ₽`; raises `AmountError`."""
    if len(text) > AMOUNT_LENGTH_MAX:
        raise AmountError(text, "too long")
    # Every white space, the unbreakable ones of our own texts too, counts as a plain space.
    typed = _SPACES.sub(" ", text.strip().casefold())
    typed = re.sub(r" (?=₽|р|rub)", "", typed)
    match = _TYPED.fullmatch(typed)
    if match is None:
        raise AmountError(text, "not a number of rubles")
    rubles, fraction = int(match[1].replace(" ", "")), (match[2] or "").ljust(2, "0")
    kopecks = rubles * 100 + int(fraction)
    if not minimum_kopecks <= kopecks <= maximum_kopecks:
        raise AmountError(text, f"not between {minimum_kopecks} and {maximum_kopecks} kopecks")
    return kopecks


def decimal_of(kopecks: int) -> str:
    """`200.00`, as YooKassa writes amounts."""
    if kopecks < 0:
        raise ValueError("an amount that goes over the wire is never negative")
    return f"{kopecks // 100}.{kopecks % 100:02d}"


def kopecks_of(decimal: str) -> int:
    """Kopecks of `200.00`; raises `AmountError` for anything but two decimals."""
    match = _DECIMAL.fullmatch(decimal)
    if match is None:
        raise AmountError(decimal, "not an amount with two decimals")
    return int(match[1]) * 100 + int(match[2])

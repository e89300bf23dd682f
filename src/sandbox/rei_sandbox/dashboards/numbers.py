"""Numbers as Grafana writes them, for the units that our panels use."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

DURATIONS: Final = (("days", 86_400.0), ("hours", 3600.0), ("min", 60.0))


def shown(value: float, unit: str) -> str:
    """A value in its unit."""
    return FORMS.get(unit, _short)(value)


def _rubles(value: float) -> str:
    return f"₽{value:,.2f}".replace(",", "\u202f").removesuffix(".00")


def _percent(value: float) -> str:
    return f"{value * 100:.4g}%"


def _duration(seconds: float) -> str:
    if seconds < 1:
        return f"{seconds * 1000:.3g} ms"
    for name, length in DURATIONS:
        if seconds >= length:
            return f"{seconds / length:.3g} {name}"
    return f"{seconds:.3g} s"


def _short(value: float) -> str:
    return _scaled(value, 1000, ("", "K", "Mil", "Bil"))


def _bytes(value: float) -> str:
    return _scaled(value, 1024, ("B", "KiB", "MiB", "GiB"))


def _scaled(value: float, base: int, names: Sequence[str]) -> str:
    power = 0
    while abs(value) >= base and power < len(names) - 1:
        value, power = value / base, power + 1
    return f"{value:.4g} {names[power]}".strip()


FORMS: Final[Mapping[str, Callable[[float], str]]] = {
    "currencyRUB": _rubles,
    "percentunit": _percent,
    "s": _duration,
    "bytes": _bytes,
    "reqpm": lambda value: f"{value:.3g} req/m",
    "opm": lambda value: f"{value:.3g} ops/m",
    "bool_yes_no": lambda value: "Yes" if value else "No",
}

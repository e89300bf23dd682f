"""The few shapes and colours that a picture of a dashboard is made of."""

from __future__ import annotations

from html import escape
from typing import Final

TEXT: Final = "#ccccdc"
FAINT: Final = "#8e8e99"
BACK: Final = "#111217"
CARD: Final = "#181b1f"
EDGE: Final = "#2b2e34"
GRID: Final = "#23262c"
HEADER: Final = "#6e9fff"
CURVES: Final = (
    "#73bf69", "#f2cc0c", "#8ab8ff", "#ff780a", "#f2495c", "#5794f2", "#b877d9", "#37872d",
    "#fade2a", "#c0d8ff",
)  # fmt: skip
NAMED: Final = {"green": "#73bf69", "red": "#f2495c"}
"""What the limits of panels call colours."""


def text(
    x: float, y: float, words: str, *, size: float = 12, colour: str = TEXT, anchor: str = "start"
) -> str:
    """One line of text; `anchor` is start, middle or end."""
    return (f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size:g}" fill="{colour}" '
            f'text-anchor="{anchor}">{escape(words)}</text>')  # fmt: skip


def line(x1: float, y1: float, x2: float, y2: float, *, colour: str, dashed: bool = False) -> str:
    dashes = ' stroke-dasharray="6 4"' if dashed else ""
    return (f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" '
            f'stroke="{colour}"{dashes}/>')  # fmt: skip


def box(x: float, y: float, width: float, height: float, *, colour: str) -> str:
    return (f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" '
            f'fill="{colour}"/>')  # fmt: skip


def curve(points: list[tuple[float, float]], *, colour: str) -> str:
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return (f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.5" '
            'stroke-linejoin="round"/>')  # fmt: skip

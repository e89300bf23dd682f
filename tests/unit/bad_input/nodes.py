"""A JSON value with each of its nodes in turn replaced by what does not belong there, or left out."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

Path = tuple[str | int, ...]

STRANGE: tuple[Any, ...] = (
    None, True, 0, -1, 10**30, 1.5, "", "x", "\x00", "9" * 5_000, [], [None], [[]], {}, {"x": 1},
)  # fmt: skip


def damaged(value: Any) -> Iterator[tuple[Path, Any]]:
    """(where, the whole with that place damaged), for each place and each strange value."""
    for path in paths(value):
        for strange in STRANGE:
            yield path, replaced(value, path, strange)
        if path:
            yield path, removed(value, path)


def paths(value: Any, at: Path = ()) -> Iterator[Path]:
    """Where there is a node, the whole being the first."""
    yield at
    items: Any = ()
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, list):
        items = enumerate(value)
    for key, inner in items:
        yield from paths(inner, (*at, key))


def replaced(value: Any, path: Path, strange: Any) -> Any:
    """A copy with another value in that place."""
    if not path:
        return strange
    whole = copy.deepcopy(value)
    _holder(whole, path)[path[-1]] = strange
    return whole


def removed(value: Any, path: Path) -> Any:
    """A copy without that place."""
    whole = copy.deepcopy(value)
    del _holder(whole, path)[path[-1]]
    return whole


def _holder(whole: Any, path: Path) -> Any:
    for key in path[:-1]:
        whole = whole[key]
    return whole

"""More time for the test of this folder: a whole shop comes up, works and is looked at."""

from __future__ import annotations

from pathlib import Path

import pytest

TEST_SECONDS_MAX = 900


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if item.path.is_relative_to(here):
            limit = pytest.mark.timeout(TEST_SECONDS_MAX, func_only=True)
            item.add_marker(limit, append=False)

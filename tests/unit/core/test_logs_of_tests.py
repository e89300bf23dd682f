"""A test's log is its own: what a command sets up in one does not bind a logger for the next."""

from __future__ import annotations

import pytest
import structlog
from structlog.testing import capture_logs

from rei_core import logs

log = structlog.get_logger(__name__)


@pytest.mark.parametrize("turn", ["one", "another"])
def test_what_is_said_is_captured_after_a_log_was_set_up(turn: str) -> None:
    with capture_logs() as lines:
        log.error(turn)
    assert [line["event"] for line in lines] == [turn]
    logs.configure(level="WARNING", log_format="console", component="test")
    log.error("said by a command")
    logs.configure(level="WARNING", log_format="console", component="test")

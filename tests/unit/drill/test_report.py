"""The table of drills in its page."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rei_sandbox.drill.account import Account
from rei_sandbox.drill.drills import DRILLS
from rei_sandbox.drill.report import BEGIN, COLUMNS, END, SHOWN, markdown, placed, rows
from rei_sandbox.drill.run import Result

CLEAN = Account(not_credited_kopecks=0, not_delivered_kopecks=0, held_kopecks=0, violations=())
ALERTED = Result(
    DRILLS[0], alert_seconds=4.2, waits_seconds=120, healthy_seconds=7.6, account=CLEAN
)
SILENT = Result(DRILLS[-1], alert_seconds=None, waits_seconds=0, healthy_seconds=1, account=CLEAN)


def test_a_row_has_what_was_measured() -> None:
    alerted, silent = rows([ALERTED, SILENT])
    assert alerted[2:8] == ("ReiBotDown", "4", "2 min", "8", "0", "0")
    assert silent[2:8] == ("none: nobody is harmed", "–", "–", "1", "0", "0")


@pytest.mark.parametrize(
    "account",
    [
        Account(not_credited_kopecks=1, not_delivered_kopecks=0, held_kopecks=0, violations=()),
        Account(not_credited_kopecks=0, not_delivered_kopecks=1, held_kopecks=0, violations=()),
        Account(not_credited_kopecks=0, not_delivered_kopecks=0, held_kopecks=1, violations=()),
        Account(not_credited_kopecks=0, not_delivered_kopecks=0, held_kopecks=0, violations=("x",)),
    ],
)
def test_a_kopeck_or_a_violation_fails_a_drill(account: Account) -> None:
    assert ALERTED.passed
    assert not Result(DRILLS[0], 1, 1, 1, account).passed


def test_the_table_takes_the_place_of_the_one_before() -> None:
    page = f"# Drills\n\n{BEGIN}\n\nold\n\n{END}\n\nafter\n"
    first = placed(page, [ALERTED])
    assert "old" not in first
    assert first == placed(first, [ALERTED])
    assert first.startswith("# Drills\n\n")
    assert first.endswith(f"{markdown([ALERTED])}\n{END}\n\nafter\n")
    with pytest.raises(ValueError, match="lacks the lines"):
        placed("# Drills\n", [ALERTED])


def test_an_alert_that_does_not_wait_says_so() -> None:
    (row,) = rows([replace(ALERTED, waits_seconds=0)])
    assert row[4] == "not at all"


def test_what_a_terminal_shows_is_measured() -> None:
    assert set(SHOWN) <= set(COLUMNS)


def test_every_drill_needs_one_step_at_the_most() -> None:
    assert max(drill.steps for drill in DRILLS) == 1
    assert len({drill.name for drill in DRILLS}) == len(DRILLS) == 9

"""The numbers that were chosen hold what is wanted of them, and the page takes the figures."""

from __future__ import annotations

import pytest

from rei_scaling.arrivals import SCENARIOS, Scenario
from rei_scaling.policy import World
from rei_scaling.report import BEGIN, END, filled
from rei_scaling.study import CHOSEN, Study, Tried, compare, course, variants, without_lag

STEP, BURST, BEYOND, RAMP, DAY = SCENARIOS


@pytest.mark.parametrize("scenario", [STEP, BURST, RAMP], ids=lambda one: one.name)
def test_the_chosen_numbers_are_as_good_as_is_wanted(scenario: Scenario) -> None:
    found = compare(scenario, CHOSEN, World(), seeds=3)
    assert found.holds, found


def test_beyond_the_ceiling_the_lag_of_15_seconds_is_what_is_missing() -> None:
    ours = compare(BEYOND, CHOSEN, World(), seeds=3)
    ideal = compare(BEYOND, without_lag(CHOSEN), World(), seeds=3)
    assert not ours.holds
    assert ideal.waited_ratio < 1.3 < ours.waited_ratio


def test_every_variant_differs_and_the_first_is_the_chosen_one() -> None:
    names, policies = zip(*variants(), strict=True)
    assert policies[0] == CHOSEN
    assert len(set(names)) == len(names)
    assert all(one != CHOSEN for one in policies[1:])


def test_the_page_is_filled_between_its_marks_and_nowhere_else() -> None:
    found = tuple(compare(one, CHOSEN, World(), seeds=1) for one in (STEP, BURST))
    study = Study(
        chosen=found, no_lag=found, tried=(Tried("as chosen", found),), started=(),
        courses=(course(STEP, World()),),
    )  # fmt: skip
    page = filled(f"before\n{BEGIN}\nstale figures\n{END}\nafter\n", study)
    assert page.startswith(f"before\n{BEGIN}\n")
    assert page.endswith(f"{END}\nafter\n")
    assert "stale figures" not in page
    assert f"| step | {found[0].waited_p95:.1f} s |" in page
    assert filled(page, study) == page
    with pytest.raises(ValueError, match="no"):
        filled("a page without a place for them", study)

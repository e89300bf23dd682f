"""How much is tried: by default a minute's worth, the same in every run; HYPOTHESIS_PROFILE=thorough
tries other, longer lives in every run, for as long as an hour."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, Phase, settings

NAME = os.environ.get("HYPOTHESIS_PROFILE", "default")
_HEALTH = (HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large)

# A race may come out differently when Hypothesis repeats it. It then reports the failure as flaky,
# with all that is needed: what overlapped, the answers, the books before and after.
PROFILES = {
    "default": settings(
        max_examples=40,
        stateful_step_count=12,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=_HEALTH,
    ),
    # For `make mutants`: whether it fails, not how little it takes to fail.
    "mutants": settings(
        max_examples=20,
        stateful_step_count=12,
        phases=(Phase.generate,),
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=_HEALTH,
    ),
    "thorough": settings(
        max_examples=2_000,
        stateful_step_count=40,
        phases=(Phase.generate, Phase.shrink),
        database=None,
        deadline=None,
        print_blob=True,
        suppress_health_check=_HEALTH,
    ),
}
PROFILE = PROFILES[NAME]
SECONDS_MAX = 7_200 if NAME == "thorough" else 600
"""For one machine, in place of the timeout that all other tests have."""

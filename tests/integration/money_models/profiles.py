"""How much is tried: by default a minute's worth, the same in every run; HYPOTHESIS_PROFILE=thorough
tries other, longer lives in every run, for as long as an hour."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, Phase, settings

NAME = os.environ.get("HYPOTHESIS_PROFILE", "default")
_HEALTH = (HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large)

# Races may come out differently in a repeat: no replay of "the same" failure is looked for beyond
# the shrinking, and a life is reported with its steps whatever the repeat says.
PROFILES = {
    "default": settings(
        max_examples=60,
        stateful_step_count=12,
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
SECONDS_MAX = 7_200 if NAME == "thorough" else 120
"""For one machine, in place of the timeout that all other tests have."""

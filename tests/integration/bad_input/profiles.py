"""How much is tried: the same in every run, and other things in every run when
HYPOTHESIS_PROFILE=thorough."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

THOROUGH = os.environ.get("HYPOTHESIS_PROFILE") == "thorough"
EXAMPLES_MAX = 2_000 if THOROUGH else 60
SECONDS_MAX = 7_200 if THOROUGH else 300
"""For one machine, in place of the timeout that all other tests have."""

PROFILE = settings(
    max_examples=EXAMPLES_MAX,
    derandomize=not THOROUGH,
    database=None,
    deadline=None,
    print_blob=THOROUGH,
    # The fixtures live for all examples: the books must hold after any row of them.
    suppress_health_check=[
        HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large,
        HealthCheck.filter_too_much,
    ],
)  # fmt: skip

"""Places where a process can be told to die, so that tests see what a crash right there leaves.

`REI_FAILPOINT=<place>` ends the process there as `kill -9` would: no handler, no flush. With `#3`
after it the place is passed twice and ends the process the third time. `REI_FAILPOINT=watch` ends
nothing and logs each place as it is reached: that is the list of what there is to try. Without the
variable a place costs one comparison.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Collection
from typing import Final

import structlog

VARIABLE: Final = "REI_FAILPOINT"
EXIT_CODE: Final = 137
"""What a shell and a kubelet call an end by kill -9."""
WATCH: Final = "watch"
REACHED: Final = "failpoint.reached"
"""The log's word for a place that is watched."""

log = structlog.get_logger(__name__)


def end_process(place: str) -> None:
    """What kill -9 does."""
    del place
    os._exit(EXIT_CODE)


class Failpoint:
    """The place where this process is to die, if there is one; raises `ValueError` if there is no
    such place in `places`."""

    def __init__(
        self, text: str | None, *, places: Collection[str], die: Callable[[str], None] = end_process
    ) -> None:
        self._watching = text == WATCH
        self._place, _, number = ("" if text is None or self._watching else text).partition("#")
        if self._place and (self._place not in places or not (number or "1").isdigit()):
            raise ValueError(f"{VARIABLE}: there is no failpoint {text!r}")
        self._passes_left = int(number or "1")
        self._places = places
        self._die = die
        self._reached: Counter[str] = Counter()

    def reach(self, place: str) -> None:
        """This place is reached."""
        assert place in self._places, place
        if self._watching:
            self._reached[place] += 1
            log.info(REACHED, place=place, number=self._reached[place])
        elif place == self._place:
            self._passes_left -= 1
            if self._passes_left == 0:
                self._die(place)

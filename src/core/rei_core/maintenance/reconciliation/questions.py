"""Asking YooKassa many things: a few at a time, and no more once it is away.

One question that fails is counted and noted, and the next one is asked. Ten in a row without an
answer, or a key that is refused, and the rest is left for the next run: with a thousand questions
and twenty seconds each nobody would get an answer today.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from typing import Final, TypeVar

import structlog

from rei_core.errors import PaymentOutcomeUnknown, PaymentProviderError, ReiError
from rei_core.maintenance.model import RunResult

log = structlog.get_logger(__name__)

UNANSWERED_IN_A_ROW_MAX: Final = 10
REMOTE_PAGE: Final = 100
"""Of the provider's lists that are looked up here together."""
STILL_ON_ITS_WAY: Final = "refund_pending"
"""The code of an answer that is no failure: the provider needs more time."""

Thing = TypeVar("Thing")


class Questions:
    """The count of what was asked and what came of it; `result` is only added to."""

    def __init__(self, result: RunResult, *, concurrency: int) -> None:
        self.result = result
        self.provider_is_away = False
        self._concurrency = concurrency
        self._unanswered_in_a_row = 0

    async def ask_each(
        self,
        things: Sequence[Thing],
        ask: Callable[[Thing], Awaitable[None]],
        *,
        subject: Callable[[Thing], str],
    ) -> None:
        """Ask about each, `concurrency` at a time, until the provider is away.

        `subject` names a thing for a person. What `ask` raises that is no `ReiError` is raised,
        once the others have ended.
        """
        left = iter(things)
        lanes = [
            self._ask_in_turn(left, ask, subject)
            for _ in range(min(self._concurrency, len(things)))
        ]
        ends = await asyncio.gather(*lanes, return_exceptions=True)
        for end in ends:
            if end is not None:
                raise end

    async def _ask_in_turn(
        self,
        left: Iterator[Thing],
        ask: Callable[[Thing], Awaitable[None]],
        subject: Callable[[Thing], str],
    ) -> None:
        for thing in left:
            if self.provider_is_away:
                return
            self.result = self.result.plus(examined=1)
            try:
                await ask(thing)
            except ReiError as error:
                self.failed(subject(thing), error)
            else:
                self._unanswered_in_a_row = 0

    async def pages(
        self, listed: AsyncIterator[Thing], *, subject: str
    ) -> AsyncIterator[list[Thing]]:
        """A list of the provider's, some at a time. If it breaks off, that is counted and noted, and
        what has come is told all the same."""
        page: list[Thing] = []
        try:
            async for thing in listed:
                page.append(thing)
                if len(page) == REMOTE_PAGE:
                    yield page
                    page = []
        except PaymentProviderError as error:
            self.failed(subject, error)
        if page:
            yield page

    def changed(self, *, amount_kopecks: int = 0) -> None:
        """Something came to its end, and perhaps money to a customer."""
        self.result = self.result.plus(changed=1, amount_kopecks=amount_kopecks)

    def note(self, sentence: str) -> None:
        """Something that a person should know."""
        self.result = self.result.noting(sentence)

    def failed(self, subject: str, error: ReiError) -> None:
        """Count and note what went wrong; see whether it is worth asking on."""
        if getattr(error, "code", None) == STILL_ON_ITS_WAY:
            self._unanswered_in_a_row = 0
            return
        self.result = self.result.plus(failed=1).noting(f"{subject}: {error}")
        log.warning("reconciliation.failed", subject=subject, detail=str(error)[:300])
        if getattr(error, "http_status", None) in (401, 403):
            self._give_up("YooKassa refuses our key: nothing more was asked")
        elif isinstance(error, PaymentOutcomeUnknown) and not error.code:
            self._unanswered_in_a_row += 1
            if self._unanswered_in_a_row >= UNANSWERED_IN_A_ROW_MAX:
                self._give_up("YooKassa does not answer: the rest waits for the next run")
        elif isinstance(error, PaymentProviderError):
            self._unanswered_in_a_row = 0

    def _give_up(self, why: str) -> None:
        self.provider_is_away = True
        self.result = self.result.noting(why)

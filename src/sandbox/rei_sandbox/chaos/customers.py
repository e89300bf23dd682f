"""Customers under load: each tops up, orders, clicks twice, cancels, and waits for the end.

A customer never gives up on what must come: an answer that is late is waited for, and what never
comes is counted. What they did is remembered (`Deeds`), to be held against the database at the end.

The stand-ins are no part of what is tried: a request to one that fails is made again a few times and
counted, and one that fails every time leaves the step undone, which is counted too. It ends nobody's
run, but the report says that less was tried than was promised.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Final

import httpx

from rei_sandbox.chaos.chats import Chats
from rei_sandbox.demo.person import Seen

ANSWER_SECONDS_MAX: Final = 90.0
END_SECONDS_MAX: Final = 90.0
PAUSED_SECONDS: Final = 1.0
TRIES_MAX: Final = 12
REQUEST_TRIES_MAX: Final = 4
REQUEST_AGAIN_SECONDS: Final = 0.2
TOPUP_LABEL: Final = "200 ₽"
DRAW: Final = "Нарисовать за"
AGAIN: Final = "Попробовать ещё раз"
PROMPTS: Final = (
    "рыжий кот",
    "горы на рассвете",
    "робот с цветком",
    "портрет маслом",
    "дом у моря",
)


@dataclass
class Deeds:
    """What all customers did and saw."""

    counts: Counter[str] = field(default_factory=Counter)
    pressed: set[tuple[int, int]] = field(default_factory=set)
    """(user, message) of every order that was confirmed by a click which Telegram took."""
    refused: set[tuple[int, int]] = field(default_factory=set)
    """Those whose card said why there is no job."""
    undone: int = 0
    """Steps that no stand-in took, however often it was asked."""


class Customer:
    """One customer with `orders` to place."""

    def __init__(
        self,
        user_id: int,
        *,
        http: httpx.AsyncClient,
        chats: Chats,
        deeds: Deeds,
        rng: random.Random,
        orders: int,
    ) -> None:
        self._user_id = user_id
        self._http = http
        self._chats = chats
        self._deeds = deeds
        self._rng = rng
        self._orders = orders
        self._base = f"/_sandbox/telegram/users/{user_id}"
        self._since = 0

    async def live(self) -> None:
        """All orders, one after the other."""
        await self._say("/start")
        await self._sees("greeting", "Здравствуйте")
        await self._topup()
        for number in range(self._orders):
            if number and self._rng.random() < 0.08:
                await self._topup()
            await self._order()

    async def _topup(self) -> None:
        await self._say("/topup")
        menu = await self._sees("topup menu", "Выберите сумму")
        if menu is None or not await self._press(menu, TOPUP_LABEL):
            return
        bill = await self._bill()
        if bill is None:
            return
        self._deeds.counts["topups"] += 1
        action = "decline" if self._rng.random() < 0.05 else "pay"
        if not await self._post(bill.button("Оплатить"), data={"action": action}):
            return
        if action == "decline":
            await self._sees("decline", "отменён")
            return
        if self._rng.random() < 0.3:  # impatient: races the notification
            await self._press(bill, "Проверить")
        while await self._find("credit", _credited, seconds=15, count=False) is None:
            self._deeds.counts["checks"] += 1
            now = self._chats.message(self._user_id, bill.message_id)
            if now is None or not _has(now, "Проверить"):
                return
            await self._press(now, "Проверить")

    async def _bill(self) -> Seen | None:
        """The payment to be paid; asked for again while YooKassa does not answer."""
        for _ in range(TRIES_MAX):
            found = await self._find(
                "bill", lambda seen: _has(seen, "Проверить") or _has(seen, AGAIN)
            )
            if found is None or _has(found, "Проверить"):
                return found
            self._deeds.counts["top-ups tried again"] += 1
            await self._press(found, AGAIN)
            await asyncio.sleep(PAUSED_SECONDS)
        return None

    async def _order(self) -> None:
        """One order, however often it takes: without money for it there is a top-up first."""
        prompt = "запретное" if self._rng.random() < 0.05 else self._rng.choice(PROMPTS)
        for _ in range(TRIES_MAX):
            await self._say(prompt)
            card = await self._find("card", lambda seen: "Ваш заказ" in seen.text)
            if card is None:
                continue
            if not _has(card, DRAW):
                await self._topup()
                continue
            outcome = await self._confirm(card)
            while outcome == "paused":
                outcome = await self._confirm(card)
            if outcome == "accepted":
                await self._await_end(card.message_id)
                return

    async def _confirm(self, card: Seen) -> str:
        key = (self._user_id, card.message_id)
        self._deeds.refused.discard(key)
        if await self._press(card, DRAW):
            self._deeds.pressed.add(key)
        if self._rng.random() < 0.15:
            self._deeds.counts["double clicks"] += 1
            if await self._press(card, DRAW):
                self._deeds.pressed.add(key)
        changed = await self._changed(card.message_id, _answered)
        if changed is None:
            self._deeds.counts["unanswered: order"] += 1
            return "unanswered"
        if "Ваш заказ" in changed.text:  # still a card, with a notice why
            self._deeds.refused.add(key)
            self._deeds.counts["refused orders"] += 1
            if "⏸" not in changed.text:
                return "refused"
            await asyncio.sleep(PAUSED_SECONDS)
            return "paused"
        if _has(changed, "Отменить") and self._rng.random() < 0.05:
            self._deeds.counts["cancels"] += 1
            await self._press(changed, "Отменить")
        return "accepted"

    async def _await_end(self, message_id: int) -> None:
        """Until the picture's original, the news of a refund, or a cancelled order."""

        def ended(seen: Seen) -> bool:
            if seen.message_id == message_id:
                return "Заказ отменён" in seen.text
            return seen.document is not None or "Не получилось" in seen.text

        found = await self._chats.find(
            self._user_id, ended, since=message_id - 1, seconds=END_SECONDS_MAX
        )
        self._deeds.counts["ends seen" if found else "ends not seen"] += 1

    async def _changed(self, message_id: int, condition: Any) -> Seen | None:
        return await self._chats.find(
            self._user_id,
            lambda seen: seen.message_id == message_id and condition(seen),
            since=message_id - 1,
            seconds=ANSWER_SECONDS_MAX,
        )

    async def _sees(self, what: str, words: str) -> Seen | None:
        return await self._find(what, lambda seen: words in seen.text)

    async def _find(
        self,
        what: str,
        condition: Any,
        *,
        seconds: float | None = None,
        count: bool = True,
    ) -> Seen | None:
        """Among what came since the last thing said, edits of it included."""
        seconds = ANSWER_SECONDS_MAX if seconds is None else seconds
        found = await self._chats.find(self._user_id, condition, since=self._since, seconds=seconds)
        if found is None and count:
            self._deeds.counts[f"unanswered: {what}"] += 1
        return found

    async def _say(self, text: str) -> None:
        self._since = self._chats.latest(self._user_id)
        self._deeds.counts["messages"] += 1
        await self._post(f"{self._base}/messages", json={"text": text})

    async def _press(self, message: Seen, words: str) -> bool:
        """Press a button, if the message still has it; whether that was taken."""
        if not _has(message, words):
            return False
        self._deeds.counts["presses"] += 1
        data = {"message_id": message.message_id, "data": message.button(words)}
        return await self._post(f"{self._base}/press", json=data)

    async def _post(self, url: str, **body: Any) -> bool:
        """Ask a stand-in to do something, again if need be; whether it was taken.

        Asked again after an answer was lost it may be done twice, as people do things twice.
        """
        for number in range(REQUEST_TRIES_MAX):
            if number:
                await asyncio.sleep(REQUEST_AGAIN_SECONDS)
            try:
                answer = await self._http.post(url, **body)
            except httpx.HTTPError as error:
                self._deeds.counts[f"HTTP errors: {type(error).__name__}"] += 1
                continue
            if answer.status_code < 500:
                return answer.is_success or answer.is_redirect
            self._deeds.counts[f"HTTP errors: {answer.status_code}"] += 1
        self._deeds.undone += 1
        return False


def _has(seen: Seen, words: str) -> bool:
    return any(words in label for label in seen.buttons)


def _credited(seen: Seen) -> bool:
    return "Зачислено" in seen.text


def _answered(seen: Seen) -> bool:
    """A card that a confirmation has changed: it is a job now, or says why not."""
    return "Ваш заказ" not in seen.text or any(mark in seen.text for mark in ("⏸", "⏳", "❗️"))

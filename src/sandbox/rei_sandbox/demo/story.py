"""The customer's story: top-up → picture → refusal refunded → outage survived → ledger audited.

Each step acts as a person would, in the chat and on the pay page, and holds the outcome against
what it has to be, to the kopeck; the first that does not hold raises `StoryBroke`. `moments` are
called where a crash would hurt most, so that a test can put one there.
"""

from __future__ import annotations

import io
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import httpx
from PIL import Image

from rei_core.db import Pool
from rei_core.ledger import queries as ledger
from rei_core.ledger.audit import AuditReport, audit
from rei_core.ledger.model import Transfer
from rei_core.money import format_rubles
from rei_sandbox.demo.person import Person, Seen, StoryBroke, plain
from rei_sandbox.stage import Outside

TOPUP_KOPECKS: Final = 50_000
PRICE_KOPECKS: Final = 1_500
OUTAGE_CALLS: Final = 2
CUSTOMER_ID: Final = 1001
REAL_PAYMENT_SECONDS_MAX: Final = 600.0

Moment = Literal["paid", "ordered", "drawing", "refused"]
"""paid: the payer has just paid; ordered: an order has just been confirmed; drawing: a worker is at
it; refused: a blocked prompt has just been ordered."""
AtMoment = Callable[[Moment], Awaitable[None]]
Tell = Callable[[str], None]


async def nothing_happens(moment: Moment) -> None:
    """The moment passes."""


@dataclass(frozen=True, slots=True)
class Told:
    """What the story came to."""

    picture: Path
    report: AuditReport
    statement: list[Transfer]


class Story:
    """One run of the story against a running stage."""

    def __init__(
        self,
        *,
        http: httpx.AsyncClient,
        pool: Pool,
        folder: Path,
        outside: Outside,
        tell: Tell,
        at_moment: AtMoment = nothing_happens,
    ) -> None:
        """`http` has the sandbox as its base; pictures go into `folder`."""
        self._http = http
        self._pool = pool
        self._folder = folder
        self._outside = outside
        self._tell = tell
        self._at_moment = at_moment
        self._anya = Person(http, user_id=CUSTOMER_ID)
        self._spent_kopecks = 0

    async def play(self) -> Told:
        """All steps in order."""
        await self._greeting()
        await self._topup()
        picture = await self._picture()
        if self._outside.gemini:
            self._tell("  (a refusal and an outage cannot be ordered from the real Gemini)")
        else:
            await self._refusal()
            await self._outage()
        await self._balance_shown()
        report, statement = await self._ledger()
        return Told(picture, report, statement)

    async def _greeting(self) -> None:
        self._tell("Anya opens the bot")
        await self._anya.say("/start")
        await self._anya.reads("Здравствуйте")

    async def _topup(self) -> None:
        self._tell(f"Anya tops up {format_rubles(TOPUP_KOPECKS)} through YooKassa")
        await self._anya.say("/topup")
        menu = await self._anya.reads("Выберите сумму")
        await self._anya.press(menu, plain(format_rubles(TOPUP_KOPECKS)))
        bill = await self._anya.sees(
            "a payment", lambda seen: "Проверить" in str(seen.buttons), anywhere=True
        )
        if self._outside.yookassa:
            await self._paid_by_somebody(bill)
        else:
            await self._pay(bill.button("Оплатить"))
            await self._at_moment("paid")
            await self._anya.reads("Зачислено 500 ₽")
        await self._expect_balance(TOPUP_KOPECKS)

    async def _pay(self, page: str) -> None:
        shown = await self._http.get(page)
        if "500" not in shown.text:
            raise StoryBroke("a pay page of 500 ₽", shown.text[:200])
        await self._http.post(page, data={"action": "pay"})

    async def _paid_by_somebody(self, bill: Seen) -> None:
        self._tell(f"  pay it there, I wait: {bill.button('Оплатить')}")
        deadline = time.monotonic() + REAL_PAYMENT_SECONDS_MAX
        while time.monotonic() < deadline:
            await self._anya.press(bill, "Проверить")
            bill = await self._anya.sees(
                "an answer of YooKassa", lambda seen: "₽" in seen.text, anywhere=True
            )
            if "Зачислено" in bill.text:
                return
        raise StoryBroke("the payment", "nobody paid")

    async def _picture(self) -> Path:
        self._tell("Anya orders a picture")
        await self._order("кот в скафандре, акварель")
        await self._at_moment("ordered")
        progress = await self._anya.sees(
            "the order's progress", lambda seen: _accepted(seen.text), anywhere=True
        )
        self._tell(f"  the chat says: {progress.text.splitlines()[0]}")
        await self._at_moment("drawing")
        picture = await self._receive("cat.png")
        self._spent_kopecks += PRICE_KOPECKS
        await self._expect_balance(TOPUP_KOPECKS - self._spent_kopecks)
        return picture

    async def _refusal(self) -> None:
        self._tell("Anya asks for something that Gemini refuses")
        await self._order("запретное")
        await self._at_moment("refused")
        news = await self._anya.reads("Не получилось")
        if "Мы вернули 15 ₽ на баланс" not in news.text:
            raise StoryBroke("the news that the money is back", news.text)
        self._tell(f"  the bot says why, and: {news.text.strip().splitlines()[-1]}")
        await self._expect_balance(TOPUP_KOPECKS - self._spent_kopecks)

    async def _outage(self) -> None:
        self._tell(f"Gemini is down for {OUTAGE_CALLS} calls while Anya orders again")
        body = {"service": "gemini", "kind": "unavailable", "count": OUTAGE_CALLS}
        (await self._http.post("/_sandbox/faults", json=body)).raise_for_status()
        await self._order("рыжий лис читает газету")
        await self._receive("fox.png")
        self._spent_kopecks += PRICE_KOPECKS
        state = (await self._http.get("/_sandbox/faults")).json()
        happened = state["taken"].get("gemini.unavailable", 0)
        if happened != OUTAGE_CALLS:
            raise StoryBroke(f"{OUTAGE_CALLS} refused calls", str(happened))
        self._tell(f"  {happened} calls answered 503, the next one gave the picture; charged once")
        await self._expect_balance(TOPUP_KOPECKS - self._spent_kopecks)

    async def _order(self, prompt: str) -> None:
        await self._anya.say(prompt)
        card = await self._anya.reads("Ваш заказ")
        await self._anya.press(card, "Нарисовать за 15 ₽")

    async def _receive(self, name: str) -> Path:
        """Wait for picture and original; save the original."""
        await self._anya.sees("the picture", lambda seen: seen.photo is not None)
        file = await self._anya.sees("the original", lambda seen: seen.document is not None)
        assert file.document is not None
        data = await self._anya.download(file.document)
        image = Image.open(io.BytesIO(data))
        image.load()
        path = self._folder / name
        path.write_bytes(data)
        self._tell(f"  saved {path} ({image.width}×{image.height}, {image.format})")
        return path

    async def _balance_shown(self) -> None:
        await self._anya.say("/balance")
        balance = plain(format_rubles(TOPUP_KOPECKS - self._spent_kopecks))
        await self._anya.reads(f"Баланс: {balance}")

    async def _expect_balance(self, kopecks: int) -> None:
        async with self._pool.acquire() as connection:
            found = await ledger.balance_kopecks(connection, CUSTOMER_ID)
        if found != kopecks:
            raise StoryBroke(f"a balance of {format_rubles(kopecks)}", format_rubles(found))
        self._tell(f"  balance {format_rubles(found)}")

    async def _ledger(self) -> tuple[AuditReport, list[Transfer]]:
        self._tell("The ledger is audited")
        async with self._pool.acquire() as connection:
            report = await audit(connection)
            statement = await ledger.statement(connection, CUSTOMER_ID)
        if not report.consistent or sum(report.accounts.values()) != 0:
            raise StoryBroke("a consistent ledger", str(report.violations))
        if report.accounts.get("revenue", 0) != self._spent_kopecks:
            raise StoryBroke(f"revenue of {self._spent_kopecks} kopecks", str(report.accounts))
        return report, statement


def _accepted(text: str) -> bool:
    return any(words in text for words in ("Заказ принят", "Рисую", "Готово"))

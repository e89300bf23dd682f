"""Customers of a drill: whether they can top up and get pictures is what "healthy" means."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Self

import httpx

from rei_core.money import format_rubles
from rei_sandbox.demo.person import Person, Seen, plain

TOPUP_KOPECKS: Final = 50_000


@dataclass(frozen=True, slots=True)
class Customer:
    """Somebody with a chat, which the bot has been greeted in."""

    http: httpx.AsyncClient
    """Of the sandbox."""
    person: Person

    @classmethod
    async def arrives(cls, http: httpx.AsyncClient, name: str) -> Self:
        """A new account at Telegram, and the first words to the bot."""
        body = {"first_name": name, "language_code": "ru"}
        answer = await http.post("/_sandbox/telegram/users", json=body)
        answer.raise_for_status()
        customer = cls(http, Person(http, user_id=answer.json()["user"]["id"]))
        await customer.person.say("/start")
        await customer.person.reads("Здравствуйте")
        return customer

    @property
    def user_id(self) -> int:
        return self.person.user_id

    async def bill(self) -> str:
        """Begin a top-up; the address of the pay page."""
        await self.person.say("/topup")
        menu = await self.person.reads("Выберите сумму")
        await self.person.press(menu, plain(format_rubles(TOPUP_KOPECKS)))
        bill = await self.person.sees(
            "a payment", lambda seen: "Проверить" in str(seen.buttons), anywhere=True
        )
        return bill.button("Оплатить")

    async def pays(self, page: str) -> None:
        (await self.http.post(page, data={"action": "pay"})).raise_for_status()

    async def is_credited(self) -> None:
        await self.person.reads(f"Зачислено {plain(format_rubles(TOPUP_KOPECKS))}", anywhere=True)

    async def tops_up(self) -> None:
        await self.pays(await self.bill())
        await self.is_credited()

    async def orders(self) -> None:
        """Confirm an order; what becomes of it is another matter."""
        await self.person.say("кот на Луне")
        card = await self.person.reads("Ваш заказ")
        await self.person.press(card, "Нарисовать за 15 ₽")

    async def receives(self) -> Seen:
        return await self.person.sees("the picture", lambda seen: seen.photo is not None)

    async def buys(self) -> None:
        """Order a picture and get it."""
        await self.orders()
        await self.receives()

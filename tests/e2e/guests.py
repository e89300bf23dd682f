"""Customers who order without waiting for their pictures; run inside the sandbox's pod:

    python - PEOPLE ORDERS PAUSE_SECONDS < guests.py

All of them top up first; then each orders ORDERS pictures, PAUSE_SECONDS between two. Once all orders
are taken, it says how many.
"""

from __future__ import annotations

import asyncio
import sys

import httpx

from rei_sandbox.demo.person import Person

SANDBOX = "http://127.0.0.1:8090"
TOPUP = "500 ₽"


async def come_in(http: httpx.AsyncClient, number: int) -> Person:
    """A customer with money."""
    answer = await http.post(
        "/_sandbox/telegram/users", json={"first_name": f"Guest {number}", "language_code": "ru"}
    )
    person = Person(http, user_id=answer.json()["user"]["id"])
    await person.say("/start")
    await person.reads("Здравствуйте")
    await person.say("/topup")
    await person.press(await person.reads("Выберите сумму"), TOPUP)
    bill = await person.sees("a bill", lambda seen: "Проверить" in str(seen.buttons), anywhere=True)
    await http.post(bill.button("Оплатить"), data={"action": "pay"})
    await person.reads("Зачислено")
    return person


async def order(person: Person, prompt: str) -> None:
    await person.say(prompt)
    card = await person.reads("Ваш заказ")
    await person.press(card, "Нарисовать за")
    await person.sees(
        "the order taken",
        lambda seen: seen.message_id == card.message_id and "Ваш заказ" not in seen.text,
        anywhere=True,
    )


async def buy(person: Person, *, orders: int, pause_seconds: float) -> None:
    for number in range(orders):
        await order(person, f"кот номер {number}")
        await asyncio.sleep(pause_seconds)


async def main(people: int, orders: int, pause_seconds: float) -> None:
    async with httpx.AsyncClient(base_url=SANDBOX, timeout=60, trust_env=False) as http:
        guests = await asyncio.gather(*(come_in(http, number) for number in range(people)))
        await asyncio.gather(
            *(buy(guest, orders=orders, pause_seconds=pause_seconds) for guest in guests)
        )
    sys.stdout.write(f"{people * orders}\n")


asyncio.run(main(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])))

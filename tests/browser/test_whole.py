"""The whole of Rei behind the page: PostgreSQL, Redis, sandbox, bot and worker, each a process.

Each test is a customer of its own; after each, the ledger is audited.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio
from PIL import Image
from playwright.async_api import expect

from rei_core.db import Pool, create_pool
from rei_core.ledger import queries as ledger
from rei_core.ledger.audit import audit
from rei_sandbox.stage import Stage

from .conftest import ANYA, Open, picture
from .screen import Screen

pytestmark = pytest.mark.timeout(180)

SECONDS_MAX = 60
DESKTOP, PHONE = (1440, 900), (390, 844)


@pytest.fixture(scope="module")
def stage(chromium: str) -> Iterator[Stage]:
    """All processes, for the tests of this module together."""
    assert chromium
    # Not in pytest's own folder: run by root, PostgreSQL is another user and is kept out of it.
    with (
        tempfile.TemporaryDirectory(prefix="rei-", ignore_cleanup_errors=True) as folder,
        Stage(Path(folder), durable=False).running() as running,
    ):
        yield running


@pytest_asyncio.fixture(loop_scope="session")
async def pool(stage: Stage) -> AsyncIterator[Pool]:
    """The stage's database; audited when the test is over."""
    opened = await create_pool(stage.database_url, application="test", size_max=2)
    yield opened
    async with opened.acquire() as connection:
        report = await audit(connection)
    await opened.close()
    assert report.consistent, report.violations


async def _customer(
    open_at: Open, stage: Stage, *, name: str, size: tuple[int, int] = DESKTOP, language: str = "ru"
) -> tuple[Screen, int]:
    """A page on the chat of a new person who has started the bot."""
    screen = await open_at(stage.sandbox_url, width=size[0], height=size[1])
    user_id = await screen.add_person(name, language=language)
    await screen.start()
    await screen.reads("Здравствуйте" if language == "ru" else "Hello", seconds_max=SECONDS_MAX)
    return screen, user_id


async def _top_up(screen: Screen) -> None:
    """Buy 500 ₽ as a customer does: from the greeting's button to the news of the money."""
    await screen.press("Пополнить")
    await screen.reads("Выберите сумму", seconds_max=SECONDS_MAX)
    await screen.press("500 ₽")
    await expect(screen.button("Оплатить 500 ₽")).to_be_visible(timeout=SECONDS_MAX * 1000)
    await screen.press("Оплатить 500 ₽")
    await screen.pay("pay")
    await screen.reads("Зачислено 500 ₽", seconds_max=SECONDS_MAX)


async def _order(screen: Screen, prompt: str) -> None:
    await screen.say(prompt)
    await screen.reads("Ваш заказ", seconds_max=SECONDS_MAX)
    await screen.press("Нарисовать за 15 ₽")


async def _received(screen: Screen) -> None:
    """Picture and original are in the chat, and the order's card says so."""
    await expect(screen.theirs.get_by_test_id("photo")).to_have_count(1, timeout=SECONDS_MAX * 1000)
    await expect(screen.theirs.get_by_test_id("document")).to_have_count(
        1, timeout=SECONDS_MAX * 1000
    )
    await screen.reads("Готово", seconds_max=SECONDS_MAX)


async def _balance(pool: Pool, user_id: int) -> int:
    async with pool.acquire() as connection:
        return await ledger.balance_kopecks(connection, user_id)


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
async def test_a_purchase_a_picture_and_its_original(
    open_at: Open, stage: Stage, pool: Pool, size: tuple[int, int], tmp_path: Path
) -> None:
    screen, user_id = await _customer(open_at, stage, name="Вера", size=size)
    await _top_up(screen)
    assert await _balance(pool, user_id) == 50_000
    await _order(screen, "кот в скафандре")
    await _received(screen)
    assert await _balance(pool, user_id) == 48_500

    async with screen.page.expect_download() as coming:
        await screen.theirs.get_by_test_id("document").click()
    await (await coming.value).save_as(tmp_path / "original.png")
    with Image.open(tmp_path / "original.png") as original:
        assert (original.format, original.size) == ("PNG", (1024, 1024))
    await screen.theirs.get_by_test_id("photo").click()
    await expect(screen.at("viewer-image")).to_have_js_property("naturalWidth", 1024)
    await screen.at("viewer-close").click()

    await screen.say("/balance")
    await screen.reads("Баланс: 485 ₽", seconds_max=SECONDS_MAX)
    assert await screen.overflow() <= 0


async def test_what_is_refused_is_paid_back_and_the_chat_says_why(
    open_at: Open, stage: Stage, pool: Pool
) -> None:
    screen, user_id = await _customer(open_at, stage, name="Олег", size=PHONE)
    await _top_up(screen)
    await _order(screen, "запретное")
    refused = await screen.reads("Не получилось", seconds_max=SECONDS_MAX)
    await expect(refused).to_contain_text("правилам")
    await expect(refused).to_contain_text("Мы вернули 15 ₽ на баланс")
    await expect(screen.theirs.get_by_test_id("photo")).to_have_count(0)
    assert await _balance(pool, user_id) == 50_000


async def test_an_outage_ordered_on_the_page_costs_the_customer_nothing(
    open_at: Open, stage: Stage, pool: Pool
) -> None:
    screen, user_id = await _customer(open_at, stage, name="Ира")
    await _top_up(screen)
    await screen.at("preset").filter(has_text="Gemini 503").click()
    await expect(screen.at("waiting-fault")).to_have_count(1)
    await _order(screen, "маяк в шторм")
    await _received(screen)
    await expect(screen.at("waiting-fault")).to_have_count(0)
    assert await _balance(pool, user_id) == 48_500


async def test_photos_are_uploaded_and_redrawn(open_at: Open, stage: Stage, pool: Pool) -> None:
    screen, user_id = await _customer(open_at, stage, name="Лев")
    await _top_up(screen)
    files = [
        {"name": f"{colour}.png", "mimeType": "image/png", "buffer": picture(colour=colour)}
        for colour in ("red", "green")
    ]
    await screen.at("files").set_input_files(files)  # type: ignore[arg-type]  # FilePayload's shape
    await screen.at("caption").fill("соедини их")
    await screen.at("attachment-send").click()
    card = await screen.reads("Ваш заказ", seconds_max=SECONDS_MAX)
    await expect(card).to_contain_text("соедини их")
    await expect(card).to_contain_text("2 фото")
    await screen.press("Нарисовать за 15 ₽")
    await _received(screen)
    assert await _balance(pool, user_id) == 48_500


async def test_an_order_that_waits_can_be_cancelled(
    open_at: Open, stage: Stage, pool: Pool
) -> None:
    screen, user_id = await _customer(open_at, stage, name="Нина")
    await _top_up(screen)
    stage.worker.freeze()
    try:
        await _order(screen, "никогда не нарисованное")
        await screen.reads("Заказ принят", seconds_max=SECONDS_MAX)
        assert await _balance(pool, user_id) == 48_500
        await screen.press("Отменить")
        cancelled = await screen.reads("Заказ отменён", seconds_max=SECONDS_MAX)
        await expect(cancelled).to_contain_text("Мы вернули 15 ₽ на баланс")
    finally:
        stage.worker.thaw()
    assert await _balance(pool, user_id) == 50_000


async def test_a_declined_payment_brings_no_money(open_at: Open, stage: Stage, pool: Pool) -> None:
    screen, user_id = await _customer(open_at, stage, name="Юра", size=PHONE)
    await screen.press("Пополнить")
    await screen.reads("Выберите сумму", seconds_max=SECONDS_MAX)
    await screen.press("500 ₽")
    await screen.press("Оплатить 500 ₽")
    await screen.pay("decline")
    await screen.press("Проверить оплату")
    await expect(screen.button("Оплатить 500 ₽")).to_have_count(0, timeout=SECONDS_MAX * 1000)
    assert await _balance(pool, user_id) == 0


async def test_two_people_at_once_get_each_their_own(
    open_at: Open, stage: Stage, pool: Pool
) -> None:
    (one, one_id), (two, two_id) = await asyncio.gather(
        _customer(open_at, stage, name="Маша", size=PHONE),
        _customer(open_at, stage, name="Паша", size=DESKTOP),
    )
    await asyncio.gather(_top_up(one), _top_up(two))
    await asyncio.gather(_order(one, "море на рассвете"), _order(two, "горы в снегу"))
    await asyncio.gather(_received(one), _received(two))
    for screen, own, other in ((one, "море", "горы"), (two, "горы", "море")):
        await expect(screen.at("log")).to_contain_text(own)
        await expect(screen.at("log")).not_to_contain_text(other)
    assert [await _balance(pool, each) for each in (one_id, two_id)] == [48_500, 48_500]
    await two.switch_to(one_id)
    await expect(two.at("log")).to_contain_text("море")
    await two.page.wait_for_function("document.querySelectorAll('.photo img').length === 1")


async def test_the_commands_come_in_the_persons_language(open_at: Open, stage: Stage) -> None:
    english, _ = await _customer(open_at, stage, name="Grace", language="en")
    await english.at("slash").click()
    await expect(english.at("command").filter(has_text="/topup")).to_contain_text("Top up")
    await english.switch_to(ANYA)
    await english.start()
    await english.reads("Здравствуйте", seconds_max=SECONDS_MAX)
    await english.at("slash").click()
    await expect(english.at("command").filter(has_text="/topup")).to_contain_text("Пополнить")

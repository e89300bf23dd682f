"""Whatever a customer writes, presses or sends: a polite answer in their language, no word of
Python's in the chat, and not a kopeck moved that was not agreed to."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import pytest
from aiogram.types import Document, InlineKeyboardMarkup, PhotoSize, Update
from aiogram.types import User as TelegramUser
from hypothesis import example, given
from hypothesis import strategies as st

from rei_core.ledger.audit import audit
from rei_sandbox.telegram import entities

from ..bot_conversation.conftest import CUSTOMER, Conversation
from .hostile import TEXTS, callback_data
from .profiles import PROFILE, SECONDS_MAX

pytestmark = pytest.mark.timeout(SECONDS_MAX)

OTHER = 8
NAME = "Аня"
PRICE_KOPECKS = 1500
NEVER_SAID = re.compile(
    r"Traceback|\w(?:Error|Exception)\b|\bNone\b|<class|__\w+__|\brei_\w|aiogram|asyncpg|pydantic"
    r"|\bself\b|violates|invalid byte"
)
LATIN_OF_OURS = re.compile(r"[A-Za-z]{3}")
CYRILLIC = re.compile(r"[а-яё]{2}", re.IGNORECASE)

languages = st.sampled_from(["ru", "en"])
names = st.sampled_from(["Аня", "<b>", "\x00", "{n}", "\u202eя", "x" * 64, "'; --"])


@dataclass(frozen=True)
class Books:
    """All that may move money, and what has moved."""

    balances: tuple[tuple[int, int], ...]
    transfers: int
    jobs: int

    @staticmethod
    async def of(rei: Conversation) -> Books:
        rows = await rei.pool.fetch("SELECT user_id, balance_kopecks FROM balances ORDER BY 1")
        return Books(
            tuple((row["user_id"], row["balance_kopecks"]) for row in rows),
            await rei.count("transfers"),
            await rei.count("jobs"),
        )


class Scene:
    """Two customers with money: one of them writes, what the other has is not for him."""

    def __init__(self, rei: Conversation) -> None:
        self.rei = rei
        self.before: Books | None = None
        self.data: st.SearchStrategy[str] = st.nothing()

    async def set(self) -> None:
        """Both have money; the other one a draft, a queued job and a payment, the hostile a draft."""
        rei = self.rei
        if self.before is not None:
            return
        await rei.give(100_000, CUSTOMER)
        await rei.give(100_000, OTHER)
        card = await rei.say("кот", OTHER)
        await rei.tap(card, "Нарисовать", OTHER)
        await rei.say("собака", OTHER)
        await rei.tap(await rei.say("/topup", OTHER), "200", OTHER)
        await rei.say("мой кот", CUSTOMER)
        rei.bot._me = TelegramUser(id=42, is_bot=True, first_name="Rei", username="rei_bot")
        self.before = await Books.of(rei)
        payment = await rei.pool.fetchval("SELECT id FROM payments")
        job = await rei.pool.fetchval("SELECT id FROM jobs")
        drafts = [row["id"] for row in await rei.pool.fetch("SELECT id FROM drafts")]
        self.numbers = [job, *drafts, CUSTOMER, OTHER, 1000, PRICE_KOPECKS - 1, 1, 20_000]
        self.ids = [payment]

    async def feed(self, update: Update, *, said: str = "") -> list[Any]:
        """Bring an update; the calls it caused, looked at as Telegram and the customer would."""
        calls = self.rei.telegram.calls
        start = len(calls)
        await self.rei.feed(update)
        caused = calls[start:]
        for call in caused:
            _telegram_takes(call)
            _customer_can_read(call, language=self.rei.language, said=said)
        return list(caused)

    async def nothing_moved(self) -> None:
        assert await Books.of(self.rei) == self.before
        async with self.rei.pool.acquire() as connection:
            assert (await audit(connection)).violations == ()


def _telegram_takes(call: Any) -> None:
    """What the real service refuses would leave the customer without an answer."""
    text = getattr(call, "text", None)
    if text is not None and type(call).__name__ in {"SendMessage", "EditMessageText"}:
        plain, _found = entities.parse(text, call.parse_mode or "")
        assert plain
        assert entities.units(plain) <= 4096
    if text is not None and type(call).__name__ == "AnswerCallbackQuery":
        assert len(text) <= 200
    markup = getattr(call, "reply_markup", None)
    if isinstance(markup, InlineKeyboardMarkup):
        for button in (button for row in markup.inline_keyboard for button in row):
            assert button.text.strip()
            assert len((button.callback_data or "").encode()) <= 64


def _customer_can_read(call: Any, *, language: str, said: str) -> None:
    """Our words, without the customer's own."""
    text = str(getattr(call, "text", None) or "")
    if not text:
        return
    ours = entities.parse(text, "HTML")[0] if type(call).__name__ != "AnswerCallbackQuery" else text
    shown = ours.split("✏️")[0] if said else ours  # from there on a card shows the prompt
    assert not NEVER_SAID.search(shown), ours
    if language == "ru":
        assert CYRILLIC.search(ours), ours
    elif not CYRILLIC.search(said) and NAME not in ours:
        assert not CYRILLIC.search(shown), ours
        assert LATIN_OF_OURS.search(ours), ours


def _kinds(calls: list[Any]) -> list[str]:
    return [type(call).__name__ for call in calls]


@pytest.fixture
def scene(rei: Conversation) -> Scene:
    return Scene(rei)


@PROFILE
@given(data=st.data(), language=languages)
async def test_any_button(scene: Scene, data: st.DataObject, language: str) -> None:
    await scene.set()
    pressed = data.draw(callback_data(scene.numbers, scene.ids))
    scene.rei.language = language
    calls = await scene.feed(scene.rei.press(scene.rei.last, pressed))
    assert _kinds(calls).count("AnswerCallbackQuery") == 1, "the button spins for ever"
    await scene.nothing_moved()


@PROFILE
@example(text="\x00", language="ru", first_name="\x00")
@example(text="/start \x00", language="en", first_name="Аня")
@given(text=TEXTS, language=languages, first_name=names)
async def test_any_text(scene: Scene, text: str, language: str, first_name: str) -> None:
    await scene.set()
    scene.rei.language = language
    update = _named(scene.rei.message(text=text), first_name)
    calls = await scene.feed(update, said=text + first_name)
    assert "SendMessage" in _kinds(calls), "nobody answered"
    await scene.nothing_moved()


@PROFILE
@given(text=TEXTS, language=languages)
async def test_any_amount(scene: Scene, text: str, language: str) -> None:
    """What is written after "another amount": a payment to confirm at the most."""
    await scene.set()
    scene.rei.language = language
    await scene.feed(scene.rei.press(scene.rei.last, "go:other_amount"))
    calls = await scene.feed(scene.rei.message(text=text), said=text)
    assert "SendMessage" in _kinds(calls), "nobody answered"
    await scene.nothing_moved()


sizes = st.sampled_from([None, 0, 1, 10_000, 20 * 1024**2, 20 * 1024**2 + 1, 2**31, 2**53])
file_ids = st.sampled_from(["AgACAgIAAxkBAAI", "x" * 400, "../../etc/passwd", "я", " "])
mime_types = st.sampled_from(
    [None, "", "image/png", "image/jpeg", "image/webp", "IMAGE/PNG", "image/png; x=1", "image/gif",
     "image/svg+xml", "application/pdf", "\x00", "video/mp4", "image/heic"]
)  # fmt: skip
captions = st.none() | TEXTS.map(lambda text: text[:1024])


@PROFILE
@given(
    document=st.builds(
        Document,
        file_id=file_ids,
        file_unique_id=file_ids,
        file_name=st.none() | TEXTS,
        mime_type=mime_types,
        file_size=sizes,
    ),
    caption=captions,
    language=languages,
)
async def test_any_file(
    scene: Scene, document: Document, caption: str | None, language: str
) -> None:
    await scene.set()
    scene.rei.language = language
    calls = await scene.feed(
        scene.rei.message(document=document, caption=caption), said=caption or "-"
    )
    assert "SendMessage" in _kinds(calls), "nobody answered"
    await scene.nothing_moved()


@PROFILE
@given(file_id=file_ids, size=sizes, side=st.integers(0, 2**31), caption=captions)
async def test_any_photo(
    scene: Scene, file_id: str, size: int | None, side: int, caption: str | None
) -> None:
    await scene.set()
    picture = PhotoSize(
        file_id=file_id, file_unique_id="u", width=side, height=side, file_size=size
    )
    calls = await scene.feed(
        scene.rei.message(photo=[picture], caption=caption), said=caption or "-"
    )
    assert "SendMessage" in _kinds(calls), "nobody answered"
    await scene.nothing_moved()


def _named(update: Update, first_name: str) -> Update:
    assert update.message is not None
    assert update.message.from_user is not None
    person = update.message.from_user.model_copy(
        update={"first_name": first_name, "username": first_name}
    )
    return update.model_copy(
        update={"message": update.message.model_copy(update={"from_user": person})}
    )

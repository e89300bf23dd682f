"""Whatever a customer writes, what the worker says stays within Telegram's limits and well formed."""

from __future__ import annotations

import html
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rei_bot.callbacks import JobAction
from rei_core.i18n import LANGUAGES
from rei_core.jobs import wording
from rei_core.texts import Texts, excerpt
from rei_worker import buttons, texts
from rei_worker.progress import Report, Stage, render

from .samples import job

PROMPTS = st.one_of(
    st.text(max_size=5_000),
    st.text(alphabet="<>&\"'😀 \n", min_size=200, max_size=5_000),
)
CODES = st.one_of(st.none(), st.sampled_from(sorted(wording.REASONS)), st.text(max_size=20))
KOPECKS = st.integers(1, 10**12)
CAPTION_MAX, TEXT_MAX = 1024, 4096


class Reader(HTMLParser):
    """Reads a message as Telegram does: the tags must match, the text is what counts."""

    def __init__(self) -> None:
        super().__init__()
        self.text = ""
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        del attrs
        assert tag == "b"
        self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def read(message: str) -> str:
    reader = Reader()
    reader.feed(message)
    reader.close()
    assert reader.open == []
    return reader.text


def units(text: str) -> int:
    """How Telegram counts."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


@pytest.mark.parametrize("language", LANGUAGES)
@given(prompt=PROMPTS, code=CODES, price=KOPECKS, balance=KOPECKS)
def test_every_message_about_a_job_is_within_the_limits(
    language: str, prompt: str, code: str | None, price: int, balance: int
) -> None:
    one = job(prompt=prompt, error_code=code, price_kopecks=price)
    caption = read(wording.caption(one, Texts(language)))
    assert units(caption) <= CAPTION_MAX
    told = read(texts.failed(one, Texts(language), balance_kopecks=balance))
    assert units(told) <= TEXT_MAX
    for stage in Stage:
        text, keyboard = render(Report(one, stage, 7.0), language, balance)
        assert units(read(text)) <= TEXT_MAX
        assert keyboard.inline_keyboard


@given(prompt=PROMPTS)
def test_what_the_customer_wrote_is_shown_as_it_is(prompt: str) -> None:
    shown = html.unescape(wording.caption(job(prompt=prompt), Texts("en")))
    assert excerpt(prompt, wording.PROMPT_SHOWN_MAX) in shown


@given(st.text(max_size=2_000), st.integers(2, 400))
def test_an_excerpt_is_one_bounded_line(text: str, limit: int) -> None:
    line = excerpt(text, limit)
    assert len(line) <= limit
    assert "\n" not in line


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_reason_is_said_in_every_language(language: str) -> None:
    said = {wording.reason(code, Texts(language)) for code in wording.REASONS}
    assert len(said) == len(wording.REASONS)
    _ = Texts(language)
    assert wording.reason("never heard of", _) == wording.reason(None, _)
    assert (wording.reason("blocked", _) == wording.REASONS["blocked"]) is (language == "en")


@given(st.integers(1, 2**63 - 1), st.sampled_from(LANGUAGES))
def test_the_bot_understands_every_button(job_id: int, language: str) -> None:
    keyboards = [
        buttons.running(job_id, Texts(language)),
        buttons.waiting(job_id, Texts(language)),
        buttons.ended(job_id, Texts(language)),
    ]
    for keyboard in keyboards:
        for row in keyboard.inline_keyboard:
            for button in row:
                assert button.callback_data is not None
                assert len(button.callback_data.encode()) <= 64
                assert JobAction.unpack(button.callback_data).job == job_id


@pytest.mark.parametrize("language", LANGUAGES)
@given(amount=KOPECKS, balance=KOPECKS)
def test_news_of_payments_are_well_formed(language: str, amount: int, balance: int) -> None:
    for say in (texts.credited, texts.canceled):
        assert read(say(amount, Texts(language), balance_kopecks=balance))

"""The runbook is whole: both languages, every procedure of the page it replaces, no dead link."""

from __future__ import annotations

import pytest

from .pages import LANGUAGES, RUN, RUNBOOK, SHOWN, Page, pages, procedures

# The procedures of the runbook that Rei replaces, by their headings there.
ORIGINAL = {
    "bot-does-not-answer": "Бот не отвечает",
    "jobs-hang": "Задачи зависают",
    "webhook-does-not-work": "Webhook не работает",
    "negative-balance": "Отрицательный баланс",
    "database-backup": "Резервное копирование БД",
    "cleanup-of-old-jobs": "Очистка старых задач",
    "queue-monitoring": "Мониторинг очереди",
    "credit-a-balance": "Пополнить баланс вручную",
    "debit-a-balance": "Списать баланс вручную",
    "ban-a-user": "Забанить пользователя",
    "unban-a-user": "Разбанить пользователя",
    "update": "Процедура обновления",
    "debug-logs": "Включить DEBUG логи",
    "check-configuration": "Проверить конфигурацию",
    "test-the-api": "Тестовый запрос к API",
    "contacts": "Контакты",
}
HEADINGS = {
    "en": ("The old way", "What Rei does by itself", "What you do"),
    "ru": ("Как было", "Что Rei делает сам", "Что делаете вы"),
}
FIRST = {"en": "**First:** ", "ru": "**Сначала:** "}
LINES_MAX = 80
"""Longer than this nobody reads at three in the morning."""


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_procedure_of_the_original_has_its_page(language: str) -> None:
    found = procedures(language)
    assert found.keys() >= ORIGINAL.keys()
    for slug, page in found.items():
        assert page.headings == HEADINGS[language], page
        if language == "ru" and slug in ORIGINAL:
            assert page.title == ORIGINAL[slug]


def test_both_languages_have_the_same_pages_and_the_same_blocks() -> None:
    english, russian = ({str(page)[3:]: page for page in pages(one)} for one in LANGUAGES)
    assert english.keys() == russian.keys()
    for name, page in english.items():
        assert _pasted(page) == _pasted(russian[name]), name


@pytest.mark.parametrize("page", [page for one in LANGUAGES for page in pages(one)], ids=str)
def test_a_page_says_first_what_to_do_and_is_short(page: Page) -> None:
    language = str(page)[:2]
    assert page.first_line.startswith(FIRST[language])
    assert len(page.text.splitlines()) <= LINES_MAX
    for block in page.blocks:
        assert block.info in (*RUN, SHOWN), f"{page}:{block.line} is a {block.info!r} block"


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_index_leads_to_every_page_and_no_link_is_dead(language: str) -> None:
    index = Page(RUNBOOK / language / "README.md")
    assert {page.path for page in pages(language)} <= set(index.links)
    for page in (index, *pages(language)):
        for target in page.links:
            assert target.exists(), f"{page} links to {target}"


def _pasted(page: Page) -> list[tuple[str, str]]:
    return [(block.info, block.text) for block in page.blocks if block.info in RUN]

"""The runbook is whole: both languages, every procedure of the page it replaces, no dead link."""

from __future__ import annotations

import re

import pytest

from ...unit.monitoring.documented import series_names
from .pages import LANGUAGES, RUN, RUNBOOK, SHOWN, Page, alerts, pages, procedures

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
    "user-history": "Посмотреть историю пользователя",
    "payment-statistics": "Статистика по платежам",
    "job-statistics": "Статистика по задачам",
    "top-spenders": "Топ пользователей по расходам",
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
ALERT_HEADINGS = {
    "en": ("Meaning", "Impact", "Diagnosis", "Mitigation"),
    "ru": ("Значение", "Последствия", "Диагностика", "Что делать"),
}
FIRST = {"en": "**First:** ", "ru": "**Сначала:** "}
_METRIC = re.compile(r"\brei_\w+")
LINES_MAX = 80
"""Longer than this nobody reads at three in the morning."""


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_procedure_of_the_original_has_its_page(language: str) -> None:
    assert len(ORIGINAL) == 20
    found = procedures(language)
    assert found.keys() >= ORIGINAL.keys()
    for slug, page in found.items():
        assert page.headings == HEADINGS[language], page
        if language == "ru" and slug in ORIGINAL:
            assert page.title == ORIGINAL[slug]


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_page_of_an_alert_has_its_name_and_the_four_parts(language: str) -> None:
    found = alerts(language)
    assert found
    for name, page in found.items():
        assert page.title == name
        assert page.headings == ALERT_HEADINGS[language], page
        assert [block for block in page.blocks if block.info != SHOWN], page


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


def test_queries_ask_for_metrics_that_there_are() -> None:
    known = series_names()
    for page in pages("en"):
        for block in page.blocks:
            if block.info == "promql":
                asked = set(_METRIC.findall(block.text))
                assert asked, f"{page}:{block.line} asks for no metric of ours"
                assert asked <= known, f"{page}:{block.line} asks for {asked - known}"


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_index_leads_to_every_page_and_no_link_is_dead(language: str) -> None:
    index = Page(RUNBOOK / language / "README.md")
    assert {page.path for page in pages(language)} <= set(index.links)
    for page in (index, *pages(language)):
        for target in page.links:
            assert target.exists(), f"{page} links to {target}"


def _pasted(page: Page) -> list[tuple[str, str]]:
    return [(block.info, block.text) for block in page.blocks if block.info in RUN]

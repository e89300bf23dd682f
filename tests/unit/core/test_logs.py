"""Lines that machines can read, and in which no secret can be read."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from typing import Any, Literal

import pytest
import structlog

from rei_core import logs

TOKEN = "123456789:AAF-abcdefghijklmnopqrstuvwxyz01234"
GOOGLE = "AIzaSyA-0123456789abcdefghijklmnopqrstuv"
SHOP = "live_Fh8hUAVVBGUGbjmlzba6TB0iyUbos_lueTHE-axOwM0"
PASSWORD = "geheim-0815"

TEXTS = {
    f"POST https://api.telegram.org/bot{TOKEN}/sendPhoto": TOKEN,
    f"token is {TOKEN}!": TOKEN,
    f"postgresql://rei:{PASSWORD}@db:5432/rei": PASSWORD,
    f"redis://:{PASSWORD}@redis:6379/0": PASSWORD,
    f"postgresql://rei:{PASSWORD}@more@db/rei": PASSWORD,
    f"x-goog-api-key: {GOOGLE}": GOOGLE,
    f"YooKassa says {SHOP} is wrong": SHOP,
    "Authorization: Basic MTAwNTAwOnNlY3JldA==": "MTAwNTAwOnNlY3JldA==",
}


class Written:
    """What is written, in a stream of its own: pytest changes stderr between set-up and test."""

    def __init__(self) -> None:
        self.stream = io.StringIO()

    def configure(self, log_format: Literal["json", "console"]) -> None:
        logs.configure(level="INFO", log_format=log_format, component="test", stream=self.stream)

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.stream.getvalue().splitlines()]


@pytest.fixture
def written() -> Iterator[Written]:
    """Logs as a process has them."""
    root = logging.getLogger()
    before, level = list(root.handlers), root.level
    made = Written()
    made.configure("json")
    yield made
    root.handlers = before
    root.setLevel(level)
    structlog.contextvars.clear_contextvars()


def logger() -> Any:
    return structlog.get_logger("rei.test")


def test_a_line_is_one_json_object_with_its_context(written: Written) -> None:
    with structlog.contextvars.bound_contextvars(job_id=7):
        logger().info("job.started", model="m", prompt="кот")
    [line] = written.lines()
    assert line["event"] == "job.started"
    assert (line["job_id"], line["component"], line["model"]) == (7, "test", "m")
    assert (line["level"], line["logger"], line["prompt"]) == ("info", "rei.test", "кот")
    assert line["timestamp"].endswith("Z")


@pytest.mark.parametrize("name", ["bot_token", "secret_key", "PASSWORD", "api_key", "x-api-key"])
def test_a_value_under_a_secret_name_is_masked(written: Written, name: str) -> None:
    logger().info("x", **{name: "short"})
    logger().info("x", settings={name: "short", "port": 8080})
    first, second = written.lines()
    assert first[name] == "***"
    assert second["settings"] == {name: "***", "port": 8080}


@pytest.mark.parametrize(("text", "secret"), TEXTS.items())
def test_a_secret_inside_a_text_is_masked(written: Written, text: str, secret: str) -> None:
    logger().info(text)
    logger().info("x", detail=text, nested=[{"deep": (text,)}], error=ValueError(text))
    logging.getLogger("library").warning("asked %s", text)
    lines = written.lines()
    assert len(lines) == 3
    for line in lines:
        assert secret not in json.dumps(line)
        assert "***" in json.dumps(line)


@pytest.mark.parametrize(("text", "secret"), TEXTS.items())
def test_a_secret_inside_an_exception_is_masked(written: Written, text: str, secret: str) -> None:
    def fail() -> None:
        try:
            connect()
        except OSError as error:
            raise RuntimeError(f"while {text}") from error

    def connect() -> None:
        raise OSError(text)

    for log in (logger(), logging.getLogger("library")):
        try:
            fail()
        except RuntimeError:
            log.exception("failed")
    lines = written.lines()
    assert len(lines) == 2
    for line in lines:
        assert "RuntimeError" in line["exception"]
        assert secret not in json.dumps(line)


def test_numbers_and_ordinary_texts_stay_as_they_are(written: Written) -> None:
    kept = {"amount": 5, "share": 0.5, "ok": True, "none": None, "at": "12:30", "ids": [1, "a"]}
    logger().info("ratio 16:9 for https://t.me/rei_bot", **kept)
    [line] = written.lines()
    assert line["event"] == "ratio 16:9 for https://t.me/rei_bot"
    assert {name: line[name] for name in kept} == kept


def test_the_console_hides_the_same(written: Written) -> None:
    written.configure("console")
    logger().info("x", url=f"https://api.telegram.org/bot{TOKEN}/getMe")
    assert "getMe" in written.stream.getvalue()
    assert TOKEN not in written.stream.getvalue()


def test_less_than_the_level_is_not_written(written: Written) -> None:
    logger().debug("x")
    logging.getLogger("httpx").info("HTTP Request")
    assert written.lines() == []


def test_what_is_not_loud_enough_is_not_written_until_it_is_asked_for(written: Written) -> None:
    log = logger()
    log.debug("quiet")
    assert written.lines() == []
    logging.getLogger("rei.test").setLevel(logging.DEBUG)
    try:
        log.debug("asked for")
    finally:
        logging.getLogger("rei.test").setLevel(logging.NOTSET)
    log.debug("quiet again")
    assert [line["event"] for line in written.lines()] == ["asked for"]

"""Structured logs: one JSON object a line, with job, user and payment ids bound by context.

Our own lines are written as they are made; the standard library's way, through a record, a handler
and a formatter, takes twice the time, and a worker writes two lines a job. What counts as loud
enough is the standard library's to say all the same: one switch for both. Whatever a library logs
takes the long way and looks the same. Values under names that sound secret are masked, and
so is what looks like a secret inside any text, a traceback or a nested value: HTTP libraries put
bot tokens into URLs, database ones put passwords into errors.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Mapping, MutableMapping
from typing import Any, Literal, TextIO

import structlog

SECRET_NAME = re.compile(r"token|secret|password|api[_-]?key|authorization", re.IGNORECASE)
SECRET_TEXT = re.compile(
    r"bot\d{3,}:[A-Za-z0-9_-]{3,}"  # Telegram's token in a URL
    r"|\b\d{6,}:[A-Za-z0-9_-]{30,}"  # and by itself
    r"|(?<=://)[^/\s:@]*:[^/\s]+(?=@)"  # user:password of a URL
    r"|\bAIza[A-Za-z0-9_-]{20,}"  # Google's API key
    r"|\b(?:live|test)_[A-Za-z0-9_-]{32,}"  # YooKassa's secret key
    r"|\b(?:Basic|Bearer) [A-Za-z0-9+/=._-]{8,}"
)
MASK = "***"
LEVELS = {name.lower(): level for name, level in logging.getLevelNamesMapping().items()}
LEVELS["exception"] = logging.ERROR
DEPTH_MAX = 6
NOISY = ("httpx", "httpcore", "aiohttp.access", "aiogram.event", "taskiq")
"""They say nothing but warnings, unless named: a line for each HTTP request, update or ring tells
nothing that our own lines do not tell."""


def configure(
    *,
    level: str,
    log_format: Literal["json", "console"],
    component: str,
    stream: TextIO | None = None,
) -> None:
    """Set up logging for this process, to standard error if nothing else is said."""
    stream = stream or sys.stderr
    stamped: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    renderer: Any = (
        structlog.processors.JSONRenderer(ensure_ascii=False)
        if log_format == "json"
        else structlog.dev.ConsoleRenderer(colors=stream.isatty())
    )
    structlog.configure(
        processors=[only_wanted, *stamped, mask_secrets, renderer],
        logger_factory=lambda name="rei": Lines(name, stream),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*stamped, structlog.stdlib.ExtraAdder(), mask_secrets],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    logging.getLogger().handlers = [handler]
    set_levels(level, {})
    structlog.contextvars.bind_contextvars(component=component)


def set_levels(level: str, of_loggers: Mapping[str, str]) -> None:
    """How loud everything is, and the named loggers with those below them."""
    root = logging.getLogger()
    root.setLevel(level)
    for name in NOISY:
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))
    for name, own in of_loggers.items():
        logging.getLogger(name).setLevel(own)


class Lines:
    """Where structlog's finished lines go. Threads may write at the same time."""

    def __init__(self, name: str, stream: TextIO) -> None:
        self.name = name
        self._levels = logging.getLogger(name)
        self._stream = stream

    def isEnabledFor(self, level: int) -> bool:  # noqa: N802 - what the standard library calls it
        """Is a line of this level wanted now?"""
        return self._levels.isEnabledFor(level)

    def info(self, line: str) -> None:
        """Write a line: in one piece, so that two processes on one pipe do not tear them up."""
        self._stream.write(f"{line}\n")
        self._stream.flush()

    debug = warning = error = critical = exception = info


def only_wanted(logger: Lines, method: str, event: structlog.typing.EventDict) -> Any:
    """Drop a line that is not loud enough before anything is done for it."""
    if not logger.isEnabledFor(LEVELS[method]):
        raise structlog.DropEvent
    return event


def mask_secrets(logger: object, method: str, event: MutableMapping[str, Any]) -> Mapping[str, Any]:
    """Hide what must not be read: by the name of a value, and what looks secret inside texts."""
    del logger, method
    for name, value in event.items():
        if not name.startswith("_"):  # structlog's own; not written
            event[name] = _masked(name, value, DEPTH_MAX)
    return event


def _masked(name: str, value: Any, depth: int) -> Any:
    if SECRET_NAME.search(name):
        return MASK
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, Mapping) and depth:
        return {str(key): _masked(str(key), inner, depth - 1) for key, inner in value.items()}
    if isinstance(value, list | tuple) and depth:
        return [_masked("", inner, depth - 1) for inner in value]
    # An exception or a request would be written by its repr, which may hold anything.
    return masked_text(value if isinstance(value, str) else repr(value))


def masked_text(text: str) -> str:
    """The text with everything masked that looks like a secret."""
    return SECRET_TEXT.sub(MASK, text)

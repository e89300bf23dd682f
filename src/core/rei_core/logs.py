"""Structured logs: one JSON object a line, with job, user and payment ids bound by context.

Whatever a library logs goes the same way. Values under names that sound secret are masked, and
so is what looks like a secret inside any text, a traceback or a nested value: HTTP libraries put
bot tokens into URLs, database ones put passwords into errors.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Mapping, MutableMapping
from typing import Any, Literal

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
DEPTH_MAX = 6


def configure(*, level: str, log_format: Literal["json", "console"], component: str) -> None:
    """Set up logging for this process."""
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        mask_secrets,
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    renderer: Any = (
        structlog.processors.JSONRenderer(ensure_ascii=False)
        if log_format == "json"
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level)
    # One line per HTTP request at INFO says nothing that our own lines do not say.
    for noisy in ("httpx", "httpcore", "aiohttp.access", "aiogram.event"):
        logging.getLogger(noisy).setLevel(max(logging.WARNING, root.level))
    structlog.contextvars.bind_contextvars(component=component)


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

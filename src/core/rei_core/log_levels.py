"""Log levels that change while a process runs: a folder with a file for each, looked at anew.

The file's name says whose level it is, its content the level:

    rei_core.payments    DEBUG      this logger and those below it, in every process
    worker               WARNING    everything that a process logs, as REI_LOG_LEVEL does

In Kubernetes the folder is a ConfigMap, which need not be there and which no upgrade touches; the
kubelet brings a change into the pods within a minute and a half. Elsewhere it is a folder, and it takes
`LOOK_SECONDS`. A file that goes gives the level back to REI_LOG_LEVEL. A folder in which anything
makes no sense changes nothing, and that is said once: half of a change helps nobody at night.
There is no port for it: a level is changed by who may change the ConfigMap.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import sys
from collections.abc import AsyncIterator, Iterable, Mapping
from pathlib import Path
from typing import Final

import structlog

from rei_core import logs
from rei_core.errors import LogLevelRefused

log = structlog.get_logger(__name__)

PROCESSES: Final = ("bot", "worker", "operator")
LEVELS: Final = ("DEBUG", "INFO", "WARNING", "ERROR")
NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*")
NAME_CHARACTERS_MAX: Final = 120
LEVELS_MAX: Final = 100
LOOK_SECONDS: Final = 1.0
CHARACTERS_READ_MAX: Final = 32


def checked(name: str, level: str) -> tuple[str, str]:
    """One name and its level; raises `LogLevelRefused`."""
    name, level = name.strip(), level.strip().upper()
    if len(name) > NAME_CHARACTERS_MAX or not NAME.fullmatch(name):
        raise LogLevelRefused(
            name[:NAME_CHARACTERS_MAX],
            f"is neither a process ({', '.join(PROCESSES)}) nor a logger such as rei_core.payments",
        )
    if level not in LEVELS:
        raise LogLevelRefused(
            name, f"is given {level[:20]!r}, which is none of {', '.join(LEVELS)}"
        )
    return name, level


def changes(words: Iterable[str]) -> dict[str, str | None]:
    """What `bot=DEBUG worker-` asks for: the new level, or None to take it back.

    It is the `data` of a merge patch of the ConfigMap. Raises `LogLevelRefused`.
    """
    wanted: dict[str, str | None] = {}
    for word in words:
        name, equals, level = word.partition("=")
        if equals:
            name, level = checked(name, level)
            wanted[name] = level
        elif word.endswith("-"):
            name, _level = checked(word[:-1], LEVELS[0])
            wanted[name] = None
        else:
            raise LogLevelRefused(word[:NAME_CHARACTERS_MAX], "is neither NAME=LEVEL nor NAME-")
    return wanted


def read(folder: Path) -> dict[str, str]:
    """The levels in a folder, which need not be there; raises `LogLevelRefused` and `OSError`."""
    levels = {}
    # What begins with a dot is the kubelet's, which swaps the whole content by one link.
    files = sorted(path for path in folder.glob("*") if not path.name.startswith("."))
    if len(files) > LEVELS_MAX:
        raise LogLevelRefused(str(folder), f"holds more than {LEVELS_MAX} files")
    for path in files:
        with path.open(encoding="utf-8", errors="replace") as file:
            name, level = checked(path.name, file.read(CHARACTERS_READ_MAX))
        levels[name] = level
    return levels


def write(folder: Path, wanted: Mapping[str, str | None]) -> None:
    """Carry `changes` out in a folder; a process sees each file whole."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, level in wanted.items():
        path = folder / name
        if level is None:
            path.unlink(missing_ok=True)
        else:
            half = folder / f".{name}"
            half.write_text(f"{level}\n", encoding="utf-8")
            half.replace(path)


class Levels:
    """The levels of this process: `level` unless a folder says otherwise."""

    def __init__(self, *, process: str, level: str) -> None:
        self._process = process
        self._level = level
        self._in_force: dict[str, str] = {}
        self._refused = ""

    def look(self, folder: Path) -> None:
        """Bring the loggers to what the folder says, if it makes sense; raises nothing."""
        try:
            wanted = read(folder)
        except (LogLevelRefused, OSError) as error:
            if str(error) != self._refused:  # once, and not every second
                self._refused = str(error)
                log.error("log_levels.refused", problem=self._refused, in_force=self._in_force)  # noqa: TRY400 - the sentence says it all
            return
        self._refused = ""
        if wanted != self._in_force:
            self._apply(wanted)

    def _apply(self, wanted: Mapping[str, str]) -> None:
        gone = self._in_force.keys() - wanted.keys()
        self._in_force = dict(wanted)
        for name in gone - set(PROCESSES):
            logging.getLogger(name).setLevel(logging.NOTSET)
        loggers = {name: level for name, level in wanted.items() if name not in PROCESSES}
        unknown = sorted(name for name in loggers if not _is_known(name))
        logs.set_levels(wanted.get(self._process, self._level), loggers)
        # A warning, so that it is seen at most levels: from here on the log says more, or less.
        log.warning("log_levels.changed", in_force=self._in_force, unknown_here=unknown)


def _is_known(name: str) -> bool:
    """Does something here log by this name? Else it is another process's, or written wrongly."""
    return name in sys.modules or name in logging.root.manager.loggerDict


@contextlib.asynccontextmanager
async def followed(folder: Path | None, *, process: str, level: str) -> AsyncIterator[None]:
    """Inside the block the loggers are as loud as the folder says; without one nothing is done."""
    if folder is None:
        yield
        return
    following = asyncio.create_task(
        _follow(folder, Levels(process=process, level=level)), name="log-levels"
    )
    try:
        yield
    finally:
        following.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await following


async def _follow(folder: Path, levels: Levels) -> None:
    while True:
        levels.look(folder)  # a few small files in memory: quicker than a thread's start
        await asyncio.sleep(LOOK_SECONDS)

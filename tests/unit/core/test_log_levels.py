"""What a folder says about levels, and what becomes of it in the loggers of a process."""

from __future__ import annotations

import asyncio
import io
import json
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
from click.testing import CliRunner

from rei_core import log_levels, logs
from rei_core.cli import rei
from rei_core.errors import LogLevelRefused, ReiError
from rei_core.log_levels import Levels


@pytest.fixture
def said() -> Iterator[io.StringIO]:
    """The lines of a process at INFO."""
    names = (None, *logs.NOISY, "rei_core.payments", "rei_core.payments.service")
    before = {name: logging.getLogger(name).level for name in names}
    handlers = list(logging.getLogger().handlers)
    stream = io.StringIO()
    logs.configure(level="INFO", log_format="json", component="bot", stream=stream)
    yield stream
    logging.getLogger().handlers = handlers
    for name, level in before.items():
        logging.getLogger(name).setLevel(level)
    structlog.contextvars.clear_contextvars()


def events(said: io.StringIO) -> list[str]:
    return [json.loads(line)["event"] for line in said.getvalue().splitlines()]


def put(folder: Path, **levels: str) -> None:
    log_levels.write(folder, {name.replace("__", "."): level for name, level in levels.items()})


def test_a_level_holds_for_a_logger_and_those_below_it_until_its_file_goes(
    tmp_path: Path, said: io.StringIO
) -> None:
    levels = Levels(process="bot", level="INFO")
    payments = structlog.get_logger("rei_core.payments.service")
    jobs = structlog.get_logger("rei_core.jobs.sweeping")
    put(tmp_path, rei_core__payments="DEBUG")
    levels.look(tmp_path)
    payments.debug("detail")
    jobs.debug("not wanted")
    (tmp_path / "rei_core.payments").unlink()
    levels.look(tmp_path)
    payments.debug("too late")
    jobs.info("as ever")
    assert events(said) == ["log_levels.changed", "detail", "log_levels.changed", "as ever"]


def test_a_process_has_its_own_level_and_no_other_processs(
    tmp_path: Path, said: io.StringIO
) -> None:
    levels = Levels(process="bot", level="INFO")
    put(tmp_path, worker="DEBUG")
    levels.look(tmp_path)
    structlog.get_logger("rei_bot.updates").debug("of the worker's level")
    put(tmp_path, bot="DEBUG")
    levels.look(tmp_path)
    structlog.get_logger("rei_bot.updates").debug("of the bot's level")
    assert logging.getLogger("httpx").level == logging.WARNING, "libraries stay quiet"
    assert "of the bot's level" in events(said)
    assert "of the worker's level" not in events(said)


def test_a_quiet_library_speaks_when_it_is_named_and_is_quiet_again(
    tmp_path: Path, said: io.StringIO
) -> None:
    levels = Levels(process="bot", level="INFO")
    put(tmp_path, httpx="DEBUG")
    levels.look(tmp_path)
    logging.getLogger("httpx").info("HTTP request")
    log_levels.write(tmp_path, {"httpx": None})
    levels.look(tmp_path)
    logging.getLogger("httpx").info("HTTP request, unwanted")
    assert events(said) == ["log_levels.changed", "HTTP request", "log_levels.changed"]


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("rei_core.payments", "LOUD", "'LOUD'"),
        ("rei_core.payments", "", "''"),
        ("rei core", "DEBUG", "rei core"),
        ("x" * 121, "DEBUG", "xxx"),
    ],
)
def test_what_makes_no_sense_is_said_once_and_changes_nothing(
    tmp_path: Path, said: io.StringIO, name: str, content: str, told: str
) -> None:
    levels = Levels(process="bot", level="INFO")
    put(tmp_path, bot="DEBUG")
    levels.look(tmp_path)
    log_levels.write(tmp_path, {"bot": None})
    (tmp_path / name).write_text(content)
    levels.look(tmp_path)
    levels.look(tmp_path)
    structlog.get_logger("rei_bot.updates").debug("still wanted")
    assert events(said) == ["log_levels.changed", "log_levels.refused", "still wanted"]
    refused = json.loads(said.getvalue().splitlines()[1])
    assert told in refused["problem"]
    assert refused["in_force"] == {"bot": "DEBUG"}


def test_what_was_refused_is_taken_once_it_is_mended(tmp_path: Path, said: io.StringIO) -> None:
    levels = Levels(process="bot", level="INFO")
    put(tmp_path, bot="LOUD")
    levels.look(tmp_path)
    put(tmp_path, bot=" debug\n")
    levels.look(tmp_path)
    put(tmp_path, bot="LOUD")
    levels.look(tmp_path)
    assert events(said) == ["log_levels.refused", "log_levels.changed", "log_levels.refused"]


def test_too_many_files_are_refused(tmp_path: Path) -> None:
    for number in range(log_levels.LEVELS_MAX + 1):
        (tmp_path / f"rei_{number}").write_text("INFO")
    with pytest.raises(LogLevelRefused, match="more than 100"):
        log_levels.read(tmp_path)


def test_the_kubelets_links_are_no_levels(tmp_path: Path) -> None:
    (tmp_path / "..2026_11_28").mkdir()
    (tmp_path / "..2026_11_28" / "bot").write_text("DEBUG")
    (tmp_path / "..data").symlink_to("..2026_11_28")
    (tmp_path / "bot").symlink_to("..data/bot")
    assert log_levels.read(tmp_path) == {"bot": "DEBUG"}


async def test_a_folder_that_comes_later_is_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: io.StringIO
) -> None:
    monkeypatch.setattr(log_levels, "LOOK_SECONDS", 0.01)
    folder = tmp_path / "later"
    async with log_levels.followed(folder, process="bot", level="INFO"):
        await asyncio.sleep(0.05)
        assert events(said) == []
        put(folder, bot="DEBUG")
        await asyncio.sleep(0.2)
        assert logging.getLogger().level == logging.DEBUG
    assert events(said) == ["log_levels.changed"]


def test_a_name_that_nothing_here_logs_by_is_told(tmp_path: Path, said: io.StringIO) -> None:
    put(tmp_path, rei_core__paymnets="INFO", rei_core__errors="INFO")
    Levels(process="bot", level="INFO").look(tmp_path)
    assert json.loads(said.getvalue())["unknown_here"] == ["rei_core.paymnets"]


def test_words_are_the_data_of_a_merge_patch() -> None:
    words = ("rei_core.payments=debug", "worker-")
    assert log_levels.changes(words) == {"rei_core.payments": "DEBUG", "worker": None}
    for nonsense in ("bot", "=DEBUG", "bot=LOUD", "-", "../bot=DEBUG", "bot/x-"):
        with pytest.raises(LogLevelRefused):
            log_levels.changes((nonsense,))


def test_the_word_writes_shows_and_takes_back(tmp_path: Path) -> None:
    def run(*words: str) -> str:
        done = CliRunner().invoke(
            rei, ["log-level", *words], env={"REI_LOG_LEVELS_DIR": str(tmp_path)},
            catch_exceptions=False,
        )  # fmt: skip
        assert done.exit_code == 0
        return done.output

    assert "Nothing is set" in run()
    assert run("bot=DEBUG", "rei_core.jobs=error") == "bot=DEBUG\nrei_core.jobs=ERROR\n"
    assert run("bot-") == "rei_core.jobs=ERROR\n"
    with pytest.raises(ReiError, match="LOUD"):
        run("bot=LOUD")
    assert run() == "rei_core.jobs=ERROR\n"


def test_the_word_says_what_a_folder_that_cannot_be_written_is(tmp_path: Path) -> None:
    (tmp_path / "levels").write_text("a file")
    with pytest.raises(ReiError, match="REI_LOG_LEVELS_DIR"):
        CliRunner().invoke(
            rei, ["log-level", "--folder", str(tmp_path / "levels" / "x"), "bot=DEBUG"],
            catch_exceptions=False,
        )  # fmt: skip

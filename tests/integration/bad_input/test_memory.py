"""However large, packed or endless an answer is, a process that reads it stays within a bound.

Rei's own clients in processes of their own, over real HTTP; the kernel tells how much they grew.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from .hostile_server import ANSWERS, DRIP, hostile

pytestmark = pytest.mark.timeout(600)

MIB = 1024 * 1024
CALLER = Path(__file__).with_name("caller.py")
SECONDS_MAX = 60.0
DRIP_SECONDS_MAX = 2.0

GROWN_BYTES_MAX = {
    "gemini": 96 * MIB,  # 64 of the answer
    "yookassa": 16 * MIB,
    "telegram-api": 16 * MIB,
    "telegram-file": 64 * MIB,  # 20 of the file, twice
}
WIDE_BYTES_MAX = 640 * MIB
"""Gemini's largest answer with a character that makes Python take four bytes for each of its text:
the answer, its text and the word that the text is. Two such answers are read at a time."""
HARMLESS = {"more than it said", "gzip in gzip"}
"""As a file of a customer's: a few bytes, which are no picture."""
REFUSALS = {
    "gemini": {"retry_later bad_answer", "retry_later unavailable"},
    "yookassa": {"unknown"},
    "telegram-api": {"unreachable"},
    "telegram-file": {"lost", "unreachable"},
}


async def calls(caller: str, *answers: str, seconds_max: float) -> list[dict[str, Any]]:
    """What came of each."""
    async with hostile() as url:
        process = await asyncio.create_subprocess_exec(
            sys.executable, str(CALLER), caller, url, str(seconds_max), *answers,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        try:
            told, errors = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
    met = [json.loads(line) for line in told.decode().splitlines()]
    assert [one["answer"] for one in met] == list(answers), errors.decode()[-2_000:]
    return met


@pytest.mark.parametrize("caller", REFUSALS)
async def test_no_answer_takes_more_memory_than_its_bound(caller: str) -> None:
    for one in await calls(caller, *ANSWERS, seconds_max=SECONDS_MAX):
        wide = (caller, one["answer"]) == ("gemini", "wide characters")
        bound = WIDE_BYTES_MAX if wide else GROWN_BYTES_MAX[caller]
        assert one["grown_bytes"] < bound, one
        assert one["seconds"] < SECONDS_MAX, one
        harmless = caller == "telegram-file" and one["answer"] in HARMLESS
        assert one["outcome"] in REFUSALS[caller] | ({"unusable"} if harmless else set()), one


@pytest.mark.parametrize("caller", REFUSALS)
async def test_an_answer_that_drips_is_given_up(caller: str) -> None:
    [one] = await calls(caller, DRIP, seconds_max=DRIP_SECONDS_MAX)
    assert DRIP_SECONDS_MAX * 0.9 < one["seconds"] < DRIP_SECONDS_MAX + 5, one
    assert one["outcome"] in REFUSALS[caller] | {"retry_later timeout"}, one

"""Only who knows the secret brings updates, and a guess learns nothing from how it is refused."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from rei_bot import webhooks

from ..bot_process.conftest import SECRET, SECRET_HEADER, Json, Rei, Stage
from .conftest import ask

WRONG: dict[str, bytes] = {
    "empty": b"",
    "a letter short": SECRET[:-1].encode(),
    "a letter long": SECRET.encode() + b"x",
    "the last letter wrong": SECRET[:-1].encode() + b"9",
    "the first letter wrong": b"b" + SECRET[1:].encode(),
    "capitals": SECRET.upper().encode(),
    "overlong": b"x" * 8000,
    "overlong with the right beginning": SECRET.encode() + b"x" * 7000,
    "Cyrillic": "секрет".encode(),
    "no UTF-8": b"\xff\xfe\x80",
    "Latin-1": "é".encode("latin-1"),
    "quoted": b'"' + SECRET.encode() + b'"',
    "two in one": SECRET.encode() + b", " + SECRET.encode(),
}


async def post(rei: Rei, update: bytes, *shown: bytes) -> tuple[int, bytes]:
    headers = b"".join(SECRET_HEADER.encode() + b": " + each + b"\r\n" for each in shown)
    return await ask(
        rei.process.port, "/webhook/telegram", method="POST", headers=headers, body=update
    )


async def test_every_wrong_secret_is_refused_in_the_same_words(stage: Stage) -> None:
    update = _bytes(stage.telegram.message("/help"))
    async with stage.bot() as rei:
        answers = {}
        for name, shown in WRONG.items():
            answers[name] = await post(rei, update, shown)
        answers["missing"] = await post(rei, update)
        answers["wrong first, right second"] = await post(rei, update, b"wrong", SECRET.encode())
        assert {name: status for name, (status, _) in answers.items()} == dict.fromkeys(
            answers, 401
        )
        assert len({answer.partition(b"\r\n\r\n")[2] for _, answer in answers.values()}) == 1
        assert not any(SECRET.encode() in answer for _, answer in answers.values())
        assert await stage.count("telegram_updates") == 0
        assert stage.telegram.texts() == []
        status, _answer = await post(rei, update, SECRET.encode())
        assert status == 200
    assert len(stage.telegram.texts()) == 1


async def test_what_is_too_long_for_any_header_is_refused_and_does_no_harm(stage: Stage) -> None:
    update = _bytes(stage.telegram.message("/help"))
    async with stage.bot() as rei:
        status, _answer = await post(rei, update, b"x" * 100_000)
        assert status == 400
        assert (await post(rei, update, SECRET.encode()))[0] == 200


async def test_the_comparison_in_constant_time_decides_and_nothing_before_it(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the comparison replaced, its word is the whole truth: there is no other look at it."""
    seen: list[tuple[bytes, bytes]] = []
    verdict = False

    def compare(shown: bytes, wanted: bytes) -> bool:
        seen.append((shown, wanted))
        return verdict

    monkeypatch.setattr(webhooks, "hmac", SimpleNamespace(compare_digest=compare))
    update = _bytes(stage.telegram.message("/help"))
    async with stage.bot() as rei:
        assert (await post(rei, update, SECRET.encode()))[0] == 401
        for shown in WRONG.values():
            assert (await post(rei, update, shown))[0] == 401
        assert (await post(rei, update))[0] == 401
        # Each guess was compared whole, once, whatever its length or letters.
        assert seen == [
            (shown, SECRET.encode()) for shown in (SECRET.encode(), *WRONG.values(), b"")
        ]
        verdict = True
        assert (await post(rei, update, b"wrong"))[0] == 200


async def test_the_secret_comes_before_the_body(stage: Stage) -> None:
    """A stranger makes us read nothing: neither a body that is too large nor one that never comes."""
    async with stage.bot() as rei:
        for length in (webhooks.UPDATE_BYTES_MAX * 100, 10):
            headers = f"Content-Length: {length}\r\n{SECRET_HEADER}: wrong\r\n".encode()
            status, _answer = await ask(
                rei.process.port, "/webhook/telegram", method="POST", headers=headers
            )
            assert status == 401


def _bytes(update: Json) -> bytes:
    import json

    return json.dumps(update).encode()

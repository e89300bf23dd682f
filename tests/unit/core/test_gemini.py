"""Whose fault each of Gemini's answers is, and that no answer at all raises anything else."""

from __future__ import annotations

import base64
import io
import json
import struct
import zlib
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from rei_core.errors import ConfigurationError, FailureClass, ImageProviderError
from rei_core.images import gemini, gemini_answers
from rei_core.images.gemini import GeminiClient, request_body
from rei_core.images.pictures import PIXELS_MAX, NotAPicture, inspect
from rei_core.images.port import GeneratedImage, ImageRequest, InputImage

KEY = "AIzaSy-not-a-real-key-0123456789"
REQUEST = ImageRequest("gemini-3.1-flash-image", "кот", "16:9", "2K")

RETRY, USER, OURS = FailureClass.RETRY_LATER, FailureClass.USER_FAULT, FailureClass.OUR_FAULT
Json = dict[str, Any]


def picture(kind: str = "PNG", size: tuple[int, int] = (8, 4)) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", size, "red").save(out, kind)
    return out.getvalue()


def inline(data: bytes | str, mime_type: str = "image/png", **more: Any) -> Json:
    text = data if isinstance(data, str) else base64.b64encode(data).decode()
    return {"inlineData": {"mimeType": mime_type, "data": text}, **more}


def answer(*parts: Any, reason: str | None = "STOP", **more: Any) -> Json:
    candidate = {"content": {"role": "model", "parts": list(parts)}, "finishReason": reason}
    return {"candidates": [candidate], "responseId": "ref-1", **more}


def blocked(reason: Any) -> Json:
    """A candidate without content, as blocks come."""
    return {"candidates": [{"finishReason": reason, "index": 0}]}


def error(code: int, status: str, message: str = "no", details: Any = None) -> Json:
    body: Json = {"code": code, "message": message, "status": status}
    return {"error": body if details is None else {**body, "details": details}}


async def generate(
    status: int, body: Any, *, headers: dict[str, str] | None = None
) -> GeneratedImage:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return await generate_by(lambda _: httpx.Response(status, content=content, headers=headers))


async def generate_by(handler: Callable[[httpx.Request], httpx.Response]) -> GeneratedImage:
    client = GeminiClient(
        api_key=KEY,
        base_url="http://gemini.test",
        timeout_seconds=5,
        transport=httpx.MockTransport(handler),
    )
    try:
        return await client.generate(REQUEST)
    finally:
        await client.aclose()


def bomb() -> bytes:
    """A PNG of a few hundred bytes that claims 60,000 × 60,000 pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    rows = zlib.compress(b"\0" * 100_000)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    )


# --- pictures -----------------------------------------------------------------------------------


async def test_the_request_is_what_the_documentation_shows() -> None:
    asked: list[httpx.Request] = []

    def handler(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return httpx.Response(200, json=answer(inline(picture())))

    await generate_by(handler)
    [request] = asked
    assert request.method == "POST"
    assert request.url == (
        "http://gemini.test/v1beta/models/gemini-3.1-flash-image:generateContent"
    )
    assert request.headers["x-goog-api-key"] == KEY
    assert "key" not in request.url.params
    assert json.loads(request.content) == {
        "contents": [{"role": "user", "parts": [{"text": "кот"}]}],
        "generationConfig": {
            "responseModalities": ["TEXT", "IMAGE"],
            "imageConfig": {"aspectRatio": "16:9", "imageSize": "2K"},
        },
    }


def test_photos_go_along_and_the_smallest_size_is_not_named() -> None:
    request = ImageRequest("m", "edit", "1:1", "1K", (InputImage("image/jpeg", b"\xff\xd8"),))
    body = json.loads(request_body(request))
    assert body["contents"][0]["parts"][1] == {
        "inlineData": {"mimeType": "image/jpeg", "data": "/9g="}
    }
    assert body["generationConfig"]["imageConfig"] == {"aspectRatio": "1:1"}


@pytest.mark.parametrize(
    ("kind", "mime_type"), [("PNG", "image/png"), ("JPEG", "image/jpeg"), ("WEBP", "image/webp")]
)
async def test_the_type_is_taken_from_the_bytes(kind: str, mime_type: str) -> None:
    data = picture(kind)
    image = await generate(200, answer({"text": "Here:"}, inline(data, "image/gif")))
    assert image == GeneratedImage(mime_type, data, 8, 4, "ref-1")


async def test_thoughts_are_no_pictures() -> None:
    draft, final = picture(size=(1, 1)), picture(size=(2, 2))
    thoughts = ({"text": "hm", "thought": True}, inline(draft, thought=True))
    assert (await generate(200, answer(*thoughts, inline(final)))).width == 2
    with pytest.raises(ImageProviderError) as failed:
        await generate(200, answer(*thoughts))
    assert failed.value.code == "bad_answer"


async def test_a_broken_part_before_a_picture_does_no_harm() -> None:
    parts = ("text", None, {"inlineData": 5}, inline("%%%"), inline(b"junk"), inline(picture()))
    assert (await generate(200, answer(*parts))).width == 8


async def test_a_picture_counts_whatever_the_finish_reason_says() -> None:
    assert (await generate(200, answer(inline(picture()), reason="MAX_TOKENS"))).height == 4


# --- answers with HTTP 200 that hold no picture ---------------------------------------------------


@pytest.mark.parametrize(
    ("body", "failure", "code"),
    [
        ({"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}}, USER, "blocked"),
        ({"promptFeedback": {"blockReason": "OTHER"}, "candidates": []}, USER, "blocked"),
        (blocked("IMAGE_SAFETY"), USER, "blocked"),
        (blocked("IMAGE_PROHIBITED_CONTENT"), USER, "blocked"),
        (blocked("IMAGE_RECITATION"), USER, "blocked"),
        (blocked("PROHIBITED_CONTENT"), USER, "blocked"),
        (blocked("SAFETY"), USER, "blocked"),
        (blocked("RECITATION"), USER, "blocked"),
        (blocked("IMAGE_OTHER"), USER, "no_image"),
        (blocked("NO_IMAGE"), USER, "no_image"),
        (blocked("OTHER"), USER, "no_image"),
        (blocked("MAX_TOKENS"), USER, "no_image"),
        (blocked("A_REASON_OF_NEXT_YEAR"), USER, "no_image"),
        (answer({"text": "I would rather talk"}), USER, "no_image"),
        (answer(), RETRY, "bad_answer"),
        (blocked("STOP"), RETRY, "bad_answer"),
        (blocked(None), RETRY, "bad_answer"),
        (blocked(["SAFETY"]), RETRY, "bad_answer"),
        ({}, RETRY, "bad_answer"),
        ({"candidates": []}, RETRY, "bad_answer"),
        ({"candidates": "none"}, RETRY, "bad_answer"),
        ({"candidates": [None]}, RETRY, "bad_answer"),
        ({"candidates": [{"content": {"parts": {"a": 1}}}]}, RETRY, "bad_answer"),
        ({"candidates": [{"content": "x", "finishReason": 7}]}, RETRY, "bad_answer"),
        ([], RETRY, "bad_answer"),
        (None, RETRY, "bad_answer"),
        (b"", RETRY, "bad_answer"),
        (b'{"candidates": [{"content', RETRY, "bad_answer"),
        (b"<!doctype html><title>502</title>", RETRY, "bad_answer"),
        (b"\xff\xfe\x00", RETRY, "bad_answer"),
        (b"[" * 100_000, RETRY, "bad_answer"),
        (b'{"a": ' + b"9" * 5000 + b"}", RETRY, "bad_answer"),
        (answer(inline("no base64 at all!")), RETRY, "bad_answer"),
        (answer(inline("кириллица")), RETRY, "bad_answer"),
        (answer(inline("")), RETRY, "bad_answer"),
        (answer(inline(b"this is not a picture")), RETRY, "bad_answer"),
        (answer(inline(picture()[:-30])), RETRY, "bad_answer"),
        (answer(inline(picture("GIF"))), RETRY, "bad_answer"),
        (answer({"inlineData": {"mimeType": "image/png", "data": 5}}), RETRY, "bad_answer"),
        (answer(inline(bomb())), RETRY, "bad_answer"),
        (error(429, "RESOURCE_EXHAUSTED"), RETRY, "rate_limited"),
        ({"error": "a text"}, RETRY, "bad_answer"),
    ],
)
async def test_no_picture_with_http_200(body: Any, failure: FailureClass, code: str) -> None:
    with pytest.raises(ImageProviderError) as failed:
        await generate(200, body)
    assert (failed.value.failure, failed.value.code) == (failure, code)


# --- refusals -------------------------------------------------------------------------------------

RETRY_INFO = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "37s"}
KEY_INVALID = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID"}


def quota(quota_id: str) -> Json:
    return {"@type": "…QuotaFailure", "violations": [{"quotaId": quota_id}]}


@pytest.mark.parametrize(
    ("status", "body", "failure", "code"),
    [
        (400, error(400, "INVALID_ARGUMENT"), USER, "bad_request"),
        (400, error(400, "INVALID_ARGUMENT", details=[KEY_INVALID]), OURS, "bad_key"),
        (400, error(400, "FAILED_PRECONDITION", "location"), OURS, "bad_key"),
        (400, b"<html>400 Bad Request</html>", RETRY, "bad_answer"),
        (401, error(401, "UNAUTHENTICATED"), OURS, "bad_key"),
        (402, b"", OURS, "bad_key"),
        (403, error(403, "PERMISSION_DENIED"), OURS, "bad_key"),
        (403, b"<html>", OURS, "bad_key"),
        (404, error(404, "NOT_FOUND"), OURS, "model_gone"),
        (408, b"", RETRY, "timeout"),
        (413, b"<html>too large</html>", USER, "bad_request"),
        (429, error(429, "RESOURCE_EXHAUSTED"), RETRY, "rate_limited"),
        (429, error(429, "RESOURCE_EXHAUSTED", details=[RETRY_INFO]), RETRY, "rate_limited"),
        (429, b"slow down", RETRY, "rate_limited"),
        (
            429,
            error(429, "RESOURCE_EXHAUSTED", details=[quota("RequestsPerDayPerProject")]),
            OURS,
            "quota_exhausted",
        ),
        (
            429,
            error(429, "RESOURCE_EXHAUSTED", details=[quota("RequestsPerMinute"), RETRY_INFO]),
            RETRY,
            "rate_limited",
        ),
        (429, error(429, "X", "Quota exceeded, limit: 0, model: m"), OURS, "quota_exhausted"),
        (429, error(429, "X", "Quota exceeded, limit: 0"), OURS, "quota_exhausted"),
        (429, error(429, "X", "Quota exceeded, limit: 0.5"), RETRY, "rate_limited"),
        (429, error(429, "X", "Quota exceeded, limit: 05"), RETRY, "rate_limited"),
        (429, error(429, "X", details="words"), RETRY, "rate_limited"),
        (429, error(429, "X", details=[5, {"violations": [None, {"quotaId": 3}]}]), RETRY,
         "rate_limited"),
        (499, error(499, "CANCELLED"), RETRY, "unavailable"),
        (500, error(500, "INTERNAL"), RETRY, "unavailable"),
        (502, b"<html>", RETRY, "unavailable"),
        (503, error(503, "UNAVAILABLE"), RETRY, "unavailable"),
        (504, error(504, "DEADLINE_EXCEEDED"), RETRY, "timeout"),
        (599, b"", RETRY, "unavailable"),
        (204, b"", RETRY, "bad_answer"),
        (302, b"", RETRY, "bad_answer"),
        (418, b"", RETRY, "bad_answer"),
    ],
)  # fmt: skip
async def test_refusals(status: int, body: Any, failure: FailureClass, code: str) -> None:
    with pytest.raises(ImageProviderError) as failed:
        await generate(status, body)
    assert (failed.value.failure, failed.value.code) == (failure, code)
    assert failed.value.http_status == status


async def test_a_customers_words_in_a_refusal_do_not_stop_the_sale() -> None:
    message = (
        "Invalid value: 'API key not valid API_KEY_INVALID limit: 0 PerDay FAILED_PRECONDITION'"
    )
    with pytest.raises(ImageProviderError) as failed:
        await generate(400, error(400, "INVALID_ARGUMENT", message))
    assert failed.value.failure is USER


@pytest.mark.parametrize(
    ("details", "header", "seconds"),
    [
        ([RETRY_INFO], "", 37.0),
        ([RETRY_INFO], "5", 37.0),
        ([{"retryDelay": "1.5s"}], "", 1.5),
        ([{"retryDelay": "soon"}], "7", 7.0),
        ([{"retryDelay": 9}], "Wed, 21 Oct 2026 07:28:00 GMT", None),
        ([{"retryDelay": "-4s"}, {"retryDelay": "NaNs"}], "", None),
        ([{"retryDelay": "999999999s"}], "", 86_400.0),
        (None, "", None),
    ],
)
@pytest.mark.parametrize("status", [429, 503])
async def test_the_wish_to_come_back_later(
    status: int, details: Any, header: str, seconds: float | None
) -> None:
    headers = {"retry-after": header} if header else None
    with pytest.raises(ImageProviderError) as failed:
        await generate(status, error(status, "X", details=details), headers=headers)
    assert failed.value.retry_after_seconds == seconds


async def test_what_cannot_pass_has_no_time_to_come_back() -> None:
    details = [quota("GenerateRequestsPerDay"), RETRY_INFO]
    with pytest.raises(ImageProviderError) as failed:
        await generate(429, error(429, "RESOURCE_EXHAUSTED", details=details))
    assert failed.value.retry_after_seconds is None


# --- the wire -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("problem", "code"),
    [
        (httpx.ReadTimeout("slow"), "timeout"),
        (httpx.ConnectTimeout("slow"), "timeout"),
        (httpx.PoolTimeout("full"), "timeout"),
        (httpx.ConnectError("refused"), "unavailable"),
        (httpx.RemoteProtocolError("cut"), "unavailable"),
        (httpx.ReadError("cut"), "unavailable"),
        (httpx.DecodingError("gzip"), "bad_answer"),
        (OSError("no route"), "unavailable"),
        (httpx.LocalProtocolError(f"Illegal header value b'{KEY}'"), "unavailable"),
    ],
)
async def test_a_broken_connection_is_retried_later(problem: Exception, code: str) -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        raise problem

    with pytest.raises(ImageProviderError) as failed:
        await generate_by(handler)
    assert (failed.value.failure, failed.value.code) == (RETRY, code)
    assert failed.value.__cause__ is problem
    assert KEY not in str(failed.value)


@pytest.mark.parametrize("before", [0, 460, 470, 480, 490])
async def test_the_key_shows_in_no_error(before: int) -> None:
    message = "x" * before + KEY + " and more"
    for status, body in (
        (400, error(400, "INVALID_ARGUMENT", message)),
        (200, {"candidates": [{"finishReason": "NO_IMAGE", "finishMessage": message}]}),
        (200, answer({"text": message})),
        (200, {"promptFeedback": {"blockReason": "X", "blockReasonMessage": message}}),
    ):
        with pytest.raises(ImageProviderError) as failed:
            await generate(status, body)
        for length in range(4, len(KEY) + 1):
            assert KEY[:length] not in str(failed.value)
        assert len(failed.value.detail) <= 500


class Endless(httpx.AsyncByteStream):
    """A body that goes on for as long as somebody reads it."""

    def __init__(self) -> None:
        self.sent = 0

    async def __aiter__(self) -> Any:
        while True:
            self.sent += 1 << 16
            yield b" " * (1 << 16)


@pytest.mark.parametrize("status", [200, 500])
async def test_a_body_without_end_is_left(status: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gemini, "ANSWER_BYTES_MAX", 1 << 20)
    stream = Endless()
    with pytest.raises(ImageProviderError) as failed:
        await generate_by(lambda _: httpx.Response(status, stream=stream))
    assert failed.value.code == ("bad_answer" if status == 200 else "unavailable")
    assert stream.sent <= 1 << 21


def test_a_bomb_is_refused_by_its_header() -> None:
    assert len(bomb()) < 1000
    with pytest.raises(NotAPicture):
        inspect(bomb())
    side = int(PIXELS_MAX**0.5) + 1
    with pytest.raises(NotAPicture, match="more than"):
        inspect(picture(size=(side, side)))


@pytest.mark.parametrize("key", ["", "line\nbreak", " spaced", "trailing\n", "ключ"])
def test_a_key_that_cannot_be_one_is_said_at_once(key: str) -> None:
    with pytest.raises(ConfigurationError) as wrong:
        GeminiClient(api_key=key, base_url="https://gemini.test")
    assert wrong.value.setting == "GEMINI_API_KEY"
    assert not key.strip() or key.strip() not in str(wrong.value)


@pytest.mark.parametrize("url", ["", "gemini", "ftp://x", "https://", "http://x:port"])
def test_an_address_that_cannot_be_one_is_said_at_once(url: str) -> None:
    with pytest.raises(ConfigurationError, match="GEMINI_BASE_URL"):
        GeminiClient(api_key=KEY, base_url=url)


async def test_a_probe_asks_for_the_model_and_classes_what_it_hears() -> None:
    bodies: list[tuple[int, Any]] = [
        (200, {"name": "models/m"}),
        (200, {"models": []}),
        (403, error(403, "PERMISSION_DENIED")),
    ]

    def handler(request: httpx.Request) -> httpx.Response:
        assert request.method == "GET"
        assert request.url.raw_path == b"/base/v1beta/models/m%2F..%2Fx"
        status, body = bodies.pop(0)
        return httpx.Response(status, json=body)

    transport = httpx.MockTransport(handler)
    client = GeminiClient(api_key=KEY, base_url="http://gemini.test/base/", transport=transport)
    await client.probe("m/../x")
    for code in ("bad_answer", "bad_key"):
        with pytest.raises(ImageProviderError) as failed:
            await client.probe("m/../x")
        assert failed.value.code == code
    await client.aclose()


# --- arbitrary answers ----------------------------------------------------------------------------

leaves = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
words = st.sampled_from(
    ["candidates", "content", "parts", "inlineData", "data", "thought", "finishReason", "text",
     "promptFeedback", "blockReason", "error", "code", "details", "violations", "retryDelay",
     "responseId", "finishMessage", "status", "message", "quotaId", "name"]
)  # fmt: skip
anything = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(words | st.text(max_size=5), inner, max_size=5)
    ),
    max_leaves=25,
)
nearly_right = st.fixed_dictionaries(
    {"candidates": st.lists(st.fixed_dictionaries({"content": anything, "finishReason": anything}))}
)


@settings(max_examples=300, deadline=None)
@given(body=anything | nearly_right)
def test_no_answer_raises_anything_but_the_named_error(body: Any) -> None:
    with pytest.raises(ImageProviderError) as failed:
        gemini_answers.picture(json.dumps(body).encode())
    assert failed.value.code in CODES


@settings(max_examples=200, deadline=None)
@given(status=st.integers(0, 999), body=st.binary(max_size=200) | anything, header=st.text())
def test_no_refusal_raises_at_all(status: int, body: Any, header: str) -> None:
    content = body if isinstance(body, bytes) else json.dumps({"error": body}).encode()
    assert gemini_answers.refusal(status, content, retry_after=header).code in CODES


@settings(max_examples=200, deadline=None)
@given(
    data=st.binary(max_size=300), kind=st.sampled_from(["PNG", "JPEG", "WEBP"]), at=st.floats(0, 1)
)
def test_no_bytes_raise_anything_but_that_they_are_no_picture(
    data: bytes, kind: str, at: float
) -> None:
    whole = picture(kind)
    cut = int(len(whole) * at)
    for damaged in (data, whole[:cut] + data):
        try:
            found = inspect(damaged)
        except NotAPicture:
            continue
        assert found.width * found.height <= PIXELS_MAX


CODES = {
    "blocked", "no_image", "rate_limited", "unavailable", "timeout", "bad_request", "bad_key",
    "model_gone", "quota_exhausted", "bad_answer",
}  # fmt: skip

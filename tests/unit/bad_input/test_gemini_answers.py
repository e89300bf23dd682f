"""Gemini's answers damaged place by place and byte by byte: the picture, or a failure with its class.

No damage to an answer with HTTP 200 may ever look like our own fault: that would stop the sale.
"""

from __future__ import annotations

import base64
import io
import json
import struct
import tracemalloc
import zlib
from typing import Any

import pytest
from PIL import Image

from rei_core.errors import FailureClass, ImageProviderError
from rei_core.images.gemini_answers import model_name, picture, refusal
from rei_core.images.pictures import NotAPicture, inspect

from .nodes import damaged

CODES = {
    "blocked", "no_image", "rate_limited", "unavailable", "timeout", "bad_request", "bad_key",
    "model_gone", "quota_exhausted", "bad_answer",
}  # fmt: skip
DECODE_BYTES_MAX = 160 * 1024 * 1024
"""`PIXELS_MAX` unpacked take 100 MB."""


def png(side: int = 2) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (side, side), "orange").save(out, "PNG")
    return out.getvalue()


def inline(data: bytes) -> dict[str, Any]:
    return {"inlineData": {"mimeType": "image/png", "data": base64.b64encode(data).decode()}}


DRAFT, FINAL = png(1), png(2)
ANSWER = {
    "candidates": [
        {
            "content": {
                "role": "model",
                "parts": [
                    {"text": "hm", "thought": True},
                    {**inline(DRAFT), "thought": True},
                    {"text": "Here it is"},
                    inline(FINAL),
                ],
            },
            "finishReason": "STOP",
            "index": 0,
            "safetyRatings": [{"category": "HARM_CATEGORY_HARASSMENT", "probability": "LOW"}],
        }
    ],
    "promptFeedback": {"safetyRatings": []},
    "usageMetadata": {"totalTokenCount": 1300},
    "modelVersion": "gemini-3.1-flash-image",
    "responseId": "ref-1",
}
BLOCKED = {
    "promptFeedback": {"blockReason": "PROHIBITED_CONTENT", "blockReasonMessage": "no"},
    "candidates": [{"finishReason": "IMAGE_SAFETY", "finishMessage": "no", "index": 0}],
}
REFUSAL = {
    "error": {
        "code": 429,
        "message": "Quota exceeded, please retry",
        "status": "RESOURCE_EXHAUSTED",
        "details": [
            {"@type": "type.googleapis.com/google.rpc.QuotaFailure",
             "violations": [{"quotaId": "GenerateRequestsPerMinute", "quotaMetric": "m"}]},
            {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "37s"},
            {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "RATE"},
        ],
    }
}  # fmt: skip
MODEL = {"name": "models/gemini-3.1-flash-image", "version": "1", "inputTokenLimit": 65_536}


def body_of(answer: Any) -> bytes:
    return json.dumps(answer).encode()


def outcome_of(body: bytes) -> bytes | ImageProviderError:
    """The picture's bytes, or the failure; whatever else is raised fails the test."""
    try:
        return picture(body).data
    except ImageProviderError as failed:
        return failed


def assert_told(failed: ImageProviderError) -> None:
    assert failed.code in CODES
    assert len(failed.detail) <= 500
    assert failed.retry_after_seconds is None or 0 <= failed.retry_after_seconds <= 86_400


def test_each_node_of_a_picture() -> None:
    pictures = failures = 0
    for path, answer in damaged(ANSWER):
        outcome = outcome_of(body_of(answer))
        if isinstance(outcome, bytes):
            # A damaged mark of a thought makes a picture of it: a picture all the same.
            assert outcome == FINAL or (outcome == DRAFT and "thought" in path), path
            pictures += 1
        else:
            assert outcome.failure is not FailureClass.OUR_FAULT, path
            assert_told(outcome)
            failures += 1
    assert pictures > 100
    assert failures > 100


def test_each_node_of_a_block() -> None:
    for path, answer in damaged(BLOCKED):
        outcome = outcome_of(body_of(answer))
        assert isinstance(outcome, ImageProviderError), path
        assert outcome.failure is not FailureClass.OUR_FAULT, path
        assert_told(outcome)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 408, 413, 429, 499, 500, 503, 504])
def test_each_node_of_a_refusal(status: int) -> None:
    undamaged = refusal(status, body_of(REFUSAL))
    for path, answer in damaged(REFUSAL):
        told = refusal(status, body_of(answer))
        assert_told(told)
        if status in (429, 500, 503, 504, 408, 499):
            # What may pass is never held against the customer or the key for a broken word.
            assert told.failure is FailureClass.RETRY_LATER, path
        elif status != 400:
            assert (told.failure, told.code) == (undamaged.failure, undamaged.code), path
        in_200 = outcome_of(body_of(answer))
        assert isinstance(in_200, ImageProviderError), path
        assert_told(in_200)


def test_each_node_of_a_models_description() -> None:
    for path, answer in damaged(MODEL):
        try:
            name = model_name(body_of(answer))
        except ImageProviderError as failed:
            assert_told(failed)
            continue
        assert name, path


def test_an_answer_cut_at_any_byte() -> None:
    whole = body_of(ANSWER)
    assert outcome_of(whole) == FINAL
    for length in range(len(whole)):
        outcome = outcome_of(whole[:length])
        assert isinstance(outcome, ImageProviderError), length
        assert (outcome.failure, outcome.code) == (FailureClass.RETRY_LATER, "bad_answer"), length


def test_a_picture_cut_at_any_byte() -> None:
    for length in range(len(FINAL)):
        answer = {"candidates": [{"content": {"parts": [inline(FINAL[:length])]}}]}
        outcome = outcome_of(body_of(answer))
        if isinstance(outcome, bytes):  # only checksums are missing
            assert pixels(outcome) == pixels(FINAL), length
            continue
        assert (outcome.failure, outcome.code) == (FailureClass.RETRY_LATER, "bad_answer"), length


def pixels(data: bytes) -> bytes:
    with Image.open(io.BytesIO(data)) as image:
        return image.tobytes()


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def crafted(width: int, height: int, *extra: bytes, rows: bytes = b"") -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = (chunk(b"IHDR", header), *extra, chunk(b"IDAT", rows), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


ENDLESS = zlib.compress(b"\0" * (300 * 1024 * 1024), 9)
BOMBS = {
    "sides": crafted(60_000, 60_000, rows=ENDLESS),
    "one long line": crafted(2**31 - 1, 1, rows=ENDLESS),
    "no side": crafted(0, 0, rows=ENDLESS),
    "more rows than it has": crafted(10, 10, rows=ENDLESS),
    "text": crafted(1, 1, chunk(b"zTXt", b"a\0\0" + ENDLESS), rows=zlib.compress(b"\0" * 4)),
    "international text": crafted(
        1, 1, chunk(b"iTXt", b"a\0\1\0\0\0" + ENDLESS), rows=zlib.compress(b"\0" * 4)
    ),
    "profile": crafted(
        1, 1, chunk(b"iCCP", b"a\0\0" + ENDLESS), rows=zlib.compress(b"\0" * 4)
    ),
    "many texts": crafted(
        1,
        1,
        *[chunk(b"zTXt", b"a%d\0\0" % n + zlib.compress(b"\0" * 900_000)) for n in range(400)],
        rows=zlib.compress(b"\0" * 4),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_takes_no_memory(name: str) -> None:
    tracemalloc.start()
    try:
        try:
            found = inspect(BOMBS[name])
        except NotAPicture:
            found = None
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert found is None or found.width * found.height <= 100
    assert peak < DECODE_BYTES_MAX

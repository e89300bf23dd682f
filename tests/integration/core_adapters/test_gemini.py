"""GeminiClient against the sandbox: every call, every refusal, every kind of fault."""

from __future__ import annotations

import asyncio
import io
import time
from dataclasses import replace

import pytest
from PIL import Image

from rei_core.catalog import load_catalog
from rei_core.errors import FailureClass, ImageProviderError
from rei_core.images.gemini import GeminiClient
from rei_core.images.port import ImageRequest, InputImage
from rei_sandbox.app import Running
from rei_sandbox.faults import KINDS

REQUEST = ImageRequest("gemini-3.1-flash-image", "кот на Луне", "16:9", "1K")
RETRY, USER, OURS = FailureClass.RETRY_LATER, FailureClass.USER_FAULT, FailureClass.OUR_FAULT


def photo(size: tuple[int, int] = (64, 48)) -> InputImage:
    out = io.BytesIO()
    Image.new("RGB", size, "blue").save(out, "JPEG")
    return InputImage("image/jpeg", out.getvalue())


async def failure(gemini: GeminiClient, request: ImageRequest = REQUEST) -> ImageProviderError:
    with pytest.raises(ImageProviderError) as failed:
        await gemini.generate(request)
    return failed.value


def made(sandbox: Running) -> int:
    counts = sandbox.sandbox.calls.counts()
    return sum(counts.get("gemini", {}).get("made", {}).values())


async def test_a_picture_is_what_was_asked_for(gemini: GeminiClient) -> None:
    image = await gemini.generate(REQUEST)
    assert (image.mime_type, image.width, image.height) == ("image/png", 1376, 768)
    assert image.provider_ref
    with Image.open(io.BytesIO(image.data)) as decoded:
        assert decoded.size == (1376, 768)


async def test_everything_in_the_catalogue_can_be_made(gemini: GeminiClient) -> None:
    for model in load_catalog().models:
        await gemini.probe(model.id)
        for size in model.image_sizes:
            request = replace(REQUEST, model=model.id, image_size=size, aspect_ratio="1:1")
            image = await gemini.generate(request)
            assert image.width == {"1K": 1024, "2K": 2048, "4K": 4096}[size]


async def test_photos_are_edited(gemini: GeminiClient, sandbox: Running) -> None:
    image = await gemini.generate(replace(REQUEST, inputs=(photo(), photo((30, 90)))))
    assert image.width == 1376
    assert made(sandbox) == 1


async def test_thoughts_are_skipped(gemini: GeminiClient) -> None:
    assert (await gemini.generate(replace(REQUEST, prompt="think of a cat"))).width == 1376


async def test_many_at_once(gemini: GeminiClient, sandbox: Running) -> None:
    images = await asyncio.gather(*(gemini.generate(REQUEST) for _ in range(30)))
    assert len({image.provider_ref for image in images}) == 30
    assert made(sandbox) == 30


@pytest.mark.parametrize(
    ("request_", "kind", "code"),
    [
        (replace(REQUEST, prompt="forbidden"), USER, "blocked"),
        (replace(REQUEST, prompt="unsafe"), USER, "blocked"),
        (replace(REQUEST, prompt="text only, please"), USER, "no_image"),
        (replace(REQUEST, aspect_ratio="17:3"), USER, "bad_request"),
        (replace(REQUEST, image_size="8K"), USER, "bad_request"),
        (replace(REQUEST, inputs=(photo(),) * 15), USER, "bad_request"),
        (replace(REQUEST, inputs=(InputImage("image/png", b"junk"),)), USER, "bad_request"),
        (replace(REQUEST, model="gemini-1-flash-image"), OURS, "model_gone"),
        (replace(REQUEST, model="../me"), OURS, "model_gone"),
    ],
    ids=lambda value: value.prompt[:12] if isinstance(value, ImageRequest) else str(value),
)
async def test_what_the_provider_refuses(
    gemini: GeminiClient, request_: ImageRequest, kind: FailureClass, code: str
) -> None:
    error = await failure(gemini, request_)
    assert (error.failure, error.code) == (kind, code), error


async def test_a_wrong_key_is_our_fault(sandbox: Running) -> None:
    client = GeminiClient(api_key="AIza-wrong-key-0123456789", base_url=f"{sandbox.url}/gemini")
    error = await failure(client)
    assert (error.failure, error.code) == (OURS, "bad_key")
    assert "AIza-wrong" not in str(error)
    with pytest.raises(ImageProviderError, match="bad_key"):
        await client.probe(REQUEST.model)
    await client.aclose()


FAULTS = {
    "rate_limited": (RETRY, "rate_limited"),
    "unavailable": (RETRY, "unavailable"),
    "internal": (RETRY, "unavailable"),
    "hang": (RETRY, "timeout"),
    "done_no_answer": (RETRY, "unavailable"),
    "quota_exhausted": (OURS, "quota_exhausted"),
    "blocked": (USER, "blocked"),
    "no_image": (USER, "no_image"),
    "bad_key": (OURS, "bad_key"),
    "model_gone": (OURS, "model_gone"),
    "truncated": (RETRY, "bad_answer"),
    "garbage": (RETRY, "bad_answer"),
    "not_an_image": (RETRY, "bad_answer"),
}


def test_every_kind_of_fault_is_tried() -> None:
    assert {*FAULTS, "slow"} == set(KINDS["gemini"])


async def test_a_slow_picture_comes(gemini: GeminiClient, sandbox: Running) -> None:
    sandbox.sandbox.faults.add("gemini", "slow", operation="generate", delay_seconds=1)
    began = time.monotonic()
    assert (await gemini.generate(REQUEST)).width == 1376
    assert time.monotonic() - began >= 1
    assert sandbox.sandbox.calls.counts()["gemini"]["made"] == {REQUEST.model: 1}


@pytest.mark.parametrize("kind", FAULTS)
async def test_each_fault_is_classed_and_passes(sandbox: Running, kind: str) -> None:
    client = GeminiClient(
        api_key="sandbox-gemini-key",
        base_url=f"{sandbox.url}/gemini",
        timeout_seconds=4 if kind == "hang" else 20,
    )
    sandbox.sandbox.faults.add("gemini", kind, operation="generate")
    error = await failure(client)
    assert (error.failure, error.code) == FAULTS[kind], error
    assert sandbox.sandbox.faults.active() == ()
    if kind != "hang":
        assert (await client.generate(REQUEST)).width == 1376
    await client.aclose()


async def test_the_wish_to_come_back_later_is_passed_on(
    gemini: GeminiClient, sandbox: Running
) -> None:
    sandbox.sandbox.faults.add("gemini", "rate_limited", operation="generate", delay_seconds=37)
    assert (await failure(gemini)).retry_after_seconds == 37


async def test_a_sandbox_that_is_gone(gemini: GeminiClient, sandbox: Running) -> None:
    client = GeminiClient(api_key="k", base_url="http://127.0.0.1:9")
    error = await failure(client)
    assert (error.failure, error.code) == (RETRY, "unavailable")
    await client.aclose()


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        ("rate_limited", "rate_limited"),
        ("unavailable", "unavailable"),
        ("internal", "unavailable"),
        ("bad_key", "bad_key"),
        ("model_gone", "model_gone"),
        ("quota_exhausted", "quota_exhausted"),
        ("garbage", "bad_answer"),
        ("truncated", "bad_answer"),
        ("done_no_answer", "unavailable"),
    ],
)
async def test_a_probe_fails_as_a_picture_would(
    gemini: GeminiClient, sandbox: Running, kind: str, code: str
) -> None:
    sandbox.sandbox.faults.add("gemini", kind, operation="probe")
    with pytest.raises(ImageProviderError) as failed:
        await gemini.probe(REQUEST.model)
    assert failed.value.code == code
    await gemini.probe(REQUEST.model)
    assert made(sandbox) == 0, "a probe makes no picture"

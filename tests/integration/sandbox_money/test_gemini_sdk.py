"""The official google-genai SDK, unchanged, through every call that Rei uses."""

from __future__ import annotations

import asyncio
import io

import pytest
from google import genai
from google.genai import errors, types
from PIL import Image

from rei_sandbox.app import Running

pytestmark = pytest.mark.filterwarnings(
    # google-genai subclasses aiohttp's ClientSession by itself, at every asynchronous call.
    "ignore:Inheritance class AiohttpClientSession from ClientSession:DeprecationWarning"
)

FLASH = "gemini-3.1-flash-image"
PRO = "gemini-3-pro-image"
OLD = "gemini-2.5-flash-image"


def config(ratio: str = "1:1", size: str = "1K") -> types.GenerateContentConfig:
    return types.GenerateContentConfig(
        response_modalities=["TEXT", "IMAGE"],
        image_config=types.ImageConfig(aspect_ratio=ratio, image_size=size),
    )


def png(colour: str = "navy") -> types.Part:
    buffer = io.BytesIO()
    Image.new("RGB", (64, 48), colour).save(buffer, "PNG")
    return types.Part.from_bytes(data=buffer.getvalue(), mime_type="image/png")


def pictures(answer: types.GenerateContentResponse) -> list[Image.Image]:
    """The pictures of an answer, without those that are only thoughts."""
    assert answer.candidates
    assert answer.candidates[0].content
    blobs = [
        part.inline_data.data
        for part in answer.candidates[0].content.parts or []
        if part.inline_data and not part.thought
    ]
    return [Image.open(io.BytesIO(blob or b"")) for blob in blobs]


@pytest.mark.parametrize(
    ("model", "ratio", "size", "pixels"),
    [
        (FLASH, "1:1", "1K", (1024, 1024)),
        (FLASH, "16:9", "1K", (1376, 768)),
        (OLD, "16:9", "1K", (1344, 768)),
        (FLASH, "21:9", "2K", (3168, 1344)),
        (PRO, "9:16", "4K", (3072, 5504)),
    ],
)
async def test_text_becomes_a_png_of_the_right_size(
    gemini_sdk: genai.Client, model: str, ratio: str, size: str, pixels: tuple[int, int]
) -> None:
    answer = await gemini_sdk.aio.models.generate_content(
        model=model, contents="Кот в скафандре", config=config(ratio, size)
    )
    [picture] = pictures(answer)
    assert (picture.format, picture.size) == ("PNG", pixels)
    assert answer.candidates
    assert answer.candidates[0].finish_reason == types.FinishReason.STOP
    assert answer.model_version == model
    assert answer.response_id
    assert answer.usage_metadata
    assert answer.usage_metadata.candidates_token_count


async def test_two_pictures_are_edited_into_one_that_shows_them(
    gemini_sdk: genai.Client,
) -> None:
    prompt = "Соедини"
    plain = await gemini_sdk.aio.models.generate_content(
        model=PRO, contents=prompt, config=config()
    )
    parts: list[types.PartUnionDict] = [prompt, png("red"), png("lime")]
    edited = await gemini_sdk.aio.models.generate_content(
        model=PRO, contents=parts, config=config()
    )
    [before], [after] = pictures(plain), pictures(edited)
    colours = {colour for _, colour in after.convert("RGB").getcolors(2**24) or []}
    assert {(255, 0, 0), (0, 255, 0)} <= colours
    assert before.tobytes() != after.tobytes()


async def test_the_same_words_give_the_same_picture_and_others_another(
    gemini_sdk: genai.Client,
) -> None:
    drawn = [
        pictures(
            await gemini_sdk.aio.models.generate_content(
                model=FLASH, contents=words, config=config()
            )
        )[0].tobytes()
        for words in ("a cat", "a cat", "a dog")
    ]
    assert drawn[0] == drawn[1] != drawn[2]


async def test_thoughts_come_before_the_picture(gemini_sdk: genai.Client) -> None:
    answer = await gemini_sdk.aio.models.generate_content(
        model=PRO, contents="think of a cat", config=config()
    )
    assert answer.candidates
    assert answer.candidates[0].content
    parts = answer.candidates[0].content.parts or []
    assert [bool(part.thought) for part in parts] == [True, True, False, False]
    assert parts[1].inline_data  # a draft, which is not the picture
    assert len(pictures(answer)) == 1


@pytest.mark.parametrize("words", ["something forbidden", "Запретное"])
async def test_a_forbidden_prompt_is_blocked_without_candidates(
    gemini_sdk: genai.Client, words: str
) -> None:
    answer = await gemini_sdk.aio.models.generate_content(
        model=FLASH, contents=words, config=config()
    )
    assert answer.candidates is None
    assert answer.prompt_feedback
    assert answer.prompt_feedback.block_reason == types.BlockedReason.PROHIBITED_CONTENT


@pytest.mark.parametrize("words", ["something unsafe", "Опасное"])
async def test_an_unsafe_picture_is_withheld(gemini_sdk: genai.Client, words: str) -> None:
    answer = await gemini_sdk.aio.models.generate_content(
        model=FLASH, contents=words, config=config()
    )
    assert answer.candidates
    assert answer.candidates[0].finish_reason == types.FinishReason.IMAGE_SAFETY
    assert answer.candidates[0].content is None


async def test_stop_with_text_only_happens(gemini_sdk: genai.Client) -> None:
    answer = await gemini_sdk.aio.models.generate_content(
        model=FLASH, contents="text only please", config=config()
    )
    assert answer.text
    assert pictures(answer) == []


async def test_models_are_listed_and_described(gemini_sdk: genai.Client) -> None:
    listed = await gemini_sdk.aio.models.list(config={"page_size": 2})
    names = [model.name async for model in listed]
    assert names == [f"models/{name}" for name in (OLD, FLASH, PRO)]
    described = await gemini_sdk.aio.models.get(model=PRO)
    assert described.name == f"models/{PRO}"
    assert "generateContent" in (described.supported_actions or [])


async def test_the_synchronous_client_works_as_well(
    gemini_sdk: genai.Client, sandbox: Running
) -> None:
    answer = await asyncio.to_thread(
        gemini_sdk.models.generate_content, model=FLASH, contents="a cat", config=config()
    )
    assert len(pictures(answer)) == 1
    assert sandbox.sandbox.calls.counts()["gemini"]["made"] == {FLASH: 1}


async def test_a_wrong_key_is_refused_as_google_does(sandbox: Running) -> None:
    client = genai.Client(api_key="wrong", http_options={"base_url": f"{sandbox.url}/gemini"})
    with pytest.raises(errors.ClientError) as refused:
        await client.aio.models.generate_content(model=FLASH, contents="a cat")
    assert (refused.value.code, refused.value.status) == (400, "INVALID_ARGUMENT")
    assert refused.value.message == "API key not valid. Please pass a valid API key."
    assert refused.value.details["error"]["details"][0]["reason"] == "API_KEY_INVALID"
    await client.aio.aclose()
    client.close()


async def test_an_unknown_model_is_not_found(gemini_sdk: genai.Client) -> None:
    with pytest.raises(errors.ClientError) as refused:
        await gemini_sdk.aio.models.generate_content(model="gemini-1", contents="a cat")
    assert (refused.value.code, refused.value.status) == (404, "NOT_FOUND")
    with pytest.raises(errors.ClientError) as refused:
        await gemini_sdk.aio.models.get(model="gemini-1")
    assert refused.value.code == 404


@pytest.mark.parametrize(
    ("model", "ratio", "size"), [(FLASH, "7:5", "1K"), (FLASH, "1:1", "8K"), (OLD, "1:1", "2K")]
)
async def test_a_ratio_or_size_that_the_model_lacks_is_refused(
    gemini_sdk: genai.Client, model: str, ratio: str, size: str
) -> None:
    with pytest.raises(errors.ClientError) as refused:
        await gemini_sdk.aio.models.generate_content(
            model=model, contents="a cat", config=config(ratio, size)
        )
    assert (refused.value.code, refused.value.status) == (400, "INVALID_ARGUMENT")


@pytest.mark.parametrize(("model", "number"), [(OLD, 4), (PRO, 15)])
async def test_more_pictures_than_the_model_takes_are_refused(
    gemini_sdk: genai.Client, model: str, number: int
) -> None:
    parts: list[types.PartUnionDict] = ["edit", *(png() for _ in range(number))]
    with pytest.raises(errors.ClientError) as refused:
        await gemini_sdk.aio.models.generate_content(model=model, contents=parts)
    assert refused.value.code == 400
    assert "Too many input images" in (refused.value.message or "")


@pytest.mark.parametrize(
    ("kind", "code", "status"),
    [
        ("rate_limited", 429, "RESOURCE_EXHAUSTED"),
        ("quota_exhausted", 429, "RESOURCE_EXHAUSTED"),
        ("unavailable", 503, "UNAVAILABLE"),
        ("internal", 500, "INTERNAL"),
        ("bad_key", 400, "INVALID_ARGUMENT"),
        ("model_gone", 404, "NOT_FOUND"),
    ],
)
async def test_faults_come_as_the_sdks_own_errors(
    gemini_sdk: genai.Client, sandbox: Running, kind: str, code: int, status: str
) -> None:
    sandbox.sandbox.faults.add("gemini", kind, delay_seconds=7, operation="generate")
    with pytest.raises(errors.APIError) as refused:
        await gemini_sdk.aio.models.generate_content(model=FLASH, contents="a cat")
    assert (refused.value.code, refused.value.status) == (code, status)
    details = refused.value.details["error"].get("details", [])
    if kind == "rate_limited":
        assert details[0]["retryDelay"] == "7s"
    if kind == "quota_exhausted":
        assert "limit: 0" in (refused.value.message or "")
        assert "PerDay" in details[0]["violations"][0]["quotaId"]
    answer = await gemini_sdk.aio.models.generate_content(model=FLASH, contents="a cat")
    assert len(pictures(answer)) == 1

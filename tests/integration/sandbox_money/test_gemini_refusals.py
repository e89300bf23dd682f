"""What Gemini refuses and how its faults look on the wire; asked without the SDK."""

from __future__ import annotations

import base64
import io
import json
from typing import Any

import httpx
import pytest
from PIL import Image, UnidentifiedImageError

from rei_sandbox.app import Running

URL = "/gemini/v1beta/models/gemini-3.1-flash-image:generateContent"
KEY = {"x-goog-api-key": "sandbox-gemini-key"}


def body(*parts: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"contents": [{"role": "user", "parts": [{"text": "a cat"}, *parts]}], **more}


def inline(mime_type: str, data: str) -> dict[str, Any]:
    return {"inlineData": {"mimeType": mime_type, "data": data}}


def encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


@pytest.mark.parametrize(
    ("request_body", "words"),
    [
        ({}, "contents is not specified"),
        ({"contents": []}, "contents is not specified"),
        ({"contents": [{"role": "user", "parts": []}]}, "must not be empty"),
        ({"contents": [{"role": "king", "parts": [{"text": "a"}]}]}, "valid role"),
        (body(prompt="x"), 'Unknown name "prompt"'),
        (body({"picture": "x"}), "Unknown name \"picture\" at 'contents[0].parts[1]'"),
        (
            body(generationConfig={"imageConfig": {"ratio": "1:1"}}),
            "Unknown name \"ratio\" at 'generation_config.image_config'",
        ),
        (body(generationConfig={"imageConfig": {"aspectRatio": "2:1"}}), "aspect_ratio"),
        (body(generationConfig={"imageConfig": {"imageSize": "1k"}}), "image_size"),
        (body(generationConfig={"responseModalities": ["SMELL"]}), "response_modalities"),
        (body(inline("text/html", "aGk=")), "Unsupported MIME type: text/html"),
        (body(inline("image/png", "%%%")), "Base64 decoding failed"),
        (body(inline("image/png", encoded(b"no picture"))), "Unable to process input image"),
    ],
)
async def test_a_wrong_request_is_an_invalid_argument(
    http: httpx.AsyncClient, request_body: dict[str, Any], words: str
) -> None:
    answer = await http.post(URL, json=request_body, headers=KEY)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["status"]) == (400, 400, "INVALID_ARGUMENT")
    assert words in error["message"]


async def test_what_is_not_json_is_refused(http: httpx.AsyncClient) -> None:
    answer = await http.post(URL, content="{", headers=KEY)
    assert answer.json()["error"]["status"] == "INVALID_ARGUMENT"


async def test_names_may_come_in_snake_case(http: httpx.AsyncClient) -> None:
    config = {"response_modalities": ["IMAGE"], "image_config": {"aspect_ratio": "16:9"}}
    answer = await http.post(URL, json=body(generation_config=config), headers=KEY)
    assert answer.status_code == 200, answer.text


async def test_the_key_comes_by_header_or_query_and_is_needed(http: httpx.AsyncClient) -> None:
    models = "/gemini/v1beta/models"
    assert (await http.get(models, headers=KEY)).status_code == 200
    assert (await http.get(models, params={"key": "sandbox-gemini-key"})).status_code == 200
    missing = await http.get(models)
    assert (missing.status_code, missing.json()["error"]["status"]) == (403, "PERMISSION_DENIED")
    wrong = await http.get(models, params={"key": "secret-of-someone"})
    assert wrong.status_code == 400
    assert "secret-of-someone" not in wrong.text


async def test_models_are_paged(http: httpx.AsyncClient) -> None:
    names: list[str] = []
    query = {"pageSize": "1"}
    while True:
        answer = (await http.get("/gemini/v1beta/models", params=query, headers=KEY)).json()
        names += [model["name"] for model in answer["models"]]
        if "nextPageToken" not in answer:
            break
        query["pageToken"] = answer["nextPageToken"]
    assert len(names) == len(set(names)) == 3


@pytest.mark.parametrize("kind", ["truncated", "garbage"])
async def test_an_answer_may_be_no_json(
    http: httpx.AsyncClient, sandbox: Running, kind: str
) -> None:
    sandbox.sandbox.faults.add("gemini", kind)
    answer = await http.post(URL, json=body(), headers=KEY)
    assert answer.status_code == 200
    with pytest.raises(ValueError, match=r"Expecting|Unterminated"):
        json.loads(answer.text)


async def test_a_picture_may_be_junk(http: httpx.AsyncClient, sandbox: Running) -> None:
    sandbox.sandbox.faults.add("gemini", "not_an_image")
    answer = (await http.post(URL, json=body(), headers=KEY)).json()
    data = base64.b64decode(answer["candidates"][0]["content"]["parts"][-1]["inlineData"]["data"])
    with pytest.raises(UnidentifiedImageError):
        Image.open(io.BytesIO(data))


async def test_an_innocent_prompt_may_be_blocked_or_give_nothing(
    http: httpx.AsyncClient, sandbox: Running
) -> None:
    sandbox.sandbox.faults.add("gemini", "blocked")
    sandbox.sandbox.faults.add("gemini", "no_image")
    blocked = (await http.post(URL, json=body(), headers=KEY)).json()
    assert blocked["promptFeedback"]["blockReason"] == "PROHIBITED_CONTENT"
    assert "candidates" not in blocked
    nothing = (await http.post(URL, json=body(), headers=KEY)).json()
    assert nothing["candidates"] == [{"finishReason": "NO_IMAGE", "index": 0}]


async def test_a_hanging_call_says_nothing_and_makes_nothing(
    http: httpx.AsyncClient, sandbox: Running
) -> None:
    sandbox.sandbox.faults.add("gemini", "hang")
    with pytest.raises(httpx.ReadTimeout):
        await http.post(URL, json=body(), headers=KEY, timeout=httpx.Timeout(10, read=1))
    sandbox.sandbox.faults.add("gemini", "hang", delay_seconds=0.2)
    with pytest.raises(httpx.RemoteProtocolError):
        await http.post(URL, json=body(), headers=KEY)
    assert "made" not in sandbox.sandbox.calls.counts().get("gemini", {})


async def test_a_picture_may_be_made_and_never_arrive(
    http: httpx.AsyncClient, sandbox: Running
) -> None:
    sandbox.sandbox.faults.add("gemini", "done_no_answer")
    with pytest.raises(httpx.RemoteProtocolError):
        await http.post(URL, json=body(), headers=KEY)
    assert sandbox.sandbox.calls.counts()["gemini"]["made"] == {"gemini-3.1-flash-image": 1}


async def test_a_probe_has_faults_of_its_own(http: httpx.AsyncClient, sandbox: Running) -> None:
    sandbox.sandbox.faults.add("gemini", "unavailable", operation="probe")
    model = "/gemini/v1beta/models/gemini-3-pro-image"
    assert (await http.post(URL, json=body(), headers=KEY)).status_code == 200
    assert (await http.get(model, headers=KEY)).status_code == 503
    assert (await http.get(model, headers=KEY)).status_code == 200

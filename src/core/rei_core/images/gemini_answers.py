"""What Gemini's answers mean: pure functions from a status and bytes to a picture or an error.

Blocks arrive as HTTP 200, refusals in Google's shape `{"error": {"code", "message", "status",
"details"}}`, and whatever stands before the API answers in shapes of its own. Nothing here trusts
a type. A word that a customer could have written never decides that something is our fault,
because that stops the sale for everybody: our faults are known by status and reason alone.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator
from typing import Any, Final

from rei_core.errors import FailureClass, ImageProviderError
from rei_core.http import Json, dict_of, list_of, object_of, text_of
from rei_core.images.pictures import NotAPicture, inspect
from rei_core.images.port import GeneratedImage

BLOCKS: Final = frozenset(
    {
        "SAFETY",
        "IMAGE_SAFETY",
        "PROHIBITED_CONTENT",
        "IMAGE_PROHIBITED_CONTENT",
        "RECITATION",
        "IMAGE_RECITATION",
        "BLOCKLIST",
        "SPII",
    }
)
"""Finish reasons by which the model refuses what it was asked for."""

BAD_ANSWER: Final = (FailureClass.RETRY_LATER, "bad_answer")
UNAVAILABLE: Final = (FailureClass.RETRY_LATER, "unavailable")
STATUSES: Final = {
    400: (FailureClass.USER_FAULT, "bad_request"),
    401: (FailureClass.OUR_FAULT, "bad_key"),
    402: (FailureClass.OUR_FAULT, "bad_key"),
    403: (FailureClass.OUR_FAULT, "bad_key"),
    404: (FailureClass.OUR_FAULT, "model_gone"),
    408: (FailureClass.RETRY_LATER, "timeout"),
    413: (FailureClass.USER_FAULT, "bad_request"),
    429: (FailureClass.RETRY_LATER, "rate_limited"),
    499: UNAVAILABLE,
    504: (FailureClass.RETRY_LATER, "timeout"),
}
"""What a status means if the error does not say more; other 5xx are `UNAVAILABLE`."""

RETRY_AFTER_SECONDS_MAX: Final = 86_400.0
REF_LENGTH_MAX: Final = 200
_DURATION = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)s?")
_PER_DAY = re.compile(r"per[ _-]?day", re.IGNORECASE)
_LIMIT_ZERO = re.compile(r"\blimit: 0(?![0-9]|\.[0-9])")


def picture(body: bytes | bytearray) -> GeneratedImage:
    """The picture in an answer with HTTP 200; raises `ImageProviderError` if there is none.

    Unpacks it, so it takes up to a second: call it in a thread.
    """
    answer = object_of(body)
    if answer is None:
        raise bad_answer("no JSON object", http_status=200)
    if "error" in answer:
        raise refusal(_int(dict_of(answer["error"]).get("code")), body)
    candidates = [dict_of(candidate) for candidate in list_of(answer.get("candidates"))]
    parts = [part for candidate in candidates for part in _parts(candidate)]
    problem = ""
    for mime_type, text in _pictures(parts):
        try:
            return _decoded(text, ref=text_of(answer.get("responseId"))[:REF_LENGTH_MAX])
        except NotAPicture as error:
            problem = f"{mime_type or 'a part'} holds no picture: {error}"
    if problem:
        raise bad_answer(problem, http_status=200)
    raise _without_picture(answer, candidates, parts)


def model_name(body: bytes | bytearray) -> str:
    """The name in a model's description; raises `ImageProviderError` if it is none."""
    answer = object_of(body) or {}
    name = answer.get("name")
    if not isinstance(name, str) or not name:
        raise bad_answer("no description of a model", http_status=200)
    return name


def refusal(status: int, body: bytes | bytearray, *, retry_after: str = "") -> ImageProviderError:
    """The error of an answer that is not HTTP 200; `retry_after` is the header, if there was one."""
    error = dict_of((object_of(body) or {}).get("error"))
    failure, code = _classified(status, error)
    wish = _retry_after_seconds(error, retry_after)
    return ImageProviderError(
        failure,
        code,
        _detail(status, error),
        retry_after_seconds=wish if failure is FailureClass.RETRY_LATER else None,
        http_status=status,
    )


def bad_answer(detail: str, *, http_status: int | None = None) -> ImageProviderError:
    """An answer that makes no sense; the next one may."""
    return ImageProviderError(
        FailureClass.RETRY_LATER, "bad_answer", detail, http_status=http_status
    )


def _classified(status: int, error: Json) -> tuple[FailureClass, str]:
    if status == 400 and not error:
        return BAD_ANSWER  # some proxy's, not Google's
    if status == 400 and _is_ours(error):
        return FailureClass.OUR_FAULT, "bad_key"
    if status == 429 and _quota_is_exhausted(error):
        return FailureClass.OUR_FAULT, "quota_exhausted"
    return STATUSES.get(status, UNAVAILABLE if status >= 500 else BAD_ANSWER)


def _is_ours(error: Json) -> bool:
    """A key that is none, or a project that may not: no other request would fare better."""
    if error.get("status") == "FAILED_PRECONDITION":
        return True
    return any(detail.get("reason") == "API_KEY_INVALID" for detail in _details(error))


def _quota_is_exhausted(error: Json) -> bool:
    """A quota of the day, or one of zero: waiting a minute is of no use."""
    violations = [
        dict_of(violation)
        for detail in _details(error)
        for violation in list_of(detail.get("violations"))
    ]
    if any(_PER_DAY.search(text_of(violation.get("quotaId"))) for violation in violations):
        return True
    message = text_of(error.get("message"))
    return bool(_LIMIT_ZERO.search(message) or _PER_DAY.search(message))


def _retry_after_seconds(error: Json, header: str) -> float | None:
    wishes = [text_of(detail.get("retryDelay")) for detail in _details(error)]
    for wish in (*wishes, header.strip()):
        match = _DURATION.fullmatch(wish)
        if match is not None:
            return min(float(match[1]), RETRY_AFTER_SECONDS_MAX)
    return None


def _without_picture(answer: Json, candidates: list[Json], parts: list[Json]) -> ImageProviderError:
    """Why there is no picture: the prompt was blocked, the picture was, or the model only talked."""
    feedback = dict_of(answer.get("promptFeedback"))
    block = text_of(feedback.get("blockReason"))
    if block:
        why = text_of(feedback.get("blockReasonMessage"))
        return _users_fault("blocked", f"prompt: {block} {why}".rstrip())
    if not candidates:
        return bad_answer("no candidates", http_status=200)
    reason = text_of(candidates[0].get("finishReason"))
    said = text_of(candidates[0].get("finishMessage")) or _words(parts)
    if reason in BLOCKS:
        return _users_fault("blocked", f"{reason} {said}".rstrip())
    if reason in ("", "FINISH_REASON_UNSPECIFIED") or (reason == "STOP" and not said):
        return bad_answer("neither a picture nor a word", http_status=200)
    # NO_IMAGE, IMAGE_OTHER, OTHER, MAX_TOKENS, STOP with words only, and whatever comes next: the
    # answer is an answer, each costs money, and the same prompt would most likely get the same.
    return _users_fault("no_image", f"{reason} {said}".rstrip())


def _users_fault(code: str, detail: str) -> ImageProviderError:
    return ImageProviderError(FailureClass.USER_FAULT, code, detail, http_status=200)


def _parts(candidate: Json) -> list[Json]:
    """The parts of a candidate that are no thoughts: those may hold drafts of the picture."""
    parts = list_of(dict_of(candidate.get("content")).get("parts"))
    return [part for part in map(dict_of, parts) if not part.get("thought")]


def _pictures(parts: list[Json]) -> Iterator[tuple[str, str]]:
    """(mime type as claimed, base64) of each part that holds data."""
    for part in parts:
        inline = dict_of(part.get("inlineData"))
        if "data" in inline:
            yield text_of(inline.get("mimeType"))[:64], text_of(inline["data"])


def _decoded(text: str, *, ref: str) -> GeneratedImage:
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise NotAPicture("its base64 is none") from error
    found = inspect(data)
    return GeneratedImage(
        mime_type=found.mime_type,
        data=data,
        width=found.width,
        height=found.height,
        provider_ref=ref,
    )


def _words(parts: list[Json]) -> str:
    return " ".join(filter(None, (text_of(part.get("text")) for part in parts)))


def _detail(status: int, error: Json) -> str:
    named = text_of(error.get("status")) or "no error of Google's"
    return f"HTTP {status} {named}: {text_of(error.get('message'))}".removesuffix(": ")


def _details(error: Json) -> list[Json]:
    return [dict_of(detail) for detail in list_of(error.get("details"))]


def _int(value: Any) -> int:
    return value if isinstance(value, int) else 0

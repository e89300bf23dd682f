"""What a request to generateContent must look like.

Names may come in camelCase or snake_case, as protobuf's JSON allows and Google's own SDK mixes.
A name that the API does not know is refused, so a mistyped option is never silently ignored.
"""

from __future__ import annotations

import base64
import binascii
import io
from dataclasses import dataclass
from typing import Any, Final

from PIL import Image, UnidentifiedImageError

from rei_sandbox.gemini.errors import invalid_argument, unknown_name
from rei_sandbox.gemini.models import ASPECT_RATIOS, SIZE_FACTORS, Model

IMAGE_TYPES: Final = ("image/png", "image/jpeg", "image/webp", "image/heic", "image/heif")
_DRAWABLE: Final = ("image/png", "image/jpeg", "image/webp")
_MODALITIES: Final = ("TEXT", "IMAGE", "AUDIO")

_REQUEST: Final = (
    "contents",
    "systemInstruction",
    "generationConfig",
    "safetySettings",
    "tools",
    "toolConfig",
    "cachedContent",
    "model",
    "serviceTier",
    "store",
)
_CONTENT: Final = ("parts", "role")
_PART: Final = (
    "text",
    "inlineData",
    "fileData",
    "functionCall",
    "functionResponse",
    "thought",
    "thoughtSignature",
    "videoMetadata",
    "mediaResolution",
    "executableCode",
    "codeExecutionResult",
    "partMetadata",
)
_BLOB: Final = ("mimeType", "data", "displayName")
_CONFIG: Final = (
    "responseModalities",
    "imageConfig",
    "temperature",
    "topP",
    "topK",
    "candidateCount",
    "maxOutputTokens",
    "stopSequences",
    "seed",
    "thinkingConfig",
    "responseMimeType",
    "responseSchema",
    "responseJsonSchema",
    "presencePenalty",
    "frequencyPenalty",
    "responseLogprobs",
    "logprobs",
    "speechConfig",
    "mediaResolution",
    "audioTimestamp",
    "enableEnhancedCivicAnswers",
)
_IMAGE_CONFIG: Final = ("aspectRatio", "imageSize", "imageOutputOptions", "personGeneration")

Json = dict[str, Any]


@dataclass(frozen=True)
class Prompt:
    """A request that is in order."""

    text: str
    ratio: str
    size: str
    wants_image: bool
    inputs: tuple[bytes, ...] = ()


def prompt_of(body: Json, model: Model) -> Prompt:
    """Read the body of generateContent; CPU-bound where it decodes pictures."""
    request = _known(body, _REQUEST, "")
    contents = request.get("contents")
    if not contents:
        raise invalid_argument(
            "* GenerateContentRequest.contents: contents is not specified\n", field="contents"
        )
    if not isinstance(contents, list):
        raise invalid_argument("Invalid value at 'contents': a list is wanted", field="contents")
    texts: list[str] = []
    inputs: list[bytes] = []
    for index, content in enumerate(contents):
        _read_content(content, f"contents[{index}]", texts, inputs)
    if len(inputs) > model.inputs_max:
        raise invalid_argument(
            f"Too many input images: {len(inputs)}; {model.id} takes at most {model.inputs_max}"
        )
    wants_image, ratio, size = _config(request.get("generationConfig") or {}, model)
    return Prompt("\n".join(texts), ratio, size, wants_image, tuple(inputs))


def _read_content(content: Any, where: str, texts: list[str], inputs: list[bytes]) -> None:
    fields = _known(content, _CONTENT, where)
    if fields.get("role", "user") not in ("user", "model"):
        raise invalid_argument("Please use a valid role: user, model.")
    parts = fields.get("parts")
    if not parts or not isinstance(parts, list):
        raise invalid_argument(
            f"* GenerateContentRequest.{where}.parts: contents.parts must not be empty.\n",
            field=f"{where}.parts",
        )
    for index, part in enumerate(parts):
        at = f"{where}.parts[{index}]"
        known = _known(part, _PART, at)
        if "text" in known:
            texts.append(str(known["text"]))
        elif "inlineData" in known:
            inputs.append(_picture(known["inlineData"], f"{at}.inline_data"))
        else:
            raise invalid_argument(
                f"* GenerateContentRequest.{at}.data: required oneof field 'data' must have one "
                "initialized field\n"
            )


def _picture(blob: Any, where: str) -> bytes:
    fields = _known(blob, _BLOB, where)
    mime_type = fields.get("mimeType")
    if mime_type not in IMAGE_TYPES:
        raise invalid_argument(f"Unsupported MIME type: {mime_type}")
    text = str(fields.get("data") or "")
    try:
        data = base64.b64decode(text.replace("-", "+").replace("_", "/"), validate=True)
    except binascii.Error:
        raise invalid_argument(
            f"Invalid value at '{where}.data' (TYPE_BYTES), "
            f'Base64 decoding failed for "{text[:20]}"',
            field=f"{where}.data",
        ) from None
    if mime_type in _DRAWABLE and not _is_picture(data):
        raise invalid_argument(
            "Unable to process input image. Please retry or report in "
            "https://developers.generativeai.google/guide/troubleshooting"
        )
    return data


def _is_picture(data: bytes) -> bool:
    try:
        with Image.open(io.BytesIO(data)) as picture:
            picture.verify()
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError, ValueError, SyntaxError):
        return False
    return True


def _config(config: Any, model: Model) -> tuple[bool, str, str]:
    """(whether a picture is wanted, ratio, size)"""
    where = "generation_config"
    fields = _known(config, _CONFIG, where)
    modalities = fields.get("responseModalities") or ["TEXT", "IMAGE"]
    unknown = [name for name in modalities if str(name).upper() not in _MODALITIES]
    if unknown:
        raise invalid_argument(
            f"Invalid value at '{where}.response_modalities' (type.googleapis.com/"
            f'google.ai.generativelanguage.v1beta.GenerationConfig.Modality), "{unknown[0]}"',
            field=f"{where}.response_modalities",
        )
    image = _known(fields.get("imageConfig") or {}, _IMAGE_CONFIG, f"{where}.image_config")
    ratio = image.get("aspectRatio") or "1:1"
    if ratio not in ASPECT_RATIOS:
        raise _bad_choice("aspect_ratio", ratio, ASPECT_RATIOS)
    size = image.get("imageSize") or "1K"
    if size not in SIZE_FACTORS or size not in model.sizes:
        raise _bad_choice("image_size", size, model.sizes)
    return "IMAGE" in [str(name).upper() for name in modalities], ratio, size


def _bad_choice(name: str, given: Any, allowed: tuple[str, ...]) -> Exception:
    where = f"generation_config.image_config.{name}"
    choices = ", ".join(f"'{choice}'" for choice in allowed)
    return invalid_argument(
        f"* GenerateContentRequest.{where}: {name} must be one of {choices}; got '{given}'\n",
        field=where,
    )


def _known(value: Any, names: tuple[str, ...], where: str) -> Json:
    """The object with its names in camelCase; raises for a name that is not in `names`."""
    if not isinstance(value, dict):
        raise invalid_argument(
            f"Invalid value at '{where}': an object is wanted" if where else "Invalid JSON payload",
            field=where,
        )
    fields: Json = {}
    for name, item in value.items():
        camel = _camel(name)
        if camel not in names:
            raise unknown_name(name, where)
        if item is not None:
            fields[camel] = item
    return fields


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)

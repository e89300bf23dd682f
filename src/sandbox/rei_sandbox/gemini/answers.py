"""What generateContent answers with HTTP 200: a picture, a block, or words only.

Words in the prompt choose the outcome, so that anyone can see each of them in the chat:
"forbidden" or "запретн…" blocks the prompt, "unsafe" or "опасн…" the picture, "text only" gives
no picture, "think" puts the model's thoughts before it.
"""

from __future__ import annotations

import base64
import uuid
from typing import Any, Final

from rei_sandbox.gemini.models import Model
from rei_sandbox.gemini.requests import Prompt

TOKENS_BY_SIZE: Final = {"1K": 1120, "2K": 1120, "4K": 2000}
TOKENS_PER_INPUT: Final = 258

Json = dict[str, Any]


def blocked_by(prompt: Prompt) -> str:
    """`forbidden`, `unsafe`, `text`, or "" for a picture."""
    text = prompt.text.casefold()
    if "forbidden" in text or "запретн" in text:
        return "forbidden"
    if "unsafe" in text or "опасн" in text:
        return "unsafe"
    if "text only" in text or not prompt.wants_image:
        return "text"
    return ""


def forbidden(prompt: Prompt, model: Model) -> Json:
    """The prompt is blocked: no candidates at all."""
    feedback = {"blockReason": "PROHIBITED_CONTENT"}
    return {"promptFeedback": feedback, **_rest(prompt, model, answer_tokens=0)}


def unsafe(prompt: Prompt, model: Model) -> Json:
    """The picture is withheld: a candidate without content."""
    candidate = {
        "finishReason": "IMAGE_SAFETY",
        "index": 0,
        "finishMessage": "Unable to show the generated image. The image was filtered out because "
        "it violated Google's Generative AI Prohibited Use policy.",
    }
    return {"candidates": [candidate], **_rest(prompt, model, answer_tokens=0)}


def no_image(prompt: Prompt, model: Model) -> Json:
    """The model made no picture and says so in the finish reason."""
    candidate = {"finishReason": "NO_IMAGE", "index": 0}
    return {"candidates": [candidate], **_rest(prompt, model, answer_tokens=0)}


def text_only(prompt: Prompt, model: Model) -> Json:
    """The model only talks, with STOP."""
    part = {"text": "I can describe that picture, but I did not draw it."}
    return _stop([part], prompt, model, answer_tokens=12)


def picture(prompt: Prompt, model: Model, png: bytes) -> Json:
    """A PNG, with a sentence before it and, if asked for, thoughts."""
    image = {"inlineData": {"mimeType": "image/png", "data": base64.b64encode(png).decode()}}
    parts: list[Json] = [{"text": "Here is your picture."}, image]
    if "think" in prompt.text.casefold():
        # Thoughts may hold pictures too: whoever takes the first picture takes a draft.
        parts = [
            {"text": "Considering the composition…", "thought": True},
            {**image, "thought": True},
            *parts,
        ]
        parts[-1] = {**parts[-1], "thoughtSignature": base64.b64encode(b"sandbox").decode()}
    return _stop(parts, prompt, model, answer_tokens=TOKENS_BY_SIZE[prompt.size])


def _stop(parts: list[Json], prompt: Prompt, model: Model, *, answer_tokens: int) -> Json:
    content = {"role": "model", "parts": parts}
    candidate = {"content": content, "finishReason": "STOP", "index": 0}
    return {"candidates": [candidate], **_rest(prompt, model, answer_tokens=answer_tokens)}


def _rest(prompt: Prompt, model: Model, *, answer_tokens: int) -> Json:
    text_tokens = max(1, len(prompt.text) // 4)
    asked = text_tokens + TOKENS_PER_INPUT * len(prompt.inputs)
    details = [{"modality": "TEXT", "tokenCount": text_tokens}]
    if prompt.inputs:
        image_tokens = TOKENS_PER_INPUT * len(prompt.inputs)
        details.append({"modality": "IMAGE", "tokenCount": image_tokens})
    usage: Json = {
        "promptTokenCount": asked,
        "totalTokenCount": asked + answer_tokens,
        "promptTokensDetails": details,
    }
    if answer_tokens:
        usage["candidatesTokenCount"] = answer_tokens
    return {
        "usageMetadata": usage,
        "modelVersion": model.id,
        "responseId": base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("="),
    }

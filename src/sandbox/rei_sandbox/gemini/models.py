"""The models for sale here, what each can do, and how large its pictures are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

ASPECT_RATIOS: Final = (
    "1:1",
    "2:3",
    "3:2",
    "3:4",
    "4:3",
    "4:5",
    "5:4",
    "9:16",
    "16:9",
    "21:9",
)
SIZE_FACTORS: Final = {"1K": 1, "2K": 2, "4K": 4}

# (width, height) of 1K pictures; 2K and 4K are two and four times that.
_PIXELS_2_5: Final = {
    "1:1": (1024, 1024),
    "2:3": (832, 1248),
    "3:2": (1248, 832),
    "3:4": (864, 1184),
    "4:3": (1184, 864),
    "4:5": (896, 1152),
    "5:4": (1152, 896),
    "9:16": (768, 1344),
    "16:9": (1344, 768),
    "21:9": (1536, 672),
}
_PIXELS_3: Final = {
    "1:1": (1024, 1024),
    "2:3": (848, 1264),
    "3:2": (1264, 848),
    "3:4": (896, 1200),
    "4:3": (1200, 896),
    "4:5": (928, 1152),
    "5:4": (1152, 928),
    "9:16": (768, 1376),
    "16:9": (1376, 768),
    "21:9": (1584, 672),
}


@dataclass(frozen=True)
class Model:
    """One image model."""

    id: str
    display_name: str
    sizes: tuple[str, ...]
    inputs_max: int
    slow: bool
    pixels: dict[str, tuple[int, int]]

    def dimensions(self, *, ratio: str, size: str) -> tuple[int, int]:
        """Width and height in pixels."""
        width, height = self.pixels[ratio]
        return width * SIZE_FACTORS[size], height * SIZE_FACTORS[size]

    def as_json(self) -> dict[str, Any]:
        """What `GET /models/{model}` shows."""
        return {
            "name": f"models/{self.id}",
            "version": "001",
            "displayName": self.display_name,
            "description": f"{self.display_name}, as the sandbox draws it",
            "inputTokenLimit": 65536,
            "outputTokenLimit": 32768,
            "supportedGenerationMethods": ["generateContent", "countTokens"],
            "temperature": 1,
            "topP": 0.95,
            "topK": 64,
        }


MODELS: Final[dict[str, Model]] = {
    model.id: model
    for model in (
        Model("gemini-2.5-flash-image", "Nano Banana", ("1K",), 3, False, _PIXELS_2_5),
        Model("gemini-3.1-flash-image", "Nano Banana 2", ("1K", "2K", "4K"), 14, False, _PIXELS_3),
        Model("gemini-3-pro-image", "Nano Banana Pro", ("1K", "2K", "4K"), 14, True, _PIXELS_3),
    )
}

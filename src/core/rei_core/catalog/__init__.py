"""What is for sale: models with their prices, ratios, sizes and limits. Configuration, not code."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from rei_core.errors import ConfigurationError

BUNDLED = Path(__file__).with_name("catalog.toml")


class ImageModel(BaseModel):
    """A model that can be ordered. Prices in kopecks by image size."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.\-]{0,63}$")]
    title: Annotated[str, Field(min_length=1, max_length=40)]
    note: dict[str, str] = {}
    input_images_max: Annotated[int, Field(ge=0, le=14)]
    aspect_ratios: Annotated[tuple[str, ...], Field(min_length=1)]
    prices_kopecks: Annotated[dict[str, Annotated[int, Field(gt=0)]], Field(min_length=1)]

    @property
    def image_sizes(self) -> tuple[str, ...]:
        return tuple(self.prices_kopecks)


class Catalog(BaseModel):
    """All models for sale, the default first."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    models: Annotated[tuple[ImageModel, ...], Field(min_length=1, max_length=20)]

    @model_validator(mode="after")
    def _ids_are_unique(self) -> Self:
        ids = [model.id for model in self.models]
        if len(set(ids)) != len(ids):
            raise ValueError("two models have the same id")
        return self

    @property
    def default(self) -> ImageModel:
        return self.models[0]

    def find(self, model_id: str | None) -> ImageModel | None:
        """The model, or None if it is not for sale (any more)."""
        return next((model for model in self.models if model.id == model_id), None)

    def fit(self, *, model: str | None, aspect_ratio: str, image_size: str) -> tuple[str, str, str]:
        """The nearest choice that is for sale: (model id, aspect ratio, image size)."""
        chosen = self.find(model) or self.default
        ratio = aspect_ratio if aspect_ratio in chosen.aspect_ratios else chosen.aspect_ratios[0]
        size = image_size if image_size in chosen.prices_kopecks else chosen.image_sizes[0]
        return chosen.id, ratio, size

    def price_kopecks(self, *, model: str, aspect_ratio: str, image_size: str) -> int | None:
        """The price of one picture; None if this is not for sale."""
        chosen = self.find(model)
        if chosen is None or aspect_ratio not in chosen.aspect_ratios:
            return None
        return chosen.prices_kopecks.get(image_size)


def load_catalog(path: Path | None = None) -> Catalog:
    """Read the catalogue, the bundled one by default; raises `ConfigurationError`."""
    file = path or BUNDLED
    try:
        return Catalog.model_validate(tomllib.loads(file.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, ValidationError) as error:
        raise ConfigurationError(
            "REI_CATALOG_FILE",
            f"{file} cannot be used: {_first_line(error)}",
            f"Start from a copy of {BUNDLED.name} that ships with Rei",
        ) from error


def _first_line(error: Exception) -> str:
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False)[0]
        return f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}"
    return str(error).splitlines()[0]

"""What Rei needs of an image provider, and nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class InputImage:
    """A picture that the customer sent along with the prompt."""

    mime_type: str
    data: bytes


@dataclass(frozen=True, slots=True)
class ImageRequest:
    """One picture to make. `inputs` is empty for text to image, else the pictures to edit."""

    model: str
    prompt: str
    aspect_ratio: str
    image_size: str
    inputs: tuple[InputImage, ...] = ()


@dataclass(frozen=True, slots=True)
class GeneratedImage:
    """The picture as the provider gave it, decoded once to be sure that it is one."""

    mime_type: str
    data: bytes
    width: int
    height: int
    provider_ref: str = ""


class ImageProvider(Protocol):
    """An image provider; every failure is an `ImageProviderError` with its class."""

    async def generate(self, request: ImageRequest) -> GeneratedImage:
        """Make one picture."""
        ...

    async def probe(self, model: str) -> None:
        """Ask for the model's description, which costs nothing; raise as `generate` would."""
        ...

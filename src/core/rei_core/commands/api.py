"""`rei api test`: one picture, straight from the provider, without a customer or money."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

import click

from rei_core.catalog import load_catalog
from rei_core.images.gemini import GeminiClient
from rei_core.images.port import GeneratedImage, ImageRequest
from rei_core.settings import GeminiSettings, load


@click.group()
def api() -> None:
    """The image provider, called directly."""


@api.command("test")
@click.argument("prompt")
@click.option("--model", help="Model id; the catalogue's first by default.")
@click.option("--ratio", default="1:1", show_default=True, help="Aspect ratio.")
@click.option("--size", default="1K", show_default=True, help="Image size.")
@click.option(
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("rei-test.png"),
    show_default=True,
    help="Where the picture goes.",
)
def test(prompt: str, model: str | None, ratio: str, size: str, output: Path) -> None:
    """Make one picture of PROMPT and save it.

    Uses GEMINI_API_KEY and GEMINI_BASE_URL. The provider bills this call to you.

    Example:  rei api test "a cat on the Moon" --ratio 16:9 --output cat.png
    """
    if not output.absolute().parent.is_dir():  # said before anything is billed
        raise click.BadParameter(f"{output.parent} is no folder", param_hint="--output")
    catalog_file = os.environ.get("REI_CATALOG_FILE")
    catalog = load_catalog(Path(catalog_file) if catalog_file else None)
    request = ImageRequest(
        model=model or catalog.default.id, prompt=prompt, aspect_ratio=ratio, image_size=size
    )
    started = time.monotonic()
    click.echo(f"Asking {request.model} for a picture…")
    image = asyncio.run(_generate(load(GeminiSettings), request))
    output.write_bytes(image.data)
    click.echo(
        f"Saved {output}: {image.width}×{image.height} {image.mime_type}, {len(image.data)} bytes, "
        f"{time.monotonic() - started:.1f} s."
    )


async def _generate(settings: GeminiSettings, request: ImageRequest) -> GeneratedImage:
    client = GeminiClient(
        api_key=settings.gemini_api_key.get_secret_value(),
        base_url=settings.gemini_base_url,
        timeout_seconds=settings.gemini_timeout_seconds,
    )
    try:
        return await client.generate(request)
    finally:
        await client.aclose()

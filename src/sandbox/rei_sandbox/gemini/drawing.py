"""Pictures that show what was asked: prompt, model, ratio, size, and the pictures put in.

The same request always gives the same picture. Drawing takes up to a second or two at 4K and
belongs off the event loop. The font is in the package (DejaVu Sans Bold, cut down to Latin and
Cyrillic), because Pillow's own has no Cyrillic and a system's fonts may not be there; characters
that it lacks, such as emoji, are left out of the drawing.
"""

from __future__ import annotations

import colorsys
import hashlib
import io
import random
from functools import lru_cache
from importlib.resources import files
from typing import Final

from PIL import Image, ImageChops, ImageDraw, ImageFilter, ImageFont, UnidentifiedImageError

FONT_FILE: Final = "fonts/DejaVuSans-Bold-subset.ttf"
PROMPT_LENGTH_MAX: Final = 400
LINES_MAX: Final = 7
THUMBNAILS_MAX: Final = 6
INPUT_PIXELS_MAX: Final = 50_000_000
_EXTRA: Final = "–—‘’‚“”„•…₽№ёЁ→"

Font = ImageFont.FreeTypeFont
Colour = tuple[int, int, int]


def draw(
    *, prompt: str, caption: str, width: int, height: int, inputs: tuple[bytes, ...] = ()
) -> bytes:
    """A PNG of `width` by `height` pixels. CPU-bound: call it in a thread."""
    seed = hashlib.sha256(f"{prompt}|{caption}".encode()).digest()
    rng = random.Random(seed)
    picture = _background(rng, width, height)
    unit = min(width, height) // 32
    _blobs(picture, rng)
    _thumbnails(picture, inputs, unit)
    _chip(picture, caption, unit)
    _card(picture, prompt, unit)
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", compress_level=1)  # the highest levels take seconds at 4K
    return buffer.getvalue()


@lru_cache(maxsize=32)
def font(size: int) -> Font:
    """The bundled font, which has Latin and Cyrillic."""
    data = (files(__package__) / FONT_FILE).read_bytes()
    return ImageFont.truetype(io.BytesIO(data), size)


def drawable(text: str) -> str:
    """`text` without what the font cannot show, on one line."""
    kept = "".join(one if _has_glyph(one) else " " for one in text)
    return " ".join(kept.split())


def wrap(text: str, chosen: Font, width: int) -> list[str]:
    """Break `text` into lines of at most `width` pixels; too long a word is cut."""
    lines: list[str] = []
    line = ""
    for word in text.split():
        longer = f"{line} {word}".strip()
        if chosen.getlength(longer) <= width:
            line = longer
            continue
        if line:
            lines.append(line)
        line = word
        while chosen.getlength(line) > width:
            keep = max(1, int(len(line) * width / chosen.getlength(line)) - 1)
            lines.append(line[:keep])
            line = line[keep:]
    if line:
        lines.append(line)
    if len(lines) > LINES_MAX:
        lines = [*lines[: LINES_MAX - 1], lines[LINES_MAX - 1][:-1] + "…"]
    return lines


def _has_glyph(character: str) -> bool:
    code = ord(character)
    latin = 0x20 <= code <= 0x7E or 0xA0 <= code <= 0xFF
    return latin or 0x400 <= code <= 0x45F or character in _EXTRA


def _colour(hue: float, saturation: float, value: float) -> Colour:
    red, green, blue = colorsys.hsv_to_rgb(hue % 1, saturation, value)
    return int(red * 255), int(green * 255), int(blue * 255)


def _background(rng: random.Random, width: int, height: int) -> Image.Image:
    """A soft gradient between nine colours that go well together."""
    hue = rng.random()
    mesh = Image.new("RGB", (3, 3))
    for spot in range(9):
        shift = rng.uniform(-0.12, 0.18)
        colour = _colour(hue + shift, rng.uniform(0.45, 0.8), rng.uniform(0.55, 0.95))
        mesh.putpixel((spot % 3, spot // 3), colour)
    return mesh.resize((width, height), Image.Resampling.BICUBIC)


def _blobs(picture: Image.Image, rng: random.Random) -> None:
    """Soft translucent discs, drawn small and scaled up: cheap at any size."""
    scale = 256 / max(picture.size)
    mask = Image.new("L", (int(picture.width * scale), int(picture.height * scale)))
    for _ in range(7):
        x, y, radius = rng.randrange(mask.width), rng.randrange(mask.height), rng.randint(14, 70)
        disc = Image.new("L", mask.size)
        box = (x - radius, y - radius, x + radius, y + radius)
        ImageDraw.Draw(disc).ellipse(box, fill=rng.randint(16, 46))
        mask = ImageChops.add(mask, disc)
    soft = mask.filter(ImageFilter.GaussianBlur(3))
    picture.paste((255, 255, 255), (0, 0), soft.resize(picture.size, Image.Resampling.BICUBIC))


def _panel(picture: Image.Image, box: tuple[int, int, int, int], radius: int, alpha: int) -> None:
    mask = Image.new("L", (box[2] - box[0], box[3] - box[1]))
    pen = ImageDraw.Draw(mask)
    pen.rounded_rectangle((0, 0, mask.width - 1, mask.height - 1), radius, fill=alpha)
    picture.paste((16, 18, 28), (box[0], box[1]), mask)


def _chip(picture: Image.Image, caption: str, unit: int) -> None:
    """Model, ratio and size in the corner; shrunk to fit a narrow picture."""
    size = int(unit * 1.1)
    room = picture.width - 5 * unit
    while size > 8 and font(size).getlength(caption) > room:
        size -= 1
    chosen = font(size)
    length = int(chosen.getlength(caption))
    box = (unit, unit, 2 * unit + length + unit, unit + 2 * unit + unit // 2)
    _panel(picture, box, unit, 150)
    pen = ImageDraw.Draw(picture)
    pen.text((2 * unit, (box[1] + box[3]) // 2), caption, font=chosen, fill="white", anchor="lm")


def _card(picture: Image.Image, prompt: str, unit: int) -> None:
    """The prompt, at the bottom."""
    text = drawable(prompt)
    if len(text) > PROMPT_LENGTH_MAX:
        text = text[:PROMPT_LENGTH_MAX].rstrip() + "…"
    chosen = font(int(unit * (1.9 if len(text) < 90 else 1.35)))
    lines = wrap(text, chosen, picture.width - 6 * unit)
    if not lines:
        return
    step = int(chosen.size * 1.35)
    height = step * len(lines) + 2 * unit
    top = picture.height - unit - height
    _panel(picture, (unit, top, picture.width - unit, picture.height - unit), unit, 165)
    pen = ImageDraw.Draw(picture)
    for index, line in enumerate(lines):
        middle = top + unit + step * index + step // 2
        pen.text((3 * unit, middle), line, font=chosen, fill="white", anchor="lm")


def _thumbnails(picture: Image.Image, inputs: tuple[bytes, ...], unit: int) -> None:
    """The pictures put in, framed, in a row in the middle."""
    shown = [one for one in map(_opened, inputs[:THUMBNAILS_MAX]) if one is not None]
    if not shown:
        return
    gap = unit
    room = (picture.width - 2 * unit - gap * (len(shown) - 1)) // len(shown)
    side = min(room, int(picture.height * 0.42))
    left = (picture.width - side * len(shown) - gap * (len(shown) - 1)) // 2
    top = 5 * unit
    for index, one in enumerate(shown):
        one.thumbnail((side - unit // 2, side - unit // 2))
        x = left + index * (side + gap) + (side - one.width) // 2
        frame = unit // 4
        box = (x - frame, top - frame, x + one.width + frame, top + one.height + frame)
        ImageDraw.Draw(picture).rectangle(box, fill="white")
        picture.paste(one, (x, top))


def _opened(data: bytes) -> Image.Image | None:
    try:
        with Image.open(io.BytesIO(data)) as source:
            if source.width * source.height > INPUT_PIXELS_MAX:
                return None
            source.draft("RGB", (1024, 1024))
            return source.convert("RGB")
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError, ValueError):
        return None

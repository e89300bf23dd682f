"""The sandbox's pictures."""

from __future__ import annotations

import io

import pytest
from PIL import Image

from rei_sandbox.gemini.drawing import INPUT_PIXELS_MAX, draw, drawable, font, wrap
from rei_sandbox.gemini.models import ASPECT_RATIOS, MODELS


def opened(png: bytes) -> Image.Image:
    return Image.open(io.BytesIO(png))


def test_the_font_has_cyrillic_letters_of_their_own() -> None:
    letters = "АБВГДЕЁЖЗИЙКЛМНОПРСТУФХЦЧШЩЪЫЬЭЮЯабвгдеёжзийклмнопрстуфхцчшщъыьэюя₽№"
    chosen = font(40)
    shapes = {bytes(chosen.getmask(letter)) for letter in letters}
    missing = bytes(chosen.getmask("\ue000"))
    assert missing not in shapes
    assert len(shapes) > 60


def test_what_the_font_lacks_is_left_out() -> None:
    assert drawable("Кот 🚀 на\nЛуне 猫") == "Кот на Луне"


def test_lines_fit_and_their_number_is_bounded() -> None:
    chosen = font(30)
    lines = wrap("слово " * 50 + "б" * 500, chosen, 400)
    assert len(lines) == 7
    assert lines[-1].endswith("…")
    assert all(chosen.getlength(line) <= 420 for line in lines)
    assert "".join(wrap("б" * 60, chosen, 400)) == "б" * 60


@pytest.mark.parametrize("prompt", ["", "🚀", "a cat", "очень длинный запрос " * 100])
def test_any_prompt_gives_a_png(prompt: str) -> None:
    picture = opened(draw(prompt=prompt, caption="model · 1:1", width=512, height=256))
    assert (picture.format, picture.size) == ("PNG", (512, 256))


def test_a_picture_depends_on_nothing_but_what_was_asked() -> None:
    first, second, third = (
        draw(prompt=prompt, caption="m", width=128, height=128) for prompt in ("a", "a", "b")
    )
    assert first == second != third


def test_inputs_that_are_no_pictures_or_too_large_are_not_shown() -> None:
    huge = io.BytesIO()
    Image.new("1", (10_000, INPUT_PIXELS_MAX // 10_000 + 1)).save(huge, "PNG")
    plain = draw(prompt="a", caption="m", width=256, height=256)
    assert draw(prompt="a", caption="m", width=256, height=256, inputs=(b"junk",)) == plain
    assert draw(prompt="a", caption="m", width=256, height=256, inputs=(huge.getvalue(),)) == plain


@pytest.mark.parametrize("model", MODELS.values(), ids=lambda model: model.id)
@pytest.mark.parametrize("ratio", ASPECT_RATIOS)
def test_every_ratio_and_size_has_about_the_pixels_its_name_says(model: object, ratio: str) -> None:
    from rei_sandbox.gemini.models import Model

    assert isinstance(model, Model)
    across, down = map(int, ratio.split(":"))
    for size, megapixels in (("1K", 1.05), ("2K", 4.2), ("4K", 16.8)):
        if size not in model.sizes:
            continue
        width, height = model.dimensions(ratio=ratio, size=size)
        assert width / height == pytest.approx(across / down, rel=0.03)
        assert width * height / 1e6 == pytest.approx(megapixels, rel=0.06)
        assert width + height <= 10_000  # Telegram's sendPhoto refuses more

"""What is for sale comes from a file, and a file that makes no sense is refused by name."""

from __future__ import annotations

from pathlib import Path

import pytest

from rei_core.catalog import BUNDLED, load_catalog
from rei_core.errors import ConfigurationError

ONE = """
[[models]]
id = "m1"
title = "One"
input_images_max = 0
aspect_ratios = ["1:1", "16:9"]
prices_kopecks = { "1K" = 1500, "2K" = 2500 }
"""
TWO = ONE + ONE.replace("m1", "m2").replace("1500", "4000")


def catalog_file(folder: Path, text: str) -> Path:
    file = folder / "catalog.toml"
    file.write_text(text, encoding="utf-8")
    return file


def test_the_bundled_catalogue_is_for_sale() -> None:
    catalog = load_catalog()
    assert catalog.default is catalog.models[0]
    for model in catalog.models:
        for ratio in model.aspect_ratios:
            for size in model.image_sizes:
                price = catalog.price_kopecks(model=model.id, aspect_ratio=ratio, image_size=size)
                assert price is not None
                assert price > 0


def test_prices_by_model_ratio_and_size(tmp_path: Path) -> None:
    catalog = load_catalog(catalog_file(tmp_path, TWO))

    def price(model: str, ratio: str, size: str) -> int | None:
        return catalog.price_kopecks(model=model, aspect_ratio=ratio, image_size=size)

    assert (price("m1", "1:1", "1K"), price("m1", "16:9", "2K")) == (1500, 2500)
    assert price("m2", "1:1", "1K") == 4000
    assert price("m3", "1:1", "1K") is None
    assert price("m1", "9:16", "1K") is None
    assert price("m1", "1:1", "4K") is None


def test_a_choice_that_is_not_for_sale_any_more_becomes_the_nearest(tmp_path: Path) -> None:
    catalog = load_catalog(catalog_file(tmp_path, TWO))
    assert catalog.fit(model="m2", aspect_ratio="16:9", image_size="2K") == ("m2", "16:9", "2K")
    assert catalog.fit(model="gone", aspect_ratio="9:9", image_size="8K") == ("m1", "1:1", "1K")
    assert catalog.fit(model=None, aspect_ratio="16:9", image_size="8K") == ("m1", "16:9", "1K")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "models"),
        ("models = []", "models"),
        ("[[models]", "catalog.toml"),
        (ONE.replace('id = "m1"', 'id = "M 1"'), "models.0.id"),
        (ONE.replace('title = "One"', ""), "models.0.title"),
        (ONE.replace("1500", "0"), "models.0.prices_kopecks"),
        (ONE.replace("1500", "15.5"), "models.0.prices_kopecks"),
        (ONE.replace("1500", "-1"), "models.0.prices_kopecks"),
        (ONE.replace('{ "1K" = 1500, "2K" = 2500 }', "{}"), "models.0.prices_kopecks"),
        (ONE.replace('["1:1", "16:9"]', "[]"), "models.0.aspect_ratios"),
        (ONE.replace("= 0", "= 15"), "models.0.input_images_max"),
        (ONE + "discount = 5\n", "models.0.discount"),
        (ONE + ONE, "the same id"),
    ],
)
def test_a_catalogue_that_makes_no_sense(tmp_path: Path, text: str, problem: str) -> None:
    with pytest.raises(ConfigurationError) as wrong:
        load_catalog(catalog_file(tmp_path, text))
    assert wrong.value.setting == "REI_CATALOG_FILE"
    assert problem in wrong.value.problem
    assert BUNDLED.name in wrong.value.remedy


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="REI_CATALOG_FILE"):
        load_catalog(tmp_path / "none.toml")
    binary = tmp_path / "binary.toml"
    binary.write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigurationError, match="REI_CATALOG_FILE"):
        load_catalog(binary)

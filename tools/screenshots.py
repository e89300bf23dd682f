"""Take the pictures of docs/images anew: a short conversation on the whole of Rei, in Chromium.

Run by `make screenshots`. Nothing in them is arranged: what they show was said, paid and drawn.
"""

from __future__ import annotations

import io
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

from rei_sandbox.stage import Stage

IMAGES: Final = Path(__file__).parents[1] / "docs" / "images"
ARGUMENTS: Final = ("--no-sandbox", "--disable-gpu", "--no-first-run", "--force-color-profile=srgb")
DESKTOP: Final = {"width": 1440, "height": 900}
PHONE: Final = {"width": 390, "height": 844}
MS_MAX: Final = 60_000


def main() -> None:
    """Play and take."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        sys.exit("screenshots: no Chromium found; `tools/setup browser` installs one")
    IMAGES.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(prefix="rei-", ignore_cleanup_errors=True) as folder,
        Stage(Path(folder), durable=False).running() as stage,
        sync_playwright() as playwright,
    ):
        browser = playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS)
        try:
            with _opened(browser, stage.sandbox_url, viewport=PHONE, scale=2) as page:
                _top_up(page)
            with _opened(browser, stage.sandbox_url, viewport=DESKTOP, scale=1) as page:
                _desktop(page)
            with _opened(browser, stage.sandbox_url, viewport=PHONE, scale=2, dark=True) as page:
                _phone(page)
        finally:
            browser.close()


def _top_up(page: Page) -> None:
    page.get_by_test_id("start").click()
    _press(page, "Пополнить")
    _press(page, "500 ₽")
    _press(page, "Оплатить 500 ₽")
    frame = page.frame_locator('[data-testid="pay-iframe"]')
    frame.get_by_test_id("pay").wait_for()
    _take(page, "pay-page")
    frame.get_by_test_id("pay").click()
    frame.get_by_test_id("back").click()
    _said(page, "Зачислено 500")


def _desktop(page: Page) -> None:
    _order(page, "кот в скафандре, акварель", pictures=1)
    page.get_by_test_id("person-1002").click()
    page.get_by_test_id("start").click()
    _said(page, "Hello")
    page.get_by_test_id("person-1001").click()
    page.get_by_test_id("preset").filter(has_text="Notification lost").click()
    page.get_by_test_id("waiting-fault").wait_for()
    page.get_by_test_id("toast").wait_for(state="detached")
    _take(page, "chat-desktop")


def _phone(page: Page) -> None:
    page.get_by_test_id("open-tools").click()
    page.get_by_test_id("preset").filter(has_text="Gemini 503").click()
    page.get_by_test_id("waiting-fault").nth(1).wait_for()
    page.keyboard.press("Escape")
    _order(page, "рыжий лис читает газету", pictures=2)
    _take(page, "chat-phone")
    page.get_by_test_id("open-tools").click()
    page.get_by_test_id("taken-fault").first.wait_for()
    page.get_by_test_id("toast").wait_for(state="detached")
    _take(page, "faults")


def _order(page: Page, prompt: str, *, pictures: int) -> None:
    """Order a picture and wait until it is the `pictures`th of the chat, its original too."""
    page.get_by_test_id("text").fill(prompt)
    page.get_by_test_id("text").press("Enter")
    _press(page, "Нарисовать за")
    for kind in ("photo", "document"):
        page.get_by_test_id("log").get_by_test_id(kind).nth(pictures - 1).wait_for()
    _said(page, "Готово")


def _press(page: Page, words: str) -> None:
    page.locator(".buttons .inline").filter(has_text=words).last.click()


def _said(page: Page, words: str) -> None:
    page.get_by_test_id("message").filter(has_text=words).last.wait_for()


def _take(page: Page, name: str) -> None:
    """Save what the window shows."""
    page.wait_for_function("[...document.images].every((image) => !image.src || image.complete)")
    page.mouse.move(0, 0)
    page.evaluate("document.getAnimations().forEach((each) => each.finish())")
    shot = Image.open(io.BytesIO(page.screenshot(animations="disabled"))).convert("RGB")
    path = IMAGES / f"{name}.png"
    shot.save(path, optimize=True)
    sys.stdout.write(f"{path.relative_to(IMAGES.parents[1])}  {path.stat().st_size // 1024} KB\n")


@contextmanager
def _opened(
    browser: Browser, url: str, *, viewport: Any, scale: float, dark: bool = False
) -> Iterator[Page]:
    """The chat page, ready."""
    context = browser.new_context(
        viewport=viewport,
        device_scale_factor=scale,
        color_scheme="dark" if dark else "light",
        reduced_motion="reduce",
    )
    context.set_default_timeout(MS_MAX)
    page = context.new_page()
    page.goto(f"{url}/")
    page.locator('#app[data-ready="true"]').wait_for(state="attached")
    yield page
    context.close()


if __name__ == "__main__":
    main()

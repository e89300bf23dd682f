"""The chat page as its tests see it: by what a person sees and presses."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from playwright.async_api import ConsoleMessage, Locator, Page, Request, expect

OWN, THEIRS = "true", "false"


@dataclass
class Troubles:
    """What must not happen on any page: errors, refusals of the content policy, foreign requests."""

    base: str
    seen: list[str] = field(default_factory=list)

    def watch(self, page: Page) -> None:
        """Note them from now on."""
        page.on("pageerror", lambda error: self.seen.append(f"error: {error}"))
        page.on("console", self._console)
        page.on("request", self._request)

    def _console(self, message: ConsoleMessage) -> None:
        # A refused request is logged by the browser itself; the page handles it.
        if message.type in {"error", "warning"} and "Failed to load resource" not in message.text:
            self.seen.append(f"console: {message.text}")

    def _request(self, request: Request) -> None:
        if not request.url.startswith((self.base, "blob:", "data:,")):
            self.seen.append(f"foreign request: {request.url}")


class Screen:
    """One open page."""

    def __init__(self, page: Page) -> None:
        self.page = page

    def at(self, test_id: str) -> Locator:
        """The node with this data-testid."""
        return self.page.get_by_test_id(test_id)

    @property
    def messages(self) -> Locator:
        """All blocks of the chat."""
        return self.at("message")

    @property
    def theirs(self) -> Locator:
        """The bot's."""
        return self.page.locator(f'[data-testid="message"][data-own="{THEIRS}"]')

    @property
    def own(self) -> Locator:
        """The user's."""
        return self.page.locator(f'[data-testid="message"][data-own="{OWN}"]')

    def message(self, words: str) -> Locator:
        """The newest block of the bot's that holds `words`."""
        return self.theirs.filter(has_text=words).last

    def button(self, words: str) -> Locator:
        """The newest inline button or link that holds `words`."""
        return self.page.locator(".buttons .inline").filter(has_text=words).last

    async def ready(self) -> None:
        """The chat is loaded and live."""
        await expect(
            self.page.locator('#app[data-ready="true"][data-live="true"]')
        ).to_be_attached()

    async def start(self) -> None:
        """Press Start, as in a chat that is new."""
        await self.at("start").click()
        await expect(self.at("composer")).to_be_visible()

    async def say(self, text: str) -> None:
        """Write and send."""
        await self.at("text").fill(text)
        await self.at("text").press("Enter")

    async def reads(self, words: str, *, seconds_max: float = 10) -> Locator:
        """Wait until the bot has said `words`."""
        found = self.message(words)
        await expect(found).to_be_visible(timeout=seconds_max * 1000)
        return found

    async def press(self, words: str) -> None:
        """Press the newest inline button that holds `words`."""
        await self.button(words).click()

    async def show_people(self) -> None:
        """Open the drawer where there is one."""
        if await self.at("open-people").is_visible():
            await self.at("open-people").click()

    async def show_tools(self) -> None:
        """Open the drawer where there is one."""
        if await self.at("open-tools").is_visible():
            await self.at("open-tools").click()

    async def switch_to(self, user_id: int) -> None:
        """Open another person's chat."""
        await self.show_people()
        await self.at(f"person-{user_id}").click()
        await expect(self.page.locator(f'#app[data-user="{user_id}"]')).to_be_attached()

    async def add_person(self, name: str, *, language: str = "ru") -> int:
        """Add a person and open their chat; their id."""
        await self.show_people()
        before = await self.page.locator("#app").get_attribute("data-user")
        await self.at("add-person").click()
        await self.at("person-name").fill(name)
        await self.at("person-language").select_option(language)
        await self.at("person-save").click()
        await expect(self.page.locator(f'#app:not([data-user="{before}"])')).to_be_attached()
        return int(await self.page.locator("#app").get_attribute("data-user") or 0)

    async def pay(self, action: str) -> None:
        """Press `pay`, `decline` or `later` in the frame, then go back to the chat."""
        frame = self.page.frame_locator('[data-testid="pay-iframe"]')
        await frame.get_by_test_id(action).click()
        await frame.get_by_test_id("back").click()
        await expect(self.at("pay-frame")).to_be_hidden()

    async def overflow(self) -> int:
        """How many pixels the page is wider than its window."""
        width: Any = await self.page.evaluate(
            "Math.max(document.documentElement.scrollWidth, document.body.scrollWidth) - innerWidth"
        )
        return int(width)

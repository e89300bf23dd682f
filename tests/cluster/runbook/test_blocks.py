"""Every block of the runbook that a person pastes is run, and does what it says.

Of one language: test_pages holds that the other has the same blocks.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from rei_sandbox.prometheus import Programs, Prometheus

from .pages import Block, Page, pages
from .town import Town

pytestmark = pytest.mark.asyncio(loop_scope="module")

PAGE_SECONDS_MAX = 300
TOO_SOON = "restart has already been triggered within the past second"
PAGES = [
    page for page in pages("en") if any(block.info.startswith("bash") for block in page.blocks)
]


@pytest.mark.timeout(PAGE_SECONDS_MAX, func_only=True)
@pytest.mark.parametrize("page", PAGES, ids=str)
async def test_the_blocks_of_a_page_can_be_pasted(town: Town, page: Page) -> None:
    for block in page.blocks:
        what = (block.info, block.text)
        if not block.info.startswith("bash") or what in town.pasted:
            continue  # many pages begin with the same look at the pods
        status, said = await town.paste(block)
        if TOO_SOON in said:  # two pages restart the same Deployment: people take longer than this
            await asyncio.sleep(1)
            status, said = await town.paste(block)
        assert status == 0, f"{page.path}:{block.line}\n{block.text}\n{said}"
        town.pasted.add(what)


async def test_a_block_that_names_what_is_not_there_fails(town: Town) -> None:
    """The test above can fail: of what needs a pod, too."""
    for info, text in (
        ("bash", "kubectl -n rei get userban nobody"),
        ("bash pod", "kubectl -n rei logs deploy/rei-nothing"),
        ("bash pod", "kubectl -n rei logs deploy/rei-bot --no-such-option"),
        ("bash pod", "kubectl -n rei exec deploy/rei-bot -- rei no-such-word"),
        ("bash pod", "helm -n rei upgrade rei helm/rei --reuse-values --set bot.mode=nonsense"),
    ):
        status, said = await town.paste(Block(info, text, line=1))
        assert status != 0, f"{text}\n{said}"


async def test_the_queries_of_all_pages_are_answered(
    town: Town, prometheus_programs: Programs, tmp_path: Path
) -> None:
    """By a real Prometheus that scrapes the town's operator."""
    targets = [town.operator.url.removeprefix("http://")]
    server = Prometheus(tmp_path, prometheus_programs, targets=targets, labels={"namespace": "rei"})
    try:
        await asyncio.to_thread(server.start)
        for page in pages("en"):
            for block in page.blocks:
                if block.info == "promql":
                    await server.ask(block.text)
    finally:
        server.stop()

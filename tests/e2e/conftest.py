"""What the tests of this folder stand on: images from the Dockerfile.

All of it needs root and the system's packages of `tools/setup images`. Not to be had: a skip that says
why, a failure under CI=true. Images are built once for a machine.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest

from rei_sandbox.cluster.errors import NoCluster
from rei_sandbox.cluster.images import PARTS, Images


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The time limit is the tests' alone: what they stand on may have to be built first."""
    here = Path(__file__).parent
    for item in items:
        if item.path.is_relative_to(here):
            item.add_marker(pytest.mark.e2e)
            item.add_marker(pytest.mark.timeout(600, func_only=True))


@pytest.fixture(scope="session")
def say(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Show a line at once: a build that takes minutes must not look like a hanging test."""
    capture = request.config.pluginmanager.getplugin("capturemanager")

    def shown(line: str) -> None:
        with capture.global_and_fixture_disabled() if capture else contextlib.nullcontext():
            sys.stderr.write(f"e2e: {line}\n")
            sys.stderr.flush()

    return shown


@pytest.fixture(scope="session")
def images(say: Callable[[str], None]) -> Images:
    """All images of this checkout, built."""
    try:
        built = Images(say=say)
    except NoCluster as error:
        not_here(error)
    built.build(*PARTS)
    return built


def not_here(error: NoCluster) -> NoReturn:
    """Skip where something is missing; but never in CI."""
    if os.environ.get("CI") == "true":
        pytest.fail(str(error))
    pytest.skip(str(error))

"""The chart as helm renders it, with every set of values that tools/chart.py knows."""

from __future__ import annotations

import copy
import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from rei_sandbox.cluster.errors import NoCluster
from rei_sandbox.cluster.helm import Helm
from rei_sandbox.cluster.programs import obtain_helm
from rei_sandbox.prometheus import UNPACKED

Json = dict[str, Any]
Render = Callable[..., list[Json]]
ROOT = Path(__file__).parents[2]
PROFILES = ("minimal", "production", "everything")


def tool() -> ModuleType:
    """tools/chart.py, which is no module of anything."""
    spec = importlib.util.spec_from_file_location("tools_chart", ROOT / "tools" / "chart.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """helm may have to be built first, which has a limit of its own."""
    here = Path(__file__).parent
    for item in items:
        if item.path.is_relative_to(here):
            item.add_marker(pytest.mark.timeout(func_only=True))


@pytest.fixture(scope="session")
def helm(tmp_path_factory: pytest.TempPathFactory) -> Helm:
    """The pinned helm. Not to be had: a skip that says why, a failure under CI=true."""
    try:
        program = obtain_helm(say=_say)
    except NoCluster as error:
        if os.environ.get("CI") == "true":
            pytest.fail(str(error))
        pytest.skip(str(error))
    return Helm(program, tmp_path_factory.mktemp("helm"))


def _say(line: str) -> None:
    sys.stderr.write(f"chart: {line}\n")


@pytest.fixture(scope="session")
def render(helm: Helm) -> Render:
    """`render("minimal", "--set=…", upgrade=True)`: all objects."""
    values = tool().VALUES
    known: dict[tuple[object, ...], list[Json]] = {}

    def rendered(profile: str, *options: str, upgrade: bool = False) -> list[Json]:
        key = (profile, options, upgrade)
        if key not in known:
            known[key] = helm.render(*values[profile], *options, upgrade=upgrade)
        return copy.deepcopy(known[key])

    return rendered


@pytest.fixture(params=PROFILES)
def profile(request: pytest.FixtureRequest) -> str:
    """Each set of values in turn."""
    name: str = request.param
    return name


@pytest.fixture
def amtool() -> Callable[..., str]:
    """What Alertmanager's own tool says. Not to be had: a skip that says why, a failure under CI=true."""
    found = shutil.which("amtool") or shutil.which("amtool", path=UNPACKED)
    if found is None:
        why = "no Alertmanager here: `tools/setup prometheus` gets one"
        if os.environ.get("CI") == "true":
            pytest.fail(why)
        pytest.skip(why)

    def run(*arguments: str) -> str:
        done = subprocess.run(
            [found, "--no-version-check", *arguments], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run

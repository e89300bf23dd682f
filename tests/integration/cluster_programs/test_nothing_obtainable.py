"""Where no cluster is to be had, the tests that need one say why: skipped here, failed in CI."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from rei_core.errors import ConfigurationError
from rei_sandbox.cluster import shared

ROOT = Path(__file__).parents[3]
ONE_TEST = "tests/cluster/test_api_server.py::test_the_api_server_is_ready_and_stands_on_etcd"
FOREIGN = ("KUBEBUILDER_ASSETS", "REI_TEST_KUBECONFIG", "PYTEST_XDIST_WORKER", "PYTEST_ADDOPTS")


@pytest.mark.parametrize(("ci", "outcome"), [("", "1 skipped"), ("true", "1 error")])
def test_what_needs_a_cluster_is_skipped_and_in_ci_fails(
    tmp_path: Path, ci: str, outcome: str
) -> None:
    go = shutil.which("go")
    environment = {name: text for name, text in os.environ.items() if name not in FOREIGN}
    environment |= {
        "PATH": f"{Path(go).parent}:/usr/bin:/bin" if go else "/usr/bin:/bin",
        # Nothing is built yet, no module is here and none can be fetched.
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "GOMODCACHE": str(tmp_path / "modules"),
        "GOPROXY": "off",
        "CI": ci,
    }
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:xdist"]
    done = subprocess.run(
        [*command, f"--basetemp={tmp_path / 'pytest'}", ONE_TEST],
        check=False, cwd=ROOT, env=environment, capture_output=True, text=True,
    )  # fmt: skip
    assert outcome in done.stdout
    assert "was not built" in done.stdout
    assert "GOPROXY=off" in done.stdout, "the reason is what go said"
    assert (done.returncode == 0) is (ci != "true")


def test_a_given_kubeconfig_that_is_not_there_is_no_reason_to_skip(tmp_path: Path) -> None:
    environment = {shared.GIVEN: str(tmp_path / "nowhere"), "PATH": os.environ["PATH"]}
    with (
        pytest.raises(ConfigurationError, match="REI_TEST_KUBECONFIG"),
        shared.cluster(tmp_path, environment, say=print),
    ):
        pass

"""One drill for real, the quickest: the person on call hears of it, customers can buy again."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from rei_sandbox import alertmanager
from rei_sandbox.alertmanager import NoAlertmanager
from rei_sandbox.cluster.kubeconfig import Cluster
from rei_sandbox.cluster.shared import GIVEN
from rei_sandbox.drill.drills import DRILLS
from rei_sandbox.drill.run import run


@pytest.fixture
def alertmanager_program() -> Path:
    """Alertmanager. Not to be had: a skip that says why, a failure under CI=true."""
    try:
        return alertmanager.obtain()
    except NoAlertmanager as error:
        if os.environ.get("CI") == "true":
            pytest.fail(str(error))
        pytest.skip(str(error))


@pytest.mark.usefixtures("alertmanager_program", "prometheus_programs", "crds")
async def test_who_is_on_call_hears_of_a_changed_ledger_and_nothing_is_lost(
    cluster: Cluster, stage_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(GIVEN, str(cluster.kubeconfig))
    said: list[str] = []
    (drill,) = (one for one in DRILLS if one.name == "ledger-tampered")
    (result,) = await run([drill], folder=stage_folder, say=said.append)
    assert result.passed, result.account
    assert result.alert_seconds is not None
    assert any("ledger-tampered" in line for line in said)

"""Merge patches, the index, Events, failpoints, settings."""

from __future__ import annotations

import copy
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rei_core.errors import ConfigurationError
from rei_core.failpoints import EXIT_CODE, VARIABLE
from rei_core.maintenance.resources import LedgerAudit
from rei_core.settings import OperatorSettings, load
from rei_operator.actions import Event, merge_patch
from rei_operator.cluster import ClusterError, ObjectChanged, ObjectGone
from rei_operator.failpoints import FAILPOINTS, Failpoints
from rei_operator.index import Index
from rei_operator.reconciler import Key
from rei_operator.recorder import BURST, Recorder
from rei_operator.watch import settings as kopf_settings

values = st.recursive(
    st.integers() | st.text(max_size=3) | st.booleans(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner),
    max_leaves=8,
)
objects = st.dictionaries(st.text(max_size=2), values, max_size=4)


def patched(target: Any, patch: Any) -> Any:
    """RFC 7386, as it says."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = patched(result.get(name), value)
    return result


class TestMergePatch:
    @given(old=objects, new=objects)
    def test_it_turns_the_old_into_the_new(self, old: dict[str, Any], new: dict[str, Any]) -> None:
        assert patched(old, merge_patch(old, new)) == new

    @given(old=objects)
    def test_nothing_is_written_if_nothing_changes(self, old: dict[str, Any]) -> None:
        assert merge_patch(old, copy.deepcopy(old)) == {}

    def test_what_a_newer_operator_has_written_stays(self) -> None:
        patch = merge_patch({"ours": 1, "theirs": 2}, {}, owned={"ours"})
        assert patch == {"ours": None}


def raw(name: str = "a", *, uid: str = "u", version: int = 1, **metadata: Any) -> dict[str, Any]:
    known = {"name": name, "namespace": "rei", "uid": uid, "resourceVersion": str(version)}
    return {"kind": "LedgerAudit", "metadata": {**known, "generation": 1, **metadata}}


class TestIndex:
    key = Key("LedgerAudit", "rei", "a")

    def test_our_own_status_is_no_news(self) -> None:
        index = Index()
        assert index.put(raw())
        assert not index.put({**raw(version=2), "status": {"x": 1}})
        assert index.get(self.key) == {**raw(version=2), "status": {"x": 1}}

    @pytest.mark.parametrize(
        "change",
        [
            {"generation": 2},
            {"deletionTimestamp": "2026-11-24T00:00:00Z"},
            {"annotations": {"rei.bot/requested-at": "2026-11-24T00:00:00Z"}},
        ],
    )
    def test_what_a_person_changes_is_news(self, change: dict[str, Any]) -> None:
        index = Index()
        index.put(raw())
        assert index.put(raw(version=2, **change))

    def test_a_late_listing_does_not_bring_back_the_past(self) -> None:
        index = Index()
        index.put(raw(version=10, generation=2))
        assert not index.put(raw(version=9))
        found = index.get(self.key)
        assert found is not None
        assert found["metadata"]["generation"] == 2

    def test_the_end_of_an_older_one_of_its_name_takes_nothing_away(self) -> None:
        index = Index()
        index.put(raw(uid="new"))
        assert not index.drop(raw(uid="old"))
        assert index.get(self.key) is not None
        assert index.drop(raw(uid="new"))
        assert index.get(self.key) is None


class _Events:
    """An API server that takes Events and nothing else."""

    def __init__(self) -> None:
        self.known: dict[str, dict[str, Any]] = {}
        self.away = False

    async def create(self, manifest: dict[str, Any]) -> dict[str, Any]:
        if self.away:
            raise ClusterError("POST", "away")
        name = manifest["metadata"]["name"]
        if name in self.known:
            raise ObjectChanged("POST", "exists", http_status=409)
        self.known[name] = manifest
        return manifest

    async def get(self, kind: str, namespace: str, name: str) -> dict[str, Any]:
        assert (kind, namespace) == ("Event", "rei")
        return self.known[name]

    async def patch(
        self, kind: str, namespace: str, name: str, patch: Any, *, subresource: str = ""
    ) -> Any:
        assert (kind, namespace, subresource) == ("Event", "rei", "")
        if name not in self.known:
            raise ObjectGone("PATCH", "gone", http_status=404)
        self.known[name] |= patch
        return self.known[name]

    async def every(self, kind: str, namespace: str | None) -> list[dict[str, Any]]:
        raise NotImplementedError

    async def labelled(self, kind: str, namespace: str, selector: str) -> list[dict[str, Any]]:
        raise NotImplementedError

    async def delete(self, kind: str, namespace: str, name: str) -> None:
        raise NotImplementedError


class TestRecorder:
    resource = LedgerAudit.of(
        {
            "kind": "LedgerAudit",
            "metadata": {"name": "nightly", "namespace": "rei", "uid": "u-1"},
            "spec": {"periodSeconds": 60},
        }
    )

    def recorder(self, events: _Events, clock: list[float]) -> Recorder:
        return Recorder(events, instance="test", monotonic=lambda: clock[0])

    async def test_what_happened_once_is_told_once_by_any_process(self) -> None:
        events, event = _Events(), Event("RunFailed", "no", "Warning", once="12:00")
        for _ in range(2):
            recorder = self.recorder(events, [0.0])
            await recorder.record(self.resource, event)
            await recorder.record(self.resource, event)
        (known,) = events.known.values()
        assert known["count"] == 1
        assert known["involvedObject"]["uid"] == "u-1"
        assert known["type"] == "Warning"

    async def test_equal_ones_are_counted_together_over_a_restart_too(self) -> None:
        events, event = _Events(), Event("BadRequest", "no time")
        for _ in range(2):
            recorder = self.recorder(events, [0.0])
            await recorder.record(self.resource, event)
            await recorder.record(self.resource, event)
        (known,) = events.known.values()
        assert known["count"] == 4

    async def test_one_that_the_api_server_has_forgotten_is_told_anew(self) -> None:
        events, event = _Events(), Event("BadRequest", "no time")
        recorder = self.recorder(events, [0.0])
        await recorder.record(self.resource, event)
        events.known.clear()
        await recorder.record(self.resource, event)
        assert len(events.known) == 1

    async def test_a_resource_in_trouble_has_a_budget_that_comes_back(self) -> None:
        events, clock = _Events(), [0.0]
        recorder = self.recorder(events, clock)
        for number in range(3 * BURST):
            await recorder.record(self.resource, Event("Odd", f"number {number}"))
        assert len(events.known) == BURST
        clock[0] = 121.0
        for number in range(10):
            await recorder.record(self.resource, Event("Odd", f"later {number}"))
        assert len(events.known) == BURST + 2

    async def test_an_api_server_that_is_away_stops_nothing(self) -> None:
        events = _Events()
        events.away = True
        await self.recorder(events, [0.0]).record(self.resource, Event("Odd", "x"))
        assert events.known == {}

    async def test_no_secret_gets_into_an_event(self) -> None:
        events = _Events()
        text = "cannot reach postgresql://rei:hunter2@db/rei"
        await self.recorder(events, [0.0]).record(self.resource, Event("Odd", text))
        assert "hunter2" not in str(events.known)


class TestFailpoints:
    def test_the_process_ends_there_and_then(self) -> None:
        code = (
            "from rei_operator.failpoints import Failpoints\n"
            "points = Failpoints.of_environment()\n"
            "points.reach('UserBan', 'event')\n"
            "print('alive', flush=True)\n"
            "points.reach('UserBan', 'status')\n"
            "print('not here', flush=True)\n"
        )
        ended = subprocess.run(
            [sys.executable, "-c", code],
            env={VARIABLE: "UserBan:status"},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert ended.returncode == EXIT_CODE
        assert ended.stdout == "alive\n"

    def test_a_name_that_does_not_exist_is_refused(self) -> None:
        with pytest.raises(ValueError, match="no failpoint"):
            Failpoints("UserBan:nowhere")

    def test_every_kind_has_some(self) -> None:
        assert len({name.partition(":")[0] for name in FAILPOINTS}) == 9


class TestSettings:
    @pytest.fixture(autouse=True)
    def environment(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("REI_DATABASE_URL", "postgresql://rei@db/rei")
        monkeypatch.setenv("YOOKASSA_SHOP_ID", "1")
        monkeypatch.setenv("YOOKASSA_SECRET_KEY", "test")

    def test_what_it_needs_is_enough(self) -> None:
        settings = load(OperatorSettings)
        assert settings.namespace is None
        assert settings.restore_stops == ("rei-bot", "rei-worker")

    @pytest.mark.parametrize(
        ("variable", "value"),
        [
            ("REI_RESTORE_STOPS", "rei-bot"),
            ("REI_NAMESPACE", "No_Name"),
            ("REI_JOB_MEMORY_LIMIT", "lots"),
            ("REI_RECONCILES_MAX", "0"),
        ],
    )
    def test_what_is_wrong_is_named(
        self, monkeypatch: pytest.MonkeyPatch, variable: str, value: str
    ) -> None:
        monkeypatch.setenv(variable, value)
        with pytest.raises(ConfigurationError) as error:
            load(OperatorSettings)
        assert error.value.setting == variable


@pytest.mark.parametrize("namespaced", [True, False])
def test_kopf_writes_nothing_into_objects_and_waits_for_nothing_for_ever(
    *, namespaced: bool
) -> None:
    chosen = kopf_settings(namespaced=namespaced)
    assert chosen.peering.standalone
    assert not chosen.posting.enabled
    assert chosen.scanning.disabled is namespaced
    assert chosen.networking.request_timeout == 30
    assert chosen.watching.server_timeout == 300

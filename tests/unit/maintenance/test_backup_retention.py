"""Which backups go: whatever there is, the last good ones stay."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rei_core.maintenance.backups.listing import StoredBackup
from rei_core.maintenance.backups.manifest import (
    Compression,
    DatabaseFacts,
    Encryption,
    Manifest,
    Verification,
)
from rei_core.maintenance.backups.retention import RetentionPolicy, doomed

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
SHA = "0" * 64
STATES = ("verified", "unknown", "failed", "unfinished", "unreadable")


def stored(name: str, state: str, age: timedelta) -> StoredBackup:
    at = NOW - age
    manifest = None
    if state not in {"unfinished", "unreadable"}:
        manifest = Manifest(
            id=name,
            created_at=at,
            server_version="18.6",
            tool_version="18",
            compression=Compression.ZSTD,
            encryption=Encryption.NONE,
            recipients=(),
            chunks=(),
            dump_bytes=0,
            dump_sha256=SHA,
            database=DatabaseFacts(
                schema_revision="0001", row_counts={}, account_kopecks={}, transfers_count=0
            ),
        )
    verification = {
        "verified": Verification(manifest_sha256=SHA, restore_at=NOW),
        "failed": Verification(manifest_sha256=SHA, failed_at=NOW, problems=("broken",)),
    }.get(state)
    return StoredBackup(
        id=name,
        manifest=manifest,
        verification=verification,
        problem="no manifest of ours" if state == "unreadable" else "",
        touched_at=None if manifest else at,
    )


@st.composite
def shelves(draw: st.DrawFn) -> list[StoredBackup]:
    """Any backups of any age; some of the same second, some from a clock that is ahead."""
    ages = st.timedeltas(min_value=timedelta(hours=-2), max_value=timedelta(days=60))
    whole_hours = ages.map(lambda age: timedelta(hours=age // timedelta(hours=1)))
    entries = draw(st.lists(st.tuples(st.sampled_from(STATES), whole_hours), max_size=20))
    return [stored(f"b{number}", state, age) for number, (state, age) in enumerate(entries)]


policies = st.builds(
    RetentionPolicy,
    max_age=st.integers(1, 40).map(lambda days: timedelta(days=days)),
    verified_min=st.integers(1, 5),
)


def verified(backups: list[StoredBackup]) -> list[StoredBackup]:
    return [one for one in backups if one.verification is not None and one.verification.verified]


def whole(backups: list[StoredBackup]) -> list[StoredBackup]:
    return [one for one in backups if one.manifest is not None]


@given(shelves(), policies)
def test_the_newest_verified_ones_stay(
    backups: list[StoredBackup], policy: RetentionPolicy
) -> None:
    gone = set(doomed(backups, now=NOW, policy=policy))
    newest = sorted(verified(backups), key=lambda one: one.manifest.created_at, reverse=True)  # type: ignore[union-attr]
    stays = [one for one in newest if one.id not in gone]
    assert len(stays) >= min(policy.verified_min, len(newest))
    oldest_kept = min((one.manifest.created_at for one in stays), default=NOW)  # type: ignore[union-attr]
    for one in newest:
        if one.id in gone:
            assert one.manifest is not None
            assert one.manifest.created_at <= oldest_kept, "an older one stayed in its place"


@given(shelves(), policies)
def test_so_many_whole_ones_stay_even_if_none_is_verified(
    backups: list[StoredBackup], policy: RetentionPolicy
) -> None:
    gone = set(doomed(backups, now=NOW, policy=policy))
    stays = [one for one in whole(backups) if one.id not in gone]
    assert len(stays) >= min(policy.verified_min, len(whole(backups)))


@given(shelves(), policies)
def test_nothing_goes_before_its_age_and_nothing_that_cannot_be_read(
    backups: list[StoredBackup], policy: RetentionPolicy
) -> None:
    by_id = {one.id: one for one in backups}
    for name in doomed(backups, now=NOW, policy=policy):
        one = by_id[name]
        assert not one.problem
        if one.manifest is not None:
            assert NOW - one.manifest.created_at > policy.max_age
        else:
            assert one.touched_at is not None
            assert NOW - one.touched_at > policy.unfinished_age


@given(shelves(), policies)
def test_everything_else_goes(backups: list[StoredBackup], policy: RetentionPolicy) -> None:
    gone = set(doomed(backups, now=NOW, policy=policy))
    stays_though_old = [
        one
        for one in whole(backups)
        if one.manifest is not None
        and NOW - one.manifest.created_at > policy.max_age
        and one.id not in gone
    ]
    assert len(stays_though_old) <= policy.verified_min
    for one in backups:
        if one.unfinished and one.touched_at and NOW - one.touched_at > policy.unfinished_age:
            assert one.id in gone


@given(shelves(), policies)
def test_after_it_there_is_nothing_more_to_do(
    backups: list[StoredBackup], policy: RetentionPolicy
) -> None:
    gone = doomed(backups, now=NOW, policy=policy)
    assert len(set(gone)) == len(gone)
    left = [one for one in backups if one.id not in gone]
    assert doomed(left, now=NOW, policy=policy) == ()


def test_a_month_of_failed_verifications_does_not_cost_the_last_good_ones() -> None:
    backups = [
        stored("good", "verified", timedelta(days=50)),
        *(stored(f"bad{day}", "failed", timedelta(days=day)) for day in range(40)),
    ]
    policy = RetentionPolicy(max_age=timedelta(days=30), verified_min=3)
    gone = doomed(backups, now=NOW, policy=policy)
    assert "good" not in gone
    assert gone == tuple(f"bad{day}" for day in range(39, 30, -1))


def test_a_policy_that_could_delete_everything_is_none() -> None:
    with pytest.raises(ValueError, match="may delete every backup"):
        RetentionPolicy(max_age=timedelta(days=1), verified_min=0)

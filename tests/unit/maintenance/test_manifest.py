"""Manifests from YAML: samples load, and errors name document, field, problem and nearest name."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rei_core.maintenance.resources import KINDS, BalanceAdjustment, LedgerAudit, UserBan
from rei_core.maintenance.resources.manifest import ManifestError, load, read

SAMPLES = Path(__file__).parents[3] / "k8s" / "samples"
AUDIT = """
apiVersion: rei.bot/v1alpha1
kind: LedgerAudit
metadata: {name: books}
spec: {periodSeconds: 60}
"""
FIVE_FIELDS = "write five fields: minute hour day-of-month month day-of-week, such as 0 3 * * *"
SECRET = "AGE-SECRET-KEY-1QQPQZRYP9X8GF2TVDW0S3JN54KHCE6MUA7LQQPQZRYP9X8GF2T"


def test_there_is_a_sample_of_every_kind() -> None:
    assert {path.stem for path in SAMPLES.iterdir()} == {kind.lower() for kind in KINDS}


@pytest.mark.parametrize("kind", KINDS)
def test_a_sample_loads_and_teaches(kind: str) -> None:
    text = (SAMPLES / f"{kind.lower()}.yaml").read_text(encoding="utf-8")
    (resource,) = load(text)
    assert resource.kind == kind
    assert text.startswith("# ")


def test_several_documents() -> None:
    ban = AUDIT.replace("LedgerAudit", "UserBan").replace(
        "periodSeconds: 60", "userID: 5, reason: spam, expiresAt: 2027-01-31T00:00:00Z"
    )
    audit, second = load(f"---\n{AUDIT}---\n# nothing here\n---\n{ban}")
    assert isinstance(audit, LedgerAudit)
    assert isinstance(second, UserBan)
    assert second.spec.expires_at is not None
    assert second.spec.expires_at.isoformat() == "2027-01-31T00:00:00+00:00"


def test_anchors_and_merges_are_read() -> None:
    text = AUDIT.replace("{periodSeconds: 60}", "&spec {periodSeconds: 60}")
    (audit,) = load(f"{text}status: {{<<: {{observedGeneration: 1}}, observedGeneration: 2}}")
    assert audit.status.observed_generation == 2


@pytest.mark.parametrize(
    ("edit", "error"),
    [
        (("kind: LedgerAudit", ""), "document 1, kind: is missing"),
        (
            ("LedgerAudit", "Ledgeraudit"),
            "document 1, kind: Ledgeraudit is not known here; did you mean LedgerAudit?",
        ),
        (
            ("v1alpha1", "v1"),
            "document 1, apiVersion: rei.bot/v1 is not known here; did you mean rei.bot/v1alpha1?",
        ),
        (("{name: books}", "{}"), "document 1, metadata.name: is missing"),
        (("spec: {periodSeconds: 60}", ""), "document 1, spec: is missing"),
        (
            ("periodSeconds: 60", "periodSeconds: 60, excerptmax: 5"),
            "document 1, spec.excerptmax: there is no such field; did you mean excerptMax?",
        ),
        (
            ("periodSeconds: 60", 'periodSeconds: "60"'),
            "document 1, spec.periodSeconds: must be a whole number, without quotes",
        ),
        (("60", "9"), "document 1, spec.periodSeconds: must be at least 10"),
        (("60", "60, excerptMax: 101"), "document 1, spec.excerptMax: must be at most 100"),
        (
            ("60", "60, suspend: 'yes'"),
            "document 1, spec.suspend: must be true or false, without quotes",
        ),
        (
            ("60", "60, suspend: 1, excerptMax: 0"),
            "document 1, spec.suspend: must be true or false, without quotes (and 1 more)",
        ),
        (
            ("periodSeconds: 60", 'schedule: "0 3 * * *", timeZone: Europe/Moskow'),
            "document 1, spec.timeZone: is no time zone of the IANA database; did you mean Europe/Moscow?",
        ),
        (
            ("periodSeconds: 60", 'schedule: "0 25 * * *"'),
            f"document 1, spec.schedule: is no cron expression (bad hour); {FIVE_FIELDS}",
        ),
        (
            ("spec: {", "spec: {periodSeconds: 60}\nspec: {"),
            "document 1: is no YAML, line 6, column 1: the key spec stands here for the second time",
        ),
        (
            ("60", "[60"),
            "document 1: is no YAML, line 5, column 26: expected ',' or ']', but got '}'",
        ),
        (("60", ".nan"), "document 1: holds a value that is no JSON, such as .nan"),
        (
            ("60", "!!python/name:os.system x"),
            "document 1: is no YAML, line 5, column 23: could not determine a constructor for the tag …",
        ),
        (
            ("{name: books}", "{1: books}"),
            "document 1: is no YAML, line 4, column 12: a key must be text",
        ),
    ],
)
def test_an_error_says_where_and_what(edit: tuple[str, str], error: str) -> None:
    text = AUDIT.replace(*edit)
    assert text != AUDIT
    with pytest.raises(ManifestError) as caught:
        load(text)
    assert str(caught.value) == error


def test_the_document_is_counted() -> None:
    with pytest.raises(ManifestError, match=r"^document 3, kind: is missing$") as caught:
        load(f"{AUDIT}---\n---\napiVersion: rei.bot/v1alpha1\n")
    assert caught.value.document == 3


@pytest.mark.parametrize("text", ["", "---", "---\n---\n", "# a comment"])
def test_a_manifest_of_nothing_is_an_error(text: str) -> None:
    with pytest.raises(ManifestError, match="there is no resource in it"):
        load(text)


@pytest.mark.parametrize("text", ["- 1", "text", "5", "[]"])
def test_what_is_no_resource_is_an_error(text: str) -> None:
    with pytest.raises(ManifestError, match="is no resource but a list or a single value"):
        load(text)


def test_there_are_bounds() -> None:
    with pytest.raises(ManifestError, match="more than 1000000 characters"):
        load("#" * 1_000_001)
    with pytest.raises(ManifestError, match="document 101: there are more than 100"):
        load(f"{AUDIT}---" * 101)
    with pytest.raises(ManifestError, match="nested too deeply"):
        load("a: " + "[" * 20_000)
    with pytest.raises(ManifestError, match="is no JSON"):
        load(f"a: {'9' * 5000}")


@pytest.mark.parametrize(
    "text",
    [
        f"{AUDIT}status: {SECRET}",
        f"{AUDIT}{SECRET}: 1",
        AUDIT.replace("books", SECRET),
        AUDIT.replace("LedgerAudit", SECRET),
        AUDIT.replace("60", f"'{SECRET}'"),
        AUDIT.replace("60", f"60, schedule: '{SECRET}'"),
        AUDIT.replace("periodSeconds: 60", f"schedule: '{SECRET} * * * *'"),
        AUDIT.replace("60", f"60, {SECRET}: 1"),
        AUDIT.replace("60", f"60, timeZone: {SECRET}"),
        AUDIT.replace("60", f"*{SECRET}"),
        AUDIT.replace("60", f"!{SECRET} 1"),
        AUDIT.replace("60", f"60, {SECRET}: 1, {SECRET}: 2"),
        AUDIT.replace("60", f"'{SECRET}"),
        AUDIT.replace("60", f"\t{SECRET}: '"),
    ],
)
def test_a_secret_in_the_wrong_place_is_not_repeated(text: str) -> None:
    with pytest.raises(ManifestError) as caught:
        load(text)
    for part in (SECRET, SECRET[:24]):
        assert part.lower() not in f"{caught.value!s} {caught.value!r}".lower()
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


@given(st.text(max_size=200))
def test_any_text_is_read_or_refused_by_name(text: str) -> None:
    with pytest.raises(ManifestError):
        load(text)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3)
    ),
    max_leaves=10,
)


@given(
    spec=st.dictionaries(
        st.sampled_from(["userID", "amountKopecks", "reason", "operationID"]), JSON
    )
)
def test_any_spec_is_read_or_refused_by_name(spec: dict[str, object]) -> None:
    document = {
        "apiVersion": "rei.bot/v1alpha1",
        "kind": "BalanceAdjustment",
        "metadata": {"name": "x"},
        "spec": spec,
    }
    try:
        resource = read(document)
    except ManifestError:
        return
    assert isinstance(resource, BalanceAdjustment)
    assert resource.spec.amount_kopecks == spec["amountKopecks"] != 0

"""The latest state of every object that the watches have shown, and what is news in it.

A cache and no truth: it may lag behind the API server, which refuses a status written by an old
state, and it is corrected by full listings.
"""

from __future__ import annotations

from typing import Any

from rei_core.maintenance.resources import REQUESTED_AT
from rei_operator.manifests import OWNER_KIND, OWNER_NAME
from rei_operator.reconciler import Key

Json = dict[str, Any]


def key_of(raw: Json) -> Key:
    """Who an object is."""
    metadata = raw["metadata"]
    return Key(raw["kind"], metadata["namespace"], metadata["name"])


def owner_of(raw: Json) -> Key | None:
    """The resource that an object of ours was made for."""
    metadata = raw["metadata"]
    labels = metadata.get("labels") or {}
    if OWNER_KIND not in labels or OWNER_NAME not in labels:
        return None
    return Key(labels[OWNER_KIND], metadata["namespace"], labels[OWNER_NAME])


class Index:
    """Objects by key."""

    def __init__(self) -> None:
        self._objects: dict[Key, Json] = {}

    def get(self, key: Key) -> Json | None:
        return self._objects.get(key)

    def put(self, raw: Json) -> bool:
        """Remember the object; whether there is anything new for its own reconcile in it.

        Our own writing of the status is not, or every write would call for another look. One that
        is older than what is known (a listing may come late) is left alone.
        """
        key = key_of(raw)
        before = self._objects.get(key)
        if before is not None and _is_older(raw, before):
            return False
        self._objects[key] = raw
        return before is None or _news(before) != _news(raw)

    def drop(self, raw: Json) -> bool:
        """The object is gone; False if there is a newer one of its name."""
        key = key_of(raw)
        known = self._objects.get(key)
        if known is not None and known["metadata"].get("uid") != raw["metadata"].get("uid"):
            return False
        self._objects.pop(key, None)
        return True

    def keys_of(self, kind: str) -> list[Key]:
        """All of a kind."""
        return [key for key in self._objects if key.kind == kind]


def _is_older(raw: Json, known: Json) -> bool:
    versions = [one["metadata"].get("resourceVersion") or "" for one in (raw, known)]
    same = raw["metadata"].get("uid") == known["metadata"].get("uid")
    # They are numbers that grow, of one object at least; where they are not, the later word counts.
    return same and all(one.isdigit() for one in versions) and int(versions[0]) < int(versions[1])


def _news(raw: Json) -> tuple[object, ...]:
    metadata = raw["metadata"]
    return (
        metadata.get("uid"),
        metadata.get("generation"),
        metadata.get("deletionTimestamp"),
        (metadata.get("annotations") or {}).get(REQUESTED_AT),
    )

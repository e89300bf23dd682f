"""From what the API server gives to the typed resource."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from rei_core.maintenance.resources import KINDS, Resource

Json = dict[str, Any]


def read(raw: Json) -> Resource:
    """The typed resource; raises pydantic's ValidationError for a spec that makes no sense.

    A status that cannot be read is as good as none: it is told again.
    """
    kind = KINDS[raw["kind"]]
    parts: Json = {"kind": raw["kind"], "metadata": raw["metadata"], "spec": raw.get("spec") or {}}
    try:
        return kind.of({**parts, "status": raw.get("status") or {}})
    except ValidationError:
        return kind.of(parts)

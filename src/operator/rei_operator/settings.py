"""The operator's settings, read once in `main`."""

from __future__ import annotations

import json
from typing import Annotated

from pydantic import BeforeValidator, Field
from pydantic_settings import NoDecode

from rei_core.settings import CoreSettings, YooKassaSettings

Name = Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$")]


def _from_json(value: object) -> object:
    # Not left to pydantic-settings, whose own error is none of a setting's and ends the program.
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError:
        raise ValueError("is no JSON list") from None


class OperatorSettings(CoreSettings, YooKassaSettings):
    """The operator's process."""

    namespace: Annotated[
        Name | None,
        Field(description="The namespace whose resources are served; all of them if unset"),
    ] = None
    operator_port: Annotated[
        int, Field(ge=0, le=65535, description="Health and metrics; 0: none")
    ] = 8082
    operator_host: Annotated[
        str, Field(description="Address that health and metrics listen on")
    ] = "0.0.0.0"  # noqa: S104 - the kubelet and Prometheus come from outside the pod
    reconciles_max: Annotated[
        int, Field(ge=1, le=100, description="Resources worked on at a time")
    ] = 8
    resync_seconds: Annotated[
        float,
        Field(ge=1, le=86_400, description="How often everything is listed and looked at anyway"),
    ] = 300
    queue_metrics_seconds: Annotated[
        float, Field(ge=0.1, le=600, description="How often the queue is counted for /metrics")
    ] = 5
    job_image: Annotated[
        str, Field(min_length=1, description="The image of Jobs for backups: the operator's own")
    ] = "rei-operator"
    job_image_pull_policy: Annotated[
        str,
        Field(pattern="^(Always|IfNotPresent|Never)$", description="When Jobs pull their image"),
    ] = "IfNotPresent"
    job_settings_secret: Annotated[
        Name,
        Field(description="The Secret, in the resource's namespace, that is the Jobs' environment"),
    ] = "rei"  # noqa: S105 - a Secret's name
    job_memory_limit: Annotated[
        str, Field(pattern=r"^[0-9]+(Mi|Gi)$", description="The memory limit of Jobs")
    ] = "512Mi"
    restore_stops: Annotated[
        tuple[Name, ...],
        NoDecode,
        BeforeValidator(_from_json),
        Field(
            max_length=10,
            description="Deployments that a restore in place stops, as a JSON list of names",
        ),
    ] = ("rei-bot", "rei-worker")

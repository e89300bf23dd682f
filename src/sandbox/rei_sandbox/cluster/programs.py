"""Which programs a control plane is made of: those of the machine if the set is whole, else built.

`KUBEBUILDER_ASSETS` names a folder of them, as Go's envtest has it; next comes the PATH; last, what
go_programs builds. Sets are never mixed: kube-controller-manager must not be newer than its
kube-apiserver.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rei_sandbox.cluster.builds import Say
from rei_sandbox.cluster.go_programs import ETCD, HELM, KUBERNETES, built

NAMES: Final = ("etcd", "kube-apiserver", "kube-controller-manager", "kubectl")


@dataclass(frozen=True, slots=True)
class Programs:
    """The programs of one control plane, and kubectl to talk to it."""

    etcd: Path
    kube_apiserver: Path
    kube_controller_manager: Path
    kubectl: Path


def obtain(environment: Mapping[str, str], *, say: Say) -> Programs:
    """The first whole set of programs; building one takes minutes. Raises `NoCluster`."""
    found = _whole_set(environment, say=say)
    if found is None:
        found = built(ETCD, ["etcd"], say=say)
        found |= built(KUBERNETES, [name for name in NAMES if name != "etcd"], say=say)
    return Programs(
        etcd=found["etcd"],
        kube_apiserver=found["kube-apiserver"],
        kube_controller_manager=found["kube-controller-manager"],
        kubectl=found["kubectl"],
    )


def obtain_kubectl(environment: Mapping[str, str], *, say: Say) -> Path:
    """kubectl alone, for a cluster that is there already; raises `NoCluster`."""
    for folders in _places(environment):
        if program := shutil.which("kubectl", path=folders):
            return Path(program)
    return built(KUBERNETES, ["kubectl"], say=say)["kubectl"]


def obtain_helm(*, say: Say) -> Path:
    """helm, always the pinned one: what a chart renders to must not depend on the machine."""
    return built(HELM, ["helm"], say=say)["helm"]


def _whole_set(environment: Mapping[str, str], *, say: Say) -> dict[str, Path] | None:
    for folders in _places(environment):
        found = {name: shutil.which(name, path=folders) for name in NAMES}
        paths = {name: Path(path).absolute() for name, path in found.items() if path}
        if len(paths) == len(NAMES):
            return paths
        if folders == environment.get("KUBEBUILDER_ASSETS"):
            missing = ", ".join(name for name in NAMES if name not in paths)
            say(f"KUBEBUILDER_ASSETS is not used: {missing} not in there")
    return None


def _places(environment: Mapping[str, str]) -> list[str]:
    named = (environment.get("KUBEBUILDER_ASSETS"), environment.get("PATH"))
    return [folders for folders in named if folders]

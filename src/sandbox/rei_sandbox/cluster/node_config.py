"""What the programs of a node are told, as pure functions of where things are.

Each choice that is not the usual one has its reason beside it; most come from running as root on a
machine, or in a container, that was not made for it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

PAUSE_IMAGE: Final = "localhost/rei-pause:dev"
POD_NETWORK: Final = "10.201.0.0/16"
CNI_PROGRAMS: Final = "/usr/lib/cni"  # where Debian's containernetworking-plugins are


@dataclass(frozen=True, slots=True)
class Layout:
    """The files of a node below its folder."""

    folder: Path

    @property
    def containerd_socket(self) -> Path:
        return self.folder / "containerd.sock"

    @property
    def cni(self) -> Path:
        return self.folder / "cni"

    @property
    def pod_logs(self) -> Path:
        return self.folder / "pod-logs"

    @property
    def volumes(self) -> Path:
        """What PersistentVolumes are made of."""
        return self.folder / "volumes"


def containerd(layout: Layout) -> str:
    """config.toml of containerd 1.6."""
    folder = layout.folder
    return f"""\
version = 2
root = "{folder}/containerd"
state = "{folder}/run"
disabled_plugins = [
  "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper",
  "io.containerd.snapshotter.v1.zfs",
]

[grpc]
  address = "{layout.containerd_socket}"

[plugins."io.containerd.internal.v1.opt"]
  path = "{folder}/opt"

[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE_IMAGE}"
  # Without CAP_SYS_RESOURCE nobody can make a process less likely to be killed.
  restrict_oom_score_adj = true
  # Else below /var/run, where a killed run's would be taken for somebody's.
  netns_mounts_under_state_dir = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{CNI_PROGRAMS}"
    conf_dir = "{layout.cni}"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
"""


def cni(layout: Layout) -> dict[str, Any]:
    """The pods' network: a wire from each pod to the node, which routes.

    Not a bridge: between two pods on one bridge answers of a Service would go past the node, and
    nobody would turn their address back, unless the machine has br_netfilter loaded.
    """
    return {
        "cniVersion": "0.4.0",
        "name": "rei",
        "plugins": [
            {
                "type": "ptp",
                "ipMasq": False,
                "ipam": {
                    "type": "host-local",
                    "dataDir": f"{layout.folder}/ipam",
                    "ranges": [[{"subnet": POD_NETWORK}]],
                    "routes": [{"dst": "0.0.0.0/0"}],
                },
            },
            {"type": "portmap", "capabilities": {"portMappings": True}},
        ],
    }


def kubelet(
    layout: Layout, *, address: str, authority: Path, certificate: Path, key: Path, cgroup: str
) -> dict[str, Any]:
    """KubeletConfiguration; `cgroup` has to be there already."""
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": address,
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(authority)},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": str(certificate),
        "tlsPrivateKeyFile": str(key),
        "containerRuntimeEndpoint": f"unix://{layout.containerd_socket}",
        "clusterDNS": [address],
        "clusterDomain": "cluster.local",
        "resolvConf": str(layout.folder / "resolv.conf"),
        "podLogsDir": str(layout.pod_logs),
        "volumePluginDir": str(layout.folder / "volume-plugins"),
        # Machines without systemd, and kernels that still have the first cgroups, serve as well.
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": cgroup,
        "failCgroupV1": False,
        "failSwapOn": False,
        "oomScoreAdj": 0,
        # Needs a file system with quotas; and nobody should be evicted since a laptop's disk is full.
        "localStorageCapacityIsolation": False,
        "evictionHard": {"memory.available": "50Mi"},
        "imageGCHighThresholdPercent": 100,
        "imageGCLowThresholdPercent": 99,
        "registryPullQPS": 0,
        "maxPods": 60,
    }


def kube_proxy(*, kubeconfig: Path, node: str) -> dict[str, Any]:
    """KubeProxyConfiguration."""
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "clientConnection": {"kubeconfig": str(kubeconfig)},
        "hostnameOverride": node,
        "mode": "iptables",
        "clusterCIDR": POD_NETWORK,
        # These would be written for the whole machine, or may not be written at all.
        "conntrack": {"maxPerCore": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
        "oomScoreAdj": 0,
    }


def corefile(*, address: str, kubeconfig: Path) -> str:
    """Names of Services and of pods of headless ones; there is no outside to ask about others."""
    return f"""\
. {{
    bind {address}
    errors
    kubernetes cluster.local in-addr.arpa {{
        kubeconfig {kubeconfig}
        ttl 5
    }}
}}
"""


def as_json(document: dict[str, Any]) -> str:
    """JSON is YAML too."""
    return json.dumps(document, indent=2)

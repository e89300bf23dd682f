"""A whole Kubernetes on this machine: a control plane, and one node that runs pods.

kubelet, kube-proxy, kube-scheduler and CoreDNS beside the control plane's three, and containerd with
runc from the system's packages, all in one network namespace: as root, on Linux, without Docker.

Guarantees. One at a time on a machine, held by a lock. What it made goes with it, and what a killed
one left goes at the next start: processes, mounts, cgroups, the namespace with all its addresses and
rules. Nothing else of the machine is changed.

Danger: its data is not synced and goes at its end, volumes of pods included.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from rei_sandbox.cluster import cgroups, kubeconfig, leftovers, node_config
from rei_sandbox.cluster.builds import Say
from rei_sandbox.cluster.certificates import ADMINS
from rei_sandbox.cluster.control_plane import ControlPlane, Place
from rei_sandbox.cluster.errors import KubectlRefused, NoCluster
from rei_sandbox.cluster.go_programs import COREDNS, ETCD, KUBERNETES, built
from rei_sandbox.cluster.images import Images
from rei_sandbox.cluster.kubeconfig import Cluster
from rei_sandbox.cluster.namespace import NetworkNamespace
from rei_sandbox.cluster.node_config import Layout, as_json
from rei_sandbox.cluster.programs import Programs
from rei_sandbox.cluster.servers import Server
from rei_sandbox.services import ServiceError

NAME: Final = "rei-node"
"""Of the node, its network namespace and its cgroups."""
FOLDER: Final = Path("/var/lib/rei-node")
LOCK: Final = Path("/run/lock/rei-node.lock")
NETWORK: Final = NetworkNamespace(NAME, inside="10.200.0.1", outside="10.200.0.2")
SERVICES: Final = "10.202.0.0/16"
READY_SECONDS_MAX: Final = 240.0
SYSTEM_PROGRAMS: Final = {
    "containerd": "containerd",
    "ctr": "containerd",
    "runc": "runc",
    "ip": "iproute2",
    "iptables": "iptables",
    "nsenter": "util-linux",
    "umount": "mount",
}
"""Program → Debian's package. `tools/setup node` installs all of them."""
LOOK_SECONDS: Final = 0.5
VOLUMES: Final = 40
"""Each is bound once: what a claim has left in it stays until the node goes."""


@dataclass(frozen=True, slots=True)
class NodePrograms:
    """What a node is made of, beside the control plane's."""

    control_plane: Programs
    kubelet: Path
    kube_proxy: Path
    kube_scheduler: Path
    coredns: Path
    containerd: Path
    ctr: Path


@contextlib.contextmanager
def run(programs: NodePrograms, images: Images, *, say: Say) -> Iterator[Node]:
    """A node for as long as the block lasts, with the built images that it is told to load.

    Raises `NoCluster` while another one runs on this machine, `ServiceError` if it does not start.
    """
    with _alone():
        _clear()  # what a killed one left
        try:
            NETWORK.create()
            cgroups.create(NAME)
            node = Node(programs, images, folder=FOLDER, say=say)
            try:
                node.start()
                yield node
            finally:
                node.stop()
        finally:
            _clear()


def obtain(*, say: Say) -> NodePrograms:
    """Build what is built, find what the system has; raises `NoCluster` with what is missing."""
    if sys.platform != "linux" or os.geteuid() != 0:
        raise NoCluster("a node needs Linux and root")
    if leftovers.of_another_kubelet():
        raise NoCluster("this machine is a node of a Kubernetes already, and there is room for one")
    found = {name: Path(path) for name in SYSTEM_PROGRAMS if (path := shutil.which(name))}
    missing = {package for name, package in SYSTEM_PROGRAMS.items() if name not in found}
    if not Path(node_config.CNI_PROGRAMS, "ptp").exists():
        missing.add("containernetworking-plugins")
    if missing:
        raise NoCluster(f"not installed: {', '.join(sorted(missing))}. Try: tools/setup node")
    # All of one build: kubelet and the controllers must not be newer than the API server.
    kubernetes = built(KUBERNETES, list(KUBERNETES.packages), say=say)
    return NodePrograms(
        control_plane=Programs(
            etcd=built(ETCD, ["etcd"], say=say)["etcd"],
            kube_apiserver=kubernetes["kube-apiserver"],
            kube_controller_manager=kubernetes["kube-controller-manager"],
            kubectl=kubernetes["kubectl"],
        ),
        kubelet=kubernetes["kubelet"],
        kube_proxy=kubernetes["kube-proxy"],
        kube_scheduler=kubernetes["kube-scheduler"],
        coredns=built(COREDNS, ["coredns"], say=say)["coredns"],
        containerd=found["containerd"],
        ctr=found["ctr"],
    )


class Node:
    """One cluster with one node; `run` makes it, and sees to its end."""

    def __init__(self, programs: NodePrograms, images: Images, *, folder: Path, say: Say) -> None:
        self.folder = folder
        self.layout = Layout(folder)
        self.ready_seconds: float | None = None
        place = Place(address=NETWORK.inside, enter=NETWORK.enter, services=SERVICES, nodes=True)
        self._plane = ControlPlane(folder, programs.control_plane, controllers=["*"], place=place)
        self._programs = programs
        self._images = images
        self._say = say
        self._containerd = Server("containerd", folder=folder)
        self._kubelet = Server("kubelet", folder=folder)
        self._kube_proxy = Server("kube-proxy", folder=folder)
        self._scheduler = Server("kube-scheduler", folder=folder)
        self._coredns = Server("coredns", folder=folder)

    @property
    def cluster(self) -> Cluster:
        """How to talk to it, as its admin."""
        return Cluster(
            kubeconfig=self._plane.kubeconfig,
            kubectl_program=self._programs.control_plane.kubectl,
            folder=self.folder,
            ours=True,
        )

    def start(self) -> None:
        """Start all of it and wait until pods can run; raises `ServiceError`."""
        started = time.monotonic()
        self._say("starting the control plane")
        self._plane.start()
        self._say("starting the node")
        until = time.monotonic() + READY_SECONDS_MAX
        self._write_files()
        self._start_containerd(until=until)
        self.load("pause")  # the image under pods
        for server, program, *options in self._other_servers():
            server.start([*NETWORK.enter, str(program), *options])
        self._kubelet_is_back(since="", until=until)
        objects = json.dumps({"apiVersion": "v1", "kind": "List", "items": list(self._storage())})
        asyncio.run(self.cluster.kubectl()("apply", "--server-side", "-f", "-", stdin=objects))
        self.ready_seconds = time.monotonic() - started

    def stop(self) -> None:
        """kill -9 for the servers; pods and what else is left is for `leftovers`."""
        for server in self._servers:
            server.kill()
        self._plane.stop()

    def load(self, *names: str) -> None:
        """Give built images to the node; raises `ServiceError`."""
        command = self._ctr_command("--namespace=k8s.io", "images", "import", "-")
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        ) as ctr:
            assert ctr.stdin is not None
            with contextlib.suppress(BrokenPipeError):  # what it says is the reason
                self._images.export(*names, into=ctr.stdin)
            try:
                said, _ = ctr.communicate(timeout=READY_SECONDS_MAX)
            except subprocess.TimeoutExpired:
                ctr.kill()
                raise ServiceError("containerd", "took no images in time", "") from None
        if ctr.returncode != 0:
            raise ServiceError("containerd", "ctr images import failed", said.decode().strip())

    def restart(self) -> None:
        """Stop kubelet and containerd as a crash would, and start them again; pods go on meanwhile."""
        until = time.monotonic() + READY_SECONDS_MAX
        self._kubelet.kill()
        self._containerd.kill()
        last_sign = self._sign_of_life()
        self._start_containerd(until=until)
        self._start_kubelet()
        self._kubelet_is_back(since=last_sign, until=until)

    def ended(self) -> Server | None:
        """A server that has ended by itself, if there is one."""
        dead = (server for server in self._servers if server.pid is None)
        return self._plane.ended() or next(dead, None)

    @property
    def _servers(self) -> tuple[Server, ...]:
        # Who starts something new is the first to go.
        return self._kubelet, self._containerd, self._kube_proxy, self._scheduler, self._coredns

    def _start_containerd(self, *, until: float) -> None:
        config = self.folder / "containerd.toml"
        self._containerd.start(
            [*NETWORK.enter, str(self._programs.containerd), f"--config={config}"]
        )
        self._containerd.wait_ready(self._containerd_answers, until=until)

    def _start_kubelet(self) -> None:
        server, program, *options = next(
            line for line in self._other_servers() if line[0] is self._kubelet
        )
        server.start([*NETWORK.enter, str(program), *options])

    def _kubelet_is_back(self, *, since: str, until: float) -> None:
        """Wait for a sign of its life other than the last one: the API server calls a node that is gone
        ready for a while. Raises `ServiceError`."""
        while self._sign_of_life() == since or not self._is_ready():
            if time.monotonic() > until:
                raise self._kubelet.failed("did not become ready in time")
            if self._kubelet.pid is None:
                # containerd answers before its CRI does, which kubelet does not wait for. What
                # watches over services on a machine starts it again, and so do we.
                self._start_kubelet()
            time.sleep(LOOK_SECONDS)

    def _sign_of_life(self) -> str:
        """When the kubelet has last renewed its lease; "" if it never has."""
        kubectl = self.cluster.kubectl(namespace="kube-node-lease")
        try:
            found = asyncio.run(
                kubectl("get", "lease", NAME, "--output=jsonpath={.spec.renewTime}")
            )
        except KubectlRefused:
            return ""
        return found

    def _other_servers(self) -> Iterator[tuple[Server, Path, *tuple[str, ...]]]:
        """Server, program and options of those that need nothing but the API server and containerd."""
        folder, programs = self.folder, self._programs
        yield (
            self._kubelet, programs.kubelet, f"--config={folder}/kubelet.json",
            f"--kubeconfig={folder}/kubelet.kubeconfig", f"--root-dir={folder}/kubelet",
            f"--cert-dir={folder}/kubelet-certificates", f"--hostname-override={NAME}",
            f"--node-ip={NETWORK.inside}",
        )  # fmt: skip
        yield self._kube_proxy, programs.kube_proxy, f"--config={folder}/kube-proxy.json"
        yield (
            self._scheduler, programs.kube_scheduler, "--leader-elect=false",
            f"--kubeconfig={folder}/kube-scheduler.kubeconfig", "--secure-port=0",
        )  # fmt: skip
        yield self._coredns, programs.coredns, "-conf", f"{folder}/Corefile"

    def _write_files(self) -> None:
        folder, layout, authority = self.folder, self.layout, self._plane.authority
        assert authority is not None, "the control plane has started"
        for made in (layout.cni, layout.pod_logs, folder / "kubelet", folder / "volume-plugins"):
            made.mkdir(parents=True, exist_ok=True)
        self._let_in("kubelet", f"system:node:{NAME}", group="system:nodes")
        self._let_in("kube-proxy", "system:kube-proxy", group="system:node-proxiers")
        self._let_in("kube-scheduler", "system:kube-scheduler", group="system:schedulers")
        self._let_in("coredns", "coredns", group=ADMINS)
        serving = authority.server("kubelet-server", NETWORK.inside)
        files = {
            "containerd.toml": node_config.containerd(layout),
            "cni/10-rei.conflist": as_json(node_config.cni(layout)),
            "kubelet.json": as_json(
                node_config.kubelet(
                    layout, address=NETWORK.inside, authority=authority.certificate,
                    certificate=serving.certificate, key=serving.key, cgroup=f"/{NAME}",
                )
            ),
            "kube-proxy.json": as_json(
                node_config.kube_proxy(kubeconfig=folder / "kube-proxy.kubeconfig", node=NAME)
            ),
            "Corefile": node_config.corefile(
                address=NETWORK.inside, kubeconfig=folder / "coredns.kubeconfig"
            ),
            "resolv.conf": f"nameserver {NETWORK.inside}\n",
        }  # fmt: skip
        for name, text in files.items():
            (folder / name).write_text(text, encoding="utf-8")

    def _let_in(self, server: str, user: str, *, group: str) -> None:
        """A kubeconfig for one of our own servers, with what RBAC gives to such a user."""
        authority = self._plane.authority
        assert authority is not None, "the control plane has started"
        document = kubeconfig.of_client(
            server=self._plane.url,
            authority=authority.certificate,
            client=authority.client(user, group=group),
        )
        kubeconfig.write(self.folder / f"{server}.kubeconfig", document)

    def _containerd_answers(self) -> bool:
        try:
            self._ctr("version")
        except ServiceError:
            return False
        return True

    def _is_ready(self) -> bool:
        try:
            found = asyncio.run(self.cluster.kubectl().json("get", "node", NAME))
        except KubectlRefused:
            return False
        conditions = {one["type"]: one["status"] for one in found["status"]["conditions"]}
        return conditions.get("Ready") == "True"

    def _ctr(self, *words: str) -> None:
        done = subprocess.run(
            self._ctr_command(*words),
            check=False, capture_output=True, text=True, timeout=READY_SECONDS_MAX,
        )  # fmt: skip
        if done.returncode != 0:
            raise ServiceError("containerd", f"ctr {words[0]} failed", done.stderr.strip())

    def _ctr_command(self, *words: str) -> list[str]:
        return [str(self._programs.ctr), f"--address={self.layout.containerd_socket}", *words]

    def _storage(self) -> Iterator[dict[str, Any]]:
        """A default StorageClass and a few volumes of it: folders of the node."""
        class_name = "local"
        yield {
            "apiVersion": "storage.k8s.io/v1",
            "kind": "StorageClass",
            "metadata": {
                "name": class_name,
                "annotations": {"storageclass.kubernetes.io/is-default-class": "true"},
            },
            "provisioner": "kubernetes.io/no-provisioner",
        }
        for number in range(VOLUMES):
            folder = self.layout.volumes / str(number)
            folder.mkdir(parents=True)
            folder.chmod(0o777)  # hostPath knows no fsGroup
            yield {
                "apiVersion": "v1",
                "kind": "PersistentVolume",
                "metadata": {"name": f"{class_name}-{number}"},
                "spec": {
                    "capacity": {"storage": "20Gi"},
                    "accessModes": ["ReadWriteOnce"],
                    "storageClassName": class_name,
                    "hostPath": {"path": str(folder)},
                },
            }


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    """Whoever dies with the lock sets it free."""
    LOCK.parent.mkdir(parents=True, exist_ok=True)
    with LOCK.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise NoCluster(
                "a node runs on this machine already, and there is room for one"
            ) from None
        yield


def clear() -> None:
    """Take away what a killed node left; safe where nothing is. Raises `NoCluster` while one runs."""
    with _alone():
        _clear()


def _clear() -> None:
    leftovers.remove_all(FOLDER, cgroup=NAME)
    NETWORK.remove()

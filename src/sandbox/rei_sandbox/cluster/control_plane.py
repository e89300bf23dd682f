"""etcd, kube-apiserver and kube-controller-manager as child processes on loopback.

RBAC decides, as in production; certificates and keys are made anew at each start. Of the
controllers only those run that tests need: what is owned goes with its owner, a namespace ends,
every namespace has its ServiceAccount, a Job makes its Pods and is judged by how they end, a
ReplicaSet makes and takes its own. There are no nodes: no Pod runs by itself.

Nothing outlives the end: all of it is killed, and etcd's data removed.

`Place` says where: on loopback without nodes, or in a network namespace that nodes are reached from
(see `rei_sandbox.cluster.node`), with all controllers and what aggregated APIs need.
"""

from __future__ import annotations

import ipaddress
import shutil
import ssl
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

import httpx

from rei_sandbox.cluster import kubeconfig
from rei_sandbox.cluster.certificates import ADMINS, Authority, Pair, signing_key
from rei_sandbox.cluster.programs import Programs
from rei_sandbox.cluster.servers import Server
from rei_sandbox.services import ServiceError, free_port

START_SECONDS_MAX: Final = 180.0
CALL_SECONDS_MAX: Final = 5.0
ATTEMPTS: Final = 3
PORT_TAKEN: Final = "address already in use"
CONTROLLERS: Final = (
    "namespace-controller",
    "garbage-collector-controller",
    "serviceaccount-controller",
    "job-controller",
    "replicaset-controller",
)
FRONT_PROXY: Final = "front-proxy"
ISSUER: Final = "https://kubernetes.default.svc"


@dataclass(frozen=True, slots=True)
class Place:
    """Where the servers of a control plane listen."""

    address: str = "127.0.0.1"
    enter: tuple[str, ...] = ()
    """The words before a command that start it in there; none: it is where we are."""
    services: str = "10.0.0.0/24"
    """The addresses that Services get; the first one is the API server's own."""
    nodes: bool = False
    """Whether kubelets and aggregated APIs have to be reached."""

    def port(self, usual: int) -> int:
        """The usual one where nobody else listens."""
        return usual if self.enter else free_port()

    @property
    def service_address(self) -> str:
        return str(next(ipaddress.ip_network(self.services).hosts()))


LOOPBACK: Final = Place()


class ControlPlane:
    """One cluster without nodes; `folder` is its own, and readable by nobody else."""

    def __init__(
        self,
        folder: Path,
        programs: Programs,
        *,
        controllers: Sequence[str] = CONTROLLERS,
        place: Place = LOOPBACK,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.folder = folder.resolve()
        self.place = place
        self.kubeconfig = self.folder / "kubeconfig"
        self.ready_seconds: float | None = None
        """How long the last start took."""
        self._programs = programs
        self._controllers = controllers
        self._etcd = Server("etcd", folder=self.folder)
        self._api = Server("kube-apiserver", folder=self.folder)
        self._controller_manager = Server("kube-controller-manager", folder=self.folder)
        self._api_command: list[str] = []
        self.url = ""
        self.authority: Authority | None = None
        """Of the last start, like the URL: who else is to be let in gets a certificate from it."""

    def start(self) -> Self:
        """Start all of it and wait until it is ready; raises `ServiceError`."""
        for attempt in range(1, ATTEMPTS + 1):
            try:
                self._start()
            except ServiceError as error:
                self.stop()
                # Between our look for a free port and the server's use of it, others look too.
                if PORT_TAKEN in str(error) and attempt < ATTEMPTS:
                    continue
                raise
            except BaseException:
                self.stop()
                raise
            break
        return self

    def stop(self) -> None:
        """kill -9, the last one first: there is nothing to end in good order for."""
        self.kubeconfig.unlink(missing_ok=True)  # first: nobody may find what is about to go
        for server in reversed(self._servers):
            server.kill()
        shutil.rmtree(self._data, ignore_errors=True)

    def kill_api_server(self) -> None:
        """kill -9 for the API server alone; everybody else stays, and finds nobody."""
        self._api.kill()

    def start_api_server(self) -> None:
        """Start it again at its old address, on what etcd has kept."""
        self._api.start(self._api_command)

    def ended(self) -> Server | None:
        """A server that has ended by itself, if there is one."""
        return next((server for server in self._servers if server.pid is None), None)

    def pids(self) -> dict[str, int | None]:
        """The servers' process ids."""
        return {server.name: server.pid for server in self._servers}

    @property
    def _servers(self) -> tuple[Server, ...]:
        return (self._etcd, self._api, self._controller_manager)

    @property
    def _data(self) -> Path:
        return self.folder / "etcd"

    def _start(self) -> None:
        started = time.monotonic()
        until = started + START_SECONDS_MAX
        for server in self._servers:
            server.kill_stale()
        shutil.rmtree(self._data, ignore_errors=True)
        place = self.place
        etcd_url = f"http://{place.address}:{place.port(2379)}"
        api_url = f"https://{place.address}:{place.port(6443)}"
        keys = self.folder / "keys"
        authority, signing = Authority(keys), signing_key(keys / "service-accounts.key")
        self.url, self.authority = api_url, authority
        admin = authority.client("rei-admin", group=ADMINS)
        ask = _Ask(api_url, authority=authority.certificate, client=admin)

        self._etcd.start([*place.enter, str(self._programs.etcd), *self._etcd_options(etcd_url)])
        self._etcd.wait_ready(lambda: _answers(f"{etcd_url}/health"), until=until)
        options = self._api_options(etcd_url, api_url, authority=authority, signing=signing)
        self._api_command = [*place.enter, str(self._programs.kube_apiserver), *options]
        self._api.start(self._api_command)
        self._api.wait_ready(lambda: ask("/readyz"), until=until)
        options = self._controller_options(api_url, authority=authority, signing=signing)
        controller_manager = str(self._programs.kube_controller_manager)
        self._controller_manager.start([*place.enter, controller_manager, *options])
        # It has no certificate to be asked with: what it does shows that it is at work.
        account = "/api/v1/namespaces/default/serviceaccounts/default"
        self._controller_manager.wait_ready(lambda: ask(account), until=until)

        self.ready_seconds = time.monotonic() - started
        document = kubeconfig.of_client(
            server=api_url, authority=authority.certificate, client=admin
        )
        kubeconfig.write(self.kubeconfig, document)  # last: who finds it may use it

    def _etcd_options(self, url: str) -> Iterator[str]:
        yield "--name=rei"
        yield f"--data-dir={self._data}"
        yield f"--listen-client-urls={url}"
        yield f"--advertise-client-urls={url}"
        yield "--listen-peer-urls=http://127.0.0.1:0"  # it has no peers
        yield "--unsafe-no-fsync"
        yield "--log-level=warn"

    def _api_options(
        self, etcd_url: str, url: str, *, authority: Authority, signing: Path
    ) -> Iterator[str]:
        place = self.place
        serving = authority.server("kube-apiserver", place.address, place.service_address)
        yield f"--etcd-servers={etcd_url}"
        yield f"--bind-address={place.address}"
        # Else that of a default route, which may not be there.
        yield f"--advertise-address={place.address}"
        yield "--external-hostname=localhost"
        yield f"--secure-port={httpx.URL(url).port}"
        yield f"--tls-cert-file={serving.certificate}"
        yield f"--tls-private-key-file={serving.key}"
        yield f"--client-ca-file={authority.certificate}"
        yield "--anonymous-auth=false"
        yield f"--authorization-mode={'Node,RBAC' if place.nodes else 'RBAC'}"
        yield f"--service-account-issuer={ISSUER}"
        yield f"--service-account-key-file={signing}"
        yield f"--service-account-signing-key-file={signing}"
        yield f"--service-cluster-ip-range={place.services}"
        yield "--profiling=false"
        if place.nodes:
            yield from _node_options(authority)
        else:
            # Its own address is on loopback, which no Endpoints may name.
            yield "--endpoint-reconciler-type=none"

    def _controller_options(
        self, url: str, *, authority: Authority, signing: Path
    ) -> Iterator[str]:
        client = authority.client("kube-controller-manager", group=ADMINS)
        path = self.folder / "kube-controller-manager.kubeconfig"
        document = kubeconfig.of_client(server=url, authority=authority.certificate, client=client)
        kubeconfig.write(path, document)
        yield f"--kubeconfig={path}"
        yield f"--controllers={','.join(self._controllers)}"
        yield f"--service-account-private-key-file={signing}"
        yield f"--root-ca-file={authority.certificate}"
        yield "--leader-elect=false"
        yield "--secure-port=0"  # nobody asks it anything
        yield "--profiling=false"
        # The limits that protect a real API server only make namespaces end slowly here.
        yield "--kube-api-qps=200"
        yield "--kube-api-burst=400"
        if self.place.nodes:
            yield "--horizontal-pod-autoscaler-sync-period=5s"  # not 15: people and tests wait


def _node_options(authority: Authority) -> Iterator[str]:
    """How the API server reaches kubelets (logs, exec) and the servers of aggregated APIs."""
    kubelets = authority.client("kube-apiserver-kubelet-client", group=ADMINS)
    yield f"--kubelet-certificate-authority={authority.certificate}"
    yield f"--kubelet-client-certificate={kubelets.certificate}"
    yield f"--kubelet-client-key={kubelets.key}"
    yield "--kubelet-preferred-address-types=InternalIP"
    front = authority.client(FRONT_PROXY, group=FRONT_PROXY)
    yield f"--requestheader-client-ca-file={authority.certificate}"
    yield f"--requestheader-allowed-names={FRONT_PROXY}"
    yield "--requestheader-username-headers=X-Remote-User"
    yield "--requestheader-group-headers=X-Remote-Group"
    yield "--requestheader-extra-headers-prefix=X-Remote-Extra-"
    yield f"--proxy-client-cert-file={front.certificate}"
    yield f"--proxy-client-key-file={front.key}"
    yield "--enable-aggregator-routing=true"


class _Ask:
    """Whether the API server answers 200 to its admin."""

    def __init__(self, url: str, *, authority: Path, client: Pair) -> None:
        self._url = url
        self._context = ssl.create_default_context(cafile=str(authority))
        self._context.load_cert_chain(client.certificate, client.key)

    def __call__(self, path: str) -> bool:
        return _answers(f"{self._url}{path}", context=self._context)


def _answers(url: str, *, context: ssl.SSLContext | bool = True) -> bool:
    try:
        # A proxy knows nothing of this machine's loopback.
        answer = httpx.get(url, verify=context, timeout=CALL_SECONDS_MAX, trust_env=False)
    except httpx.HTTPError:
        return False
    return answer.status_code == httpx.codes.OK

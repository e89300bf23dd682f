"""Programs built from the Go modules that tools/*/go.mod pin, once for a machine.

They land in the cache (`XDG_CACHE_HOME`, else ~/.cache, then rei/go/NAME-KEY) each under its own
name by a rename: a program is there whole or not at all. A killed build leaves nothing half-made,
and the next one goes on with what was finished. Of two that build at once, the second waits at a
file lock and finds the programs of the first. KEY is a hash of go.mod, go.sum, the way of building
and the version of Go; the proxy that modules come from is that of the environment, and go.sum
decides whether they are the ones that were meant.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rei_sandbox.cluster.builds import BUILD_SECONDS_MAX, Say, alone, run
from rei_sandbox.cluster.errors import BuildFailed, NoCluster
from rei_sandbox.services import tail

CHECKOUT: Final = Path(__file__).resolve().parents[4]
LOG_LINES: Final = 15
GENERATIONS_KEPT: Final = 3
BUILDING: Final = ".building-"


@dataclass(frozen=True, slots=True)
class Module:
    """A folder of tools/ with a go.mod, and the programs that are built from it."""

    folder: Path
    packages: Mapping[str, str]
    """Program → Go package."""
    source: str
    """The module in go.mod whose version the programs are of."""
    version_variables: Sequence[str] = ()
    """Go variables that are told this version; without, the programs call themselves unknown."""

    @property
    def name(self) -> str:
        return self.folder.name

    def go_mod(self) -> str:
        """The text of go.mod; raises `NoCluster`."""
        try:
            return (self.folder / "go.mod").read_text(encoding="utf-8")
        except FileNotFoundError:
            raise NoCluster(f"no tools/{self.name}/go.mod: this is no checkout of Rei") from None

    def version(self) -> str:
        """The pinned version, such as "v1.37.2"."""
        required = rf"^\s*(?:require )?{re.escape(self.source)} (v\S+)"
        found = re.search(required, self.go_mod(), re.MULTILINE)
        assert found is not None, f"{self.folder}/go.mod does not require {self.source}"
        return found[1]

    def go_version_min(self) -> tuple[int, ...]:
        """The oldest Go that compiles it."""
        found = re.search(r"^go (\S+)$", self.go_mod(), re.MULTILINE)
        assert found is not None, f"{self.folder}/go.mod names no version of Go"
        return _numbers(found[1])

    def build_options(self) -> list[str]:
        told = [f"-X {variable}={self.version()}" for variable in self.version_variables]
        return ["-trimpath", "-buildvcs=false", "-ldflags", " ".join(["-s", "-w", *told])]


@dataclass(frozen=True, slots=True)
class Go:
    """A Go that is there."""

    program: Path
    version: str
    """All that `go version` says: the platform belongs to it."""


KUBERNETES: Final = Module(
    folder=CHECKOUT / "tools" / "kubernetes",
    packages={
        name: f"k8s.io/kubernetes/cmd/{name}"
        for name in (
            "kube-apiserver",
            "kube-controller-manager",
            "kube-proxy",
            "kube-scheduler",
            "kubectl",
            "kubelet",
        )
    },
    source="k8s.io/kubernetes",
    version_variables=(
        "k8s.io/component-base/version.gitVersion",
        "k8s.io/client-go/pkg/version.gitVersion",
    ),
)
ETCD: Final = Module(
    folder=CHECKOUT / "tools" / "etcd",
    packages={"etcd": "go.etcd.io/etcd/server/v3"},
    source="go.etcd.io/etcd/server/v3",
)
COREDNS: Final = Module(
    folder=CHECKOUT / "tools" / "coredns",
    packages={"coredns": "github.com/coredns/coredns"},
    source="github.com/coredns/coredns",
)
HELM: Final = Module(
    folder=CHECKOUT / "tools" / "helm",
    packages={"helm": "helm.sh/helm/v4/cmd/helm"},
    source="helm.sh/helm/v4",
    version_variables=("helm.sh/helm/v4/internal/version.version",),
)
KEDA: Final = Module(
    folder=CHECKOUT / "tools" / "keda",
    packages={
        "keda": "github.com/kedacore/keda/v2/cmd/operator",
        "keda-adapter": "github.com/kedacore/keda/v2/cmd/adapter",
    },
    source="github.com/kedacore/keda/v2",
    version_variables=("github.com/kedacore/keda/v2/version.Version",),
)
KUBE_ROUTER: Final = Module(
    folder=CHECKOUT / "tools" / "kube-router",
    packages={"kube-router": "github.com/cloudnativelabs/kube-router/v2/cmd/kube-router"},
    source="github.com/cloudnativelabs/kube-router/v2",
    version_variables=("github.com/cloudnativelabs/kube-router/v2/pkg/version.Version",),
)
PROMETHEUS_ADAPTER: Final = Module(
    folder=CHECKOUT / "tools" / "prometheus-adapter",
    packages={"prometheus-adapter": "sigs.k8s.io/prometheus-adapter/cmd/adapter"},
    source="sigs.k8s.io/prometheus-adapter",
)


def built(module: Module, programs: Sequence[str], *, say: Say) -> dict[str, Path]:
    """The programs' paths, built first where they are not in the cache; raises `NoCluster`.

    `say` gets a line every few seconds while there is something to wait for.
    """
    go = _find_go(module.go_version_min(), say=say)
    folder = cache() / f"{module.name}-{_key(module, go)}"
    paths = {program: folder / program for program in programs}
    if not all(path.exists() for path in paths.values()):
        folder.mkdir(parents=True, exist_ok=True)
        with alone(folder / ".lock", f"{module.name}: another process is building", say=say):
            _remove_half_made(folder)
            missing = [program for program, path in paths.items() if not path.exists()]
            for number, program in enumerate(missing, 1):
                told = f"{program} {module.version()} ({number} of {len(missing)})"
                _build(module, program, go=go, to=paths[program], told=told, say=say)
    with contextlib.suppress(OSError):  # a cache that cannot be written to serves as well
        os.utime(folder)  # what is used last is kept longest
        _forget_old_generations(module)
    return paths


def source(module: Module, *, say: Say) -> Path:
    """The folder with the sources of what the module is about, for what lies beside its Go code.

    Raises `NoCluster`.
    """
    go = _find_go(module.go_version_min(), say=say)
    command = [str(go.program), "mod", "download", "-json", module.source]
    done = subprocess.run(
        command, check=False, capture_output=True, text=True, timeout=BUILD_SECONDS_MAX,
        cwd=module.folder, env=_environment(),
    )  # fmt: skip
    if done.returncode != 0:
        raise NoCluster(f"no sources of {module.source}: {done.stdout}{done.stderr}")
    return Path(json.loads(done.stdout)["Dir"])


def cache() -> Path:
    """Where built programs are kept: outside the checkout, so that each checkout finds them."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "rei" / "go"


def _key(module: Module, go: Go) -> str:
    parts = (
        module.go_mod().encode(),
        (module.folder / "go.sum").read_bytes(),
        repr((sorted(module.packages.items()), module.build_options())).encode(),
        go.version.encode(),
    )
    return hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in parts)).hexdigest()[
        :16
    ]


def _find_go(version_min: tuple[int, ...], *, say: Say) -> Go:
    """The Go of the PATH if it is new enough, else the locked one of PyPI."""
    on_path = shutil.which("go")
    if on_path and (go := _version(Path(on_path))) and _numbers(go.version) >= version_min:
        return go
    packaged = CHECKOUT / ".cache" / "go" / "bin" / "go"
    if not packaged.exists():
        _install_go(say=say)
    go = _version(packaged)
    if go is None or _numbers(go.version) < version_min:
        wanted = ".".join(map(str, version_min))
        raise NoCluster(f"no Go ≥ {wanted}: neither on the PATH nor from `tools/setup go`")
    return go


def _install_go(*, say: Say) -> None:
    setup = CHECKOUT / "tools" / "setup"
    if not setup.exists():
        raise NoCluster("no Go on the PATH, and no tools/setup to get one")
    say("no Go on the PATH that is new enough: installing the locked one into .cache/go")
    done = subprocess.run(
        [setup, "go"], check=False, capture_output=True, text=True, timeout=BUILD_SECONDS_MAX
    )
    if done.returncode != 0:
        raise NoCluster(f"no Go on the PATH, and `tools/setup go` failed:\n{done.stderr[-2000:]}")


def _version(program: Path) -> Go | None:
    done = subprocess.run(
        [program, "version"], check=False, capture_output=True, text=True, env=_environment()
    )
    return Go(program, done.stdout.strip()) if done.returncode == 0 else None


def _numbers(version: str) -> tuple[int, ...]:
    """(1, 26, 8) of "go version go1.26.8 linux/amd64" or "1.26.8"."""
    found = re.search(r"(\d+)\.(\d+)(?:\.(\d+))?", version)
    return tuple(int(number or 0) for number in found.groups()) if found else ()


def _environment() -> dict[str, str]:
    """The caller's, so that its proxy and its GOFLAGS count; but no other Go and no workspace."""
    return {**os.environ, "CGO_ENABLED": "0", "GOTOOLCHAIN": "local", "GOWORK": "off"}


def _build(module: Module, program: str, *, go: Go, to: Path, told: str, say: Say) -> None:
    with tempfile.TemporaryDirectory(prefix=BUILDING, dir=to.parent) as name:
        half_made, log = Path(name) / program, Path(name) / "log"
        package = module.packages[program]
        command = [str(go.program), "build", *module.build_options(), "-o", str(half_made), package]
        started = time.monotonic()
        status = run(
            command, folder=module.folder, environment=_environment(), log=log, told=told, say=say
        )
        if status != 0:
            raise BuildFailed(program, f"go build: exit {status}", tail(log, lines=LOG_LINES))
        half_made.replace(to)
        say(f"{told}: built in {time.monotonic() - started:.0f} s")


def _remove_half_made(folder: Path) -> None:
    """What a killed build left; only under the lock, so it is nobody else's."""
    for left in folder.glob(f"{BUILDING}*"):
        shutil.rmtree(left, ignore_errors=True)


def _forget_old_generations(module: Module) -> None:
    """Keep the last few: two checkouts may differ, but a cache that only grows fills the disk."""
    pattern = re.compile(rf"{re.escape(module.name)}-[0-9a-f]{{16}}")
    mine = [entry for entry in cache().iterdir() if pattern.fullmatch(entry.name)]
    mine.sort(key=lambda entry: entry.stat().st_mtime, reverse=True)
    for old in mine[GENERATIONS_KEPT:]:
        shutil.rmtree(old, ignore_errors=True)

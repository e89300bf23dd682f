"""Container images without Docker: buildah, on a Debian that debootstrap makes, once for a machine.

Nothing is pulled. The base is a minimal Debian with Debian's own Python; Rei's images come from the
Dockerfile as everywhere, with this base for their `BASE`; the sources of PostgreSQL's client tools
from Debian's archive, whose signatures apt checks. Layers are kept, so a second build is quick.

    localhost/rei-base:bookworm                       what all others stand on
    localhost/rei-{bot,worker,operator,sandbox}:dev   from Dockerfile
    localhost/rei-{pause,postgres,redis,prometheus}:dev
                                                      from tools/images/Dockerfile
    localhost/rei-{keda,prometheus-adapter,kube-router}:dev
                                                      what go_programs builds
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import IO, Final

from rei_sandbox.cluster import oci
from rei_sandbox.cluster.builds import Say, alone, run
from rei_sandbox.cluster.errors import BuildFailed, NoCluster
from rei_sandbox.cluster.go_programs import (
    CHECKOUT,
    KEDA,
    KUBE_ROUTER,
    PROMETHEUS_ADAPTER,
    Module,
    built,
)
from rei_sandbox.services import tail

SUITE: Final = "bookworm"
BASE_IMAGE: Final = f"localhost/rei-base:{SUITE}"
BASE_PACKAGES: Final = ("ca-certificates", "python3", "tzdata")
PATH_IN_IMAGES: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
PARTS: Final = ("bot", "worker", "operator", "sandbox")
SERVICES: Final = (
    "pause",
    "postgres",
    "redis",
    "prometheus",
    "keda",
    "prometheus-adapter",
    "kube-router",
)
"""What a cluster needs beside Rei."""
PASSES: Final = "sealing memfd copy: Device or resource busy"
"""For each RUN buildah starts itself from a copy in memory that it seals. While the kernel has a page of
it in hand, as it rarely has, it refuses."""
BUILT: Final = {
    "keda": (KEDA, "programs"),
    "prometheus-adapter": (PROMETHEUS_ADAPTER, "programs"),
    "kube-router": (KUBE_ROUTER, "kube-router"),
}
"""Those with a module's programs, and the Dockerfile of each."""
NEXT: Final = ("next-bot", "next-worker", "next-operator", "bad-operator")
"""The release after this one, and one that cannot be; made from `PARTS`, for tests of upgrades."""
POSTGRESQL: Final = "postgresql-18"
POSTGRESQL_SUITE: Final = "sid"
"""The only Debian that has the newest PostgreSQL; nothing but its sources is taken from there."""
SOURCES_IN_BUILDS: Final = "/sources"
CERTIFICATES: Final = Path("/etc/ssl/certs")
SYSTEM_PROGRAMS: Final = {"buildah": "buildah", "debootstrap": "debootstrap", "apt-get": "apt"}
LOG_LINES: Final = 30
UNITS: Final = ("B", "kB", "MB", "GB")


def image_of(name: str) -> str:
    """The image of one of `PARTS` or `SERVICES`."""
    return f"localhost/rei-{name}:dev"


class Images:
    """The images of this machine, in a store of their own below the cache."""

    def __init__(self, *, say: Say) -> None:
        """Raises `NoCluster` where images cannot be built."""
        if os.geteuid() != 0:
            raise NoCluster("images are built as root here; elsewhere: docker build")
        missing = {package for name, package in SYSTEM_PROGRAMS.items() if not shutil.which(name)}
        if missing:
            raise NoCluster(f"not installed: {', '.join(sorted(missing))}. Try: tools/setup node")
        home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        self._folder = Path(home) / "rei" / "images"
        self._sources = self._folder / "sources"
        self._sources.mkdir(parents=True, exist_ok=True)
        self._say = say

    def build(self, *names: str) -> None:
        """Build images from the Dockerfiles of this checkout; raises `BuildFailed`.

        What has been built from the same commit, with nothing changed since, is not built again.
        """
        with self._alone():
            self._need_base()
            commit = _commit()
            for name in names:
                stamp = self._folder / "built" / name
                if not commit or _text(stamp) != f"{commit} {self._identity(image_of(name))}":
                    self._build_one(name)
                    stamp.parent.mkdir(exist_ok=True)
                    stamp.write_text(f"{commit} {self._identity(image_of(name))}")

    def _build_one(self, name: str) -> None:
        if name in PARTS:
            # The certificates of this machine: between it and a package index may be a proxy.
            self._build(
                name, CHECKOUT, **self._postgresql(), **_labels(),
                volumes=(
                    f"{CERTIFICATES}:{CERTIFICATES}:ro",
                    f"{self._sources}:{SOURCES_IN_BUILDS}:ro",
                ),
            )  # fmt: skip
        elif name in BUILT:
            self._pack(name, *BUILT[name])
        elif name in NEXT:
            target, _, part = name.partition("-")
            self._build(name, CHECKOUT / "tools" / "images", target=target, PART=part)
        else:
            self._build(name, CHECKOUT / "tools" / "images")

    def export(self, *names: str, into: IO[bytes]) -> None:
        """Write images to a stream, as a tar in OCI's image layout."""
        with self._alone():
            oci.write_tar({image_of(name): self._unpacked(name) for name in names}, into)

    def _unpacked(self, name: str) -> Path:
        """An image's blobs in a folder, written anew only when it has changed."""
        folder = self._folder / "unpacked" / name
        stamp = folder.with_suffix(".id")
        identity = self._identity(image_of(name))
        if _text(stamp) != identity:
            stamp.unlink(missing_ok=True)
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            # Not compressed: it never leaves the machine.
            self._buildah("push", "--disable-compression", image_of(name), f"dir:{folder}")
            stamp.write_text(identity)
        return folder

    def size_bytes(self, image: str) -> int:
        """What an image takes on a disk, with the layers that it shares with others."""
        listed = json.loads(self._buildah("images", "--json", image))
        size, unit = listed[0]["size"].split()
        return int(float(size) * 1000 ** UNITS.index(unit))

    def settings(self, image: str) -> Mapping[str, object]:
        """What an image says about how it is run: OCI's `config`."""
        found = json.loads(self._buildah("inspect", "--type", "image", image))
        config: dict[str, object] = found["OCIv1"]["config"]
        return config

    @contextlib.contextmanager
    def root(self, image: str) -> Iterator[Path]:
        """The files of an image, mounted to be looked at; gone with the block."""
        container = self._buildah("from", "--pull-never", image).strip()
        try:
            yield Path(self._buildah("mount", container).strip())
        finally:
            self._buildah("rm", container)

    def _build(
        self,
        name: str,
        context: Path,
        *,
        target: str = "",
        volumes: Sequence[str] = (),
        **arguments: str,
    ) -> None:
        arguments = {"BASE": BASE_IMAGE, **arguments}
        command = [
            *self._command("build"), "--pull-never", "--isolation=chroot", "--layers",
            *(f"--volume={volume}" for volume in volumes),
            *(f"--build-arg={key}={value}" for key, value in arguments.items()),
            f"--target={target or name}", f"--tag={image_of(name)}", str(context),
        ]  # fmt: skip
        try:
            self._run(f"image {name}", command)
        except BuildFailed as error:
            if PASSES not in str(error):
                raise
            self._say(f"image {name}: buildah could not copy itself, once more")
            self._run(f"image {name}", command)  # its layers so far are kept

    def _pack(self, name: str, module: Module, dockerfile: str) -> None:
        programs = built(module, list(module.packages), say=self._say)
        folder = next(iter(programs.values())).parent
        context = CHECKOUT / "tools" / "images"
        self._run(
            f"image {name}",
            [
                *self._command("build"), "--pull-never", "--isolation=chroot", "--layers",
                f"--build-arg=BASE={BASE_IMAGE}", f"--build-context=programs={folder}",
                f"--file={context / f'{dockerfile}.Dockerfile'}",
                f"--tag={image_of(name)}", str(context),
            ],
        )  # fmt: skip

    def _need_base(self) -> None:
        if self._identity(BASE_IMAGE):
            return
        with tempfile.TemporaryDirectory(dir=self._folder, prefix="base-") as name:
            root = Path(name) / "root"
            include = f"--include={','.join(BASE_PACKAGES)}"
            command = ["debootstrap", "--variant=minbase", include, SUITE, str(root)]
            self._run("base image", command)
            for pattern in ("var/cache/apt/archives/*.deb", "var/lib/apt/lists/*_*"):
                for file in root.glob(pattern):
                    file.unlink()
            container = self._buildah("from", "--pull-never", "scratch").strip()
            try:
                self._buildah("add", container, str(root), "/")
                self._buildah("config", f"--env=PATH={PATH_IN_IMAGES}", container)
                self._buildah("commit", container, BASE_IMAGE)
            finally:
                self._buildah("rm", container)

    def _postgresql(self) -> dict[str, str]:
        """Where the Dockerfile finds PostgreSQL's sources, and which ones they are."""
        source = self._postgresql_source()
        return {
            "POSTGRESQL_VERSION": source.name.removeprefix(f"{POSTGRESQL}_").partition(".orig")[0],
            "POSTGRESQL_SHA256": hashlib.sha256(source.read_bytes()).hexdigest(),
            "POSTGRESQL_SOURCE": f"file://{SOURCES_IN_BUILDS}/{source.name}",
        }

    def _postgresql_source(self) -> Path:
        """PostgreSQL's own archive, as Debian has it; apt has checked whose it is."""
        if found := sorted(self._sources.glob("*.orig.tar.*")):
            return found[-1]
        self._say(f"fetching the sources of {POSTGRESQL}")
        with self.root(BASE_IMAGE) as root:
            mirror = (root / "etc/apt/sources.list").read_text().split()[1]
        with tempfile.TemporaryDirectory(dir=self._folder, prefix="sources-") as name:
            apt, fetched = Path(name) / "apt", Path(name) / "fetched"
            (apt / "lists" / "partial").mkdir(parents=True)
            fetched.mkdir()
            sources = apt / "sources.list"
            keyring = "/usr/share/keyrings/debian-archive-keyring.gpg"
            sources.write_text(f"deb-src [signed-by={keyring}] {mirror} {POSTGRESQL_SUITE} main\n")
            options = {
                "Dir::Etc::SourceList": sources,
                "Dir::Etc::SourceParts": "-",
                "Dir::State::Lists": apt / "lists",
                "Dir::Cache": apt,
                "APT::Sandbox::User": "root",
            }
            command = ["apt-get", *(f"--option={key}={value}" for key, value in options.items())]
            self._run("sources", [*command, "update"])
            self._run("sources", [*command, "source", "--download-only", POSTGRESQL], cwd=fetched)
            for file in fetched.glob("*.orig.tar.*"):
                file.rename(self._sources / file.name)
        return next(self._sources.glob("*.orig.tar.*"))

    def _identity(self, image: str) -> str:
        """The image's id; "" if there is none."""
        done = subprocess.run(
            self._command("images", "--quiet", "--no-trunc", image),
            check=False, capture_output=True, text=True,
        )  # fmt: skip
        return done.stdout.strip() if done.returncode == 0 else ""

    def _command(self, *words: str) -> list[str]:
        store = (f"--root={self._folder / 'store'}", "--runroot=/run/rei-images")
        return ["buildah", *store, *words]

    def _buildah(self, *words: str) -> str:
        done = subprocess.run(self._command(*words), check=False, capture_output=True, text=True)
        if done.returncode != 0:
            raise BuildFailed("image", f"buildah {words[0]}: exit {done.returncode}", done.stderr)
        return done.stdout

    def _run(self, told: str, command: list[str], *, cwd: Path | None = None) -> None:
        """A command that takes long, with a line from time to time; raises `BuildFailed`."""
        started, log = time.monotonic(), self._folder / "build.log"
        status = run(
            command, folder=cwd or self._folder, environment=os.environ, log=log, told=told,
            say=self._say,
        )  # fmt: skip
        if status != 0:
            raise BuildFailed(told, f"exit {status}", tail(log, lines=LOG_LINES))
        self._say(f"{told}: done in {time.monotonic() - started:.0f} s")

    def _alone(self) -> contextlib.AbstractContextManager[None]:
        return alone(self._folder / ".lock", "images: another process is building", say=self._say)


def _commit() -> str:
    """What HEAD is; "" if anything differs from it, and outside a checkout."""
    told = [
        subprocess.run(["git", "-C", CHECKOUT, *words], check=False, capture_output=True, text=True)
        for words in (("status", "--porcelain"), ("rev-parse", "HEAD"))
    ]
    return "" if told[0].stdout or any(one.returncode for one in told) else told[1].stdout.strip()


def _labels() -> dict[str, str]:
    """What an image is of; the commit is unknown outside a checkout."""
    done = subprocess.run(
        ["git", "-C", CHECKOUT, "rev-parse", "HEAD"], check=False, capture_output=True, text=True
    )
    return {"VERSION": version("rei"), "REVISION": done.stdout.strip() or "unknown"}


def _text(path: Path) -> str:
    with contextlib.suppress(FileNotFoundError):
        return path.read_text()
    return ""

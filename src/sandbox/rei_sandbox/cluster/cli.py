"""`python -m rei_sandbox.cluster …`: a cluster for a person, for tests, or only its programs."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, NoReturn

import click

from rei_core.errors import ReiError
from rei_sandbox.cluster.control_plane import ControlPlane
from rei_sandbox.cluster.errors import NoCluster
from rei_sandbox.cluster.go_programs import CHECKOUT
from rei_sandbox.cluster.images import NEXT, PARTS, SERVICES, Images, image_of
from rei_sandbox.cluster.node import clear
from rei_sandbox.cluster.node import obtain as obtain_node
from rei_sandbox.cluster.node import run as run_node
from rei_sandbox.cluster.programs import obtain, obtain_helm
from rei_sandbox.cluster.servers import Server
from rei_sandbox.cluster.shared import GIVEN, launch

FOLDER: Final = Path(".rei/cluster")
LOOK_SECONDS: Final = 0.5
ALL: Final = (*PARTS, *SERVICES, *NEXT)


@click.group()
def cluster() -> None:
    """A real Kubernetes: an API server on loopback, or a whole one with a node."""


@cluster.command()
@click.option(
    "--folder",
    type=click.Path(path_type=Path, file_okay=False),
    default=FOLDER,
    show_default=True,
    help="Where keys and logs go.",
)
def up(folder: Path) -> None:
    """Start a cluster and hold it until Ctrl-C. The first time, its programs are built."""
    with _until_interrupted():
        programs = obtain(os.environ, say=_say)
        with _held(folder):
            _stay(ControlPlane(folder, programs), kubectl=programs.kubectl)


@cluster.command()
def prepare() -> None:
    """Build the programs if the machine has none, so that tests need not wait for it.

    Where none are to be had it says so and ends with 0: the tests skip what needs them, and fail
    under CI=true.
    """
    try:
        obtain_helm(say=_say)
        if not os.environ.get(GIVEN):
            obtain(os.environ, say=_say)
    except NoCluster as error:
        _say(f"there will be no cluster to test on: {error}")


@cluster.command(name="images")
@click.argument("parts", nargs=-1, type=click.Choice(ALL))
def build_images(parts: tuple[str, ...]) -> None:
    """Build the images of PARTS (all, if none is named) without Docker, as root."""
    with _until_interrupted():
        images = Images(say=_say)
        images.build(*(parts or PARTS))
        for part in parts or PARTS:
            click.echo(f"{image_of(part)}  {images.size_bytes(image_of(part)) / 1e6:.0f} MB")


@cluster.group()
def node() -> None:
    """A whole Kubernetes with one node that runs pods, in a network namespace of its own; as root."""


@node.command(name="up")
@click.option(
    "--load",
    "parts",
    multiple=True,
    type=click.Choice(ALL),
    help="Give it this image.",
)
def node_up(parts: tuple[str, ...]) -> None:
    """Start it and hold it until Ctrl-C. The first time, programs and images are built."""
    with _until_interrupted():
        programs, images = obtain_node(say=_say), Images(say=_say)
        images.build("pause", *parts)
        with run_node(programs, images, say=_say) as running:
            if parts:
                _say(f"loading {', '.join(image_of(part) for part in parts)}")
                running.load(*parts)
            click.echo(f"ready in {running.ready_seconds:.1f} s; logs in {running.folder}")
            _show_access(running.cluster.kubeconfig, kubectl=running.cluster.kubectl_program)
            _watch(running.ended)


@node.command(name="clean")
def node_clean() -> None:
    """Take away what a killed one left. The next `up` does so too."""
    with _until_interrupted():
        clear()


@cluster.command(name="keep", hidden=True)
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
def keep_shared(folder: Path) -> None:
    """Start the cluster of a test run, and leave a process that ends it after its last user."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        ready = launch(folder, os.environ, say=_say)
    except ReiError as error:
        raise click.ClickException(str(error)) from None
    sys.exit(0 if ready else 1)


def _stay(plane: ControlPlane, *, kubectl: Path) -> NoReturn:
    """Hold it until a server ends, or somebody ends us."""
    plane.start()
    try:
        click.echo(f"ready in {plane.ready_seconds:.1f} s; logs in {plane.folder}")
        _show_access(plane.kubeconfig, kubectl=kubectl)
        _watch(plane.ended)
    finally:
        plane.stop()


def _show_access(kubeconfig: Path, *, kubectl: Path) -> None:
    click.echo(f"export KUBECONFIG={kubeconfig}")
    click.echo(f"alias kubectl={kubectl}")
    click.echo(f"kubectl apply --server-side -k {CHECKOUT / 'k8s' / 'crds'}")
    click.echo("Ctrl-C ends it, with all that is in it.")


def _watch(ended: Callable[[], Server | None]) -> NoReturn:
    while (server := ended()) is None:
        time.sleep(LOOK_SECONDS)
    raise server.failed("ended by itself")


@contextlib.contextmanager
def _until_interrupted() -> Iterator[None]:
    """Ctrl-C and SIGTERM end the block in good order."""
    # Both: a shell starts what it puts into the background with SIGINT ignored.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    try:
        yield
    except KeyboardInterrupt:
        _say("ended; nothing runs any more")
    except ReiError as error:
        raise click.ClickException(str(error)) from None


@contextlib.contextmanager
def _held(folder: Path) -> Iterator[None]:
    """The folder is ours alone: a second start would take the first one's servers for stale."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with (folder / "up.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise click.ClickException(f"a cluster runs in {folder}: name another one") from None
        yield


def _say(line: str) -> None:
    click.echo(f"cluster: {line}", err=True)
    sys.stderr.flush()

"""`make crds`: writes k8s/crds from the models of rei_core.maintenance.resources, and the chart's
copies of what k8s/ has: a chart can read no file outside of it.

tools/crds.py           write the files; what is no kind any more is removed
tools/crds.py --check   change nothing; exit 1 if a file is not what it would be
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

import click
import yaml

from rei_core.maintenance.resources import KINDS
from rei_core.maintenance.resources.crd import crd

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "k8s" / "crds"
ROLE = ROOT / "k8s" / "operator" / "role.yaml"
CHART_FILES = ROOT / "helm" / "rei" / "files"
HEADER = "# Made by `make crds` from src/core/rei_core/maintenance/resources: change it there.\n"
KUSTOMIZATION = "kustomization.yaml"


def crds() -> dict[str, str]:
    """The kinds: file name → text."""
    return {f"{kind.names.plural}.yaml": _text(crd(kind)) for kind in KINDS.values()}


def folders() -> dict[Path, dict[str, str]]:
    """All that is written: folder → file name → text."""
    return {
        FOLDER: files(),
        CHART_FILES / "crds": crds(),
        CHART_FILES / "operator": {ROLE.name: ROLE.read_text(encoding="utf-8")},
    }


def files() -> dict[str, str]:
    """What k8s/crds has to hold: file name → text."""
    made = crds()
    kustomization = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": sorted(made),
    }
    return {**made, KUSTOMIZATION: _text(kustomization)}


def _text(document: Mapping[str, object]) -> str:
    return HEADER + yaml.safe_dump(dict(document), sort_keys=False, allow_unicode=True, width=100)


def differences(folder: Path, wanted: Mapping[str, str]) -> list[str]:
    """What is wrong with the files there, by name."""
    there = {path.name: path.read_text(encoding="utf-8") for path in folder.glob("*.yaml")}
    return sorted(
        name for name in wanted.keys() | there.keys() if wanted.get(name) != there.get(name)
    )


def write(folder: Path, wanted: Mapping[str, str]) -> None:
    """Make the files what they have to be."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in folder.glob("*.yaml"):
        if path.name not in wanted:
            path.unlink()
    for name, text in wanted.items():
        (folder / name).write_text(text, encoding="utf-8")


@click.command(help=__doc__)
@click.option("--check", is_flag=True, help="Change nothing, only compare.")
def main(*, check: bool) -> None:
    for folder, wanted in folders().items():
        if not check:
            write(folder, wanted)
        elif different := differences(folder, wanted):
            where = folder.relative_to(ROOT)
            names = ", ".join(different)
            click.echo(f"{where}: {names}: not what it has to be; run `make crds`", err=True)
            sys.exit(1)


if __name__ == "__main__":
    main()

"""`make renders`: writes tests/chart/golden, what the chart renders to with each set of values.

tools/chart.py           write the files; what is no set of values any more is removed
tools/chart.py --check   change nothing; exit 1 if the chart renders to something else
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import click
import yaml

from rei_core.errors import ReiError
from rei_sandbox.cluster.helm import CHART, Helm
from rei_sandbox.cluster.programs import obtain_helm

TESTS = Path(__file__).resolve().parent.parent / "tests" / "chart"
GOLDEN = TESTS / "golden"
HEADER = "# What the chart renders to. Written by `make renders`: look at the difference.\n"
# Each profile of the chart, and what no profile uses.
VALUES: Mapping[str, tuple[str, ...]] = {
    "minimal": (
        f"--values={CHART / 'values-minimal.yaml'}",
        "--set=credentials.existingSecret=rei-credentials",
    ),
    "production": (f"--values={CHART / 'values-production.yaml'}",),
    "everything": (f"--values={TESTS / 'values' / 'everything.yaml'}",),
}


def files(helm: Helm) -> dict[str, str]:
    """File name → text."""
    return {f"{name}.yaml": _text(helm, options) for name, options in VALUES.items()}


def _text(helm: Helm, options: tuple[str, ...]) -> str:
    # The kinds of our own are in k8s/crds, letter by letter; the dashboards in files/dashboards.
    documents = helm.render(*options, "--set=crds.install=false")
    for document in documents:
        if document["kind"] == "ConfigMap" and "-dashboard-" in document["metadata"]["name"]:
            document["data"] = dict.fromkeys(document["data"], "…")
    return HEADER + yaml.safe_dump_all(documents, sort_keys=False, allow_unicode=True, width=100)


@click.command(help=__doc__)
@click.option("--check", is_flag=True, help="Change nothing, only compare.")
def main(*, check: bool) -> None:
    with tempfile.TemporaryDirectory(prefix="rei-helm-") as home:
        helm = Helm(
            obtain_helm(say=lambda line: click.echo(f"chart: {line}", err=True)), Path(home)
        )
        try:
            wanted = files(helm)
        except ReiError as error:
            raise click.ClickException(str(error)) from None
    there = {path.name: path.read_text(encoding="utf-8") for path in GOLDEN.glob("*.yaml")}
    if check:
        different = sorted(
            name for name in wanted.keys() | there.keys() if wanted.get(name) != there.get(name)
        )
        if different:
            click.echo(f"tests/chart/golden: {', '.join(different)}: run `make renders`", err=True)
            sys.exit(1)
        return
    GOLDEN.mkdir(exist_ok=True)
    for name in there.keys() - wanted.keys():
        (GOLDEN / name).unlink()
    for name, text in wanted.items():
        (GOLDEN / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()

"""`make dashboards`: writes helm/rei/files/dashboards from src/sandbox/rei_sandbox/dashboards.

tools/dashboards.py           write the files
tools/dashboards.py --check   change nothing; exit 1 if a file is not what the source says
"""

from __future__ import annotations

import sys
from pathlib import Path

import click

from rei_sandbox.cluster.helm import CHART
from rei_sandbox.dashboards import DASHBOARDS
from rei_sandbox.dashboards.grafana import text_of

FOLDER = CHART / "files" / "dashboards"


@click.command(help=__doc__)
@click.option("--check", is_flag=True, help="Change nothing, only compare.")
def main(*, check: bool) -> None:
    wanted = {f"{page.name}.json": text_of(page) for page in DASHBOARDS}
    there = {path.name: path.read_text(encoding="utf-8") for path in Path(FOLDER).glob("*.json")}
    if check:
        different = sorted(
            name for name in wanted.keys() | there.keys() if wanted.get(name) != there.get(name)
        )
        if different:
            click.echo(f"{FOLDER}: {', '.join(different)}: run `make dashboards`", err=True)
            sys.exit(1)
        return
    FOLDER.mkdir(exist_ok=True)
    for name in there.keys() - wanted.keys():
        (FOLDER / name).unlink()
    for name, text in wanted.items():
        (FOLDER / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()

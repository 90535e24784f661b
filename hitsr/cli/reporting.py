"""Verbs that read records: collect, report and index."""

from pathlib import Path
from typing import Annotated

import typer

from hitsr.base.errors import SpecError
from hitsr.cli.options import ABLATIONS, AblationsOption
from hitsr.specs.ablation import resolve
from hitsr.specs.config import load_config


def collect(
    results: Annotated[Path, typer.Argument(help="such as results/demo")],
) -> None:
    """Gather the records of a results folder into tables/*.csv."""
    from hitsr.report import collect as collect_tables

    if not results.is_dir():
        raise SpecError(f"{results}: no such folder; name one such as results/demo")
    collect_tables(results)


def report(
    config: Annotated[Path, typer.Argument(help="the config that made the results")],
    reports: Annotated[Path, typer.Option(help="templates and published numbers")] = Path(
        "reports"
    ),
    ablations: AblationsOption = ABLATIONS,
    only: Annotated[str | None, typer.Option(help="the page of one ablation alone")] = None,
) -> None:
    """Render the report of a config's results: one self-contained HTML file."""
    from hitsr.report import render, render_ablation

    loaded = load_config(config)
    resolved = resolve(loaded, ablations, [only] if only else None)
    out = loaded.folder / "report"
    if only:
        print(
            render_ablation(loaded, loaded.folder, reports, out / "ablations", only, resolved[only])
        )
        return
    render(loaded, loaded.folder, reports, out, resolved)
    print(out / "index.html")


def index(
    results: Annotated[Path, typer.Argument(help="the folder that holds results folders")] = Path(
        "results"
    ),
    reports: Annotated[Path, typer.Option(help="folder of the page's templates")] = Path("reports"),
) -> None:
    """List the reports of several configs, and pages of comparisons, on one page."""
    from hitsr.report.index import write_index

    if not results.is_dir():
        raise SpecError(f"{results}: no such folder; `snakemake` makes results/demo")
    write_index(results, reports / "templates")
    print(results / "index.html")

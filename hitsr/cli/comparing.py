"""Verbs that compare what was measured: compare."""

import json
from pathlib import Path
from typing import Annotated

import typer

from hitsr.base.errors import HitsrError, SpecError, did_you_mean
from hitsr.cli.options import JsonOption, say

Share = Annotated[float, typer.Option(min=0, help="tolerance, as a share of A")]


def compare(
    a: Annotated[Path, typer.Argument(metavar="RESULTS_A", help="such as results/demo")],
    b: Annotated[Path, typer.Argument(metavar="RESULTS_B", help="what is held against A")],
    only: Annotated[
        list[str] | None,
        typer.Option(help="complexity, latency, quality or training alone; repeat for more"),
    ] = None,
    common: Annotated[
        bool, typer.Option("--common", help="what just one side has is no difference")
    ] = False,
    counts: Share = 0.0,
    latency: Share = 0.1,
    memory: Share = 0.1,
    loss: Share = 0.01,
    psnr: Annotated[float, typer.Option(min=0, help="tolerance in dB")] = 0.005,
    ssim: Annotated[float, typer.Option(min=0, help="tolerance")] = 0.0001,
    html: Annotated[
        Path | None,
        typer.Option(help="a page too; report/compare.html is linked by the report beside it"),
    ] = None,
    show_all: Annotated[bool, typer.Option("--all", help="print what is the same, too")] = False,
    reports: Annotated[Path, typer.Option(help="folder of the page's templates")] = Path("reports"),
    as_json: JsonOption = False,
) -> None:
    """Compare two results folders, cell by cell, for people and for CI.

    Exit status: 0 the same within tolerance, 1 different, 2 not to be compared.
    """
    from hitsr.base.files import write_text
    from hitsr.report.compare import compare_folders
    from hitsr.report.compare_page import to_html, to_text
    from hitsr.report.compared import KINDS, Tolerances

    tolerances = Tolerances(
        counts=counts, latency=latency, memory=memory, loss=loss, psnr_db=psnr, ssim=ssim
    )
    try:
        for kind in only or ():
            if kind not in KINDS:
                raise SpecError(f"--only {kind}: no such kind; {did_you_mean(kind, KINDS)}")
        kinds = [kind for kind in KINDS if not only or kind in only]
        comparison = compare_folders(a, b, tolerances, kinds)
        if html:
            write_text(html, to_html(comparison, reports / "templates"))
    except (HitsrError, OSError) as error:
        say(f"hitsr: {error}")
        raise typer.Exit(2) from None
    same = not comparison.failing(common)
    if as_json:
        print(json.dumps({"same": same, **comparison.model_dump(mode="json")}, indent=2))
    else:
        print(to_text(comparison, show_all))
    raise typer.Exit(0 if same else 1)

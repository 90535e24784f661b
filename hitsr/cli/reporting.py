"""Verbs that read records: collect, report, index, compare."""

import json
from pathlib import Path
from typing import Annotated

import typer
from typer import Argument, Option

from hitsr.base.errors import HitsrError, SpecError, did_you_mean
from hitsr.cli import options
from hitsr.cli.options import say
from hitsr.plan.planning import make_plan
from hitsr.specs.ablation import pick, read_ablations
from hitsr.specs.config import load_config

Share = Annotated[float, Option(min=0, help="relative tolerance")]


def collect(
    results: Annotated[Path, Argument(help="results folder, such as results/demo")],
) -> None:
    """Gather the records of a results folder into tables/*.csv.

    Exit status 1 if a record cannot be used; the others are still gathered.
    """
    if not results.is_dir():
        raise SpecError(
            f"{results.absolute()}: no such folder; name a results folder such as results/demo"
        )
    from hitsr.report.csv_tables import collect as collect_tables

    found = collect_tables(results)
    unread = [job for job in found.missing if job.output not in found.reasons]
    missing = sum(job.kind != "restore" for job in unread)  # restored pictures leave no record
    if missing:
        say(f"hitsr: {'1 job has' if missing == 1 else f'{missing} jobs have'} no record")
    for problem in found.problems:
        say(f"hitsr: {problem}")
    raise typer.Exit(1 if found.reasons else 0)


def report(
    config: options.ConfigArgument,
    reports: options.Reports = options.REPORTS,
    ablations: options.Ablations = options.ABLATIONS,
    only: Annotated[str | None, Option(help="write only the page of this ablation")] = None,
) -> None:
    """Write the report of a config's results: one self-contained HTML file.

    Records that cannot be used are named, on the page too, and cost only their own numbers.
    """
    from hitsr.report import render, render_ablation

    loaded, known = load_config(config), read_ablations(ablations)
    plan = make_plan(loaded, known)
    if only:
        if only in plan.impossible:
            raise SpecError(plan.impossible[only])
        (chosen,) = pick([only], known, "--only").values()
        out = plan.layout.ablation_page(only).parent
        page, problems = render_ablation(plan, reports, out, only, chosen)
    else:
        shown = pick(loaded.ablations, known, str(config))
        page, problems = render(plan, reports, plan.layout.report, shown)
    for problem in problems:
        say(f"hitsr: {problem}")
    print(page)


def index(
    results: Annotated[Path, Argument(help="folder of results folders")] = Path("results"),
    reports: options.Reports = options.REPORTS,
) -> None:
    """Write a page that links to the reports and comparisons of all results folders."""
    if not results.is_dir():
        raise SpecError(f"{results.absolute()}: no such folder; `snakemake` makes results/demo")
    from hitsr.report.index import write_index

    write_index(results, reports / "templates")
    print(results / "index.html")


def compare(
    a: Annotated[Path, Argument(metavar="RESULTS_A", help="such as results/demo")],
    b: Annotated[Path, Argument(metavar="RESULTS_B", help="compared with A")],
    only: Annotated[
        list[str] | None,
        Option(help="compare only complexity, latency, quality or training; repeatable"),
    ] = None,
    common: Annotated[
        bool, Option("--common", help="compare only cells that both sides have")
    ] = False,
    counts: Share = 0.0,
    latency: Share = 0.1,
    memory: Share = 0.1,
    loss: Share = 0.01,
    psnr: Annotated[float, Option(min=0, help="tolerance in dB")] = 0.005,
    ssim: Annotated[float, Option(min=0, help="tolerance")] = 0.0001,
    html: Annotated[
        Path | None,
        Option(help="also write a page; the report links to report/compare.html beside it"),
    ] = None,
    show_all: Annotated[bool, Option("--all", help="also print equal cells")] = False,
    reports: options.Reports = options.REPORTS,
    as_json: options.Json = False,
) -> None:
    """Compare two results folders, cell by cell, for people and for CI.

    Exit status: 0 if equal within tolerance, 1 if different, 2 if they cannot be compared, or a
    record of either cannot be used.
    """
    from hitsr.base.files import write_text
    from hitsr.report.compare import compare_folders
    from hitsr.report.compare_page import to_html, to_text
    from hitsr.report.comparison import KINDS, Tolerances

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
    for problem in comparison.problems:
        say(f"hitsr: {problem}")
    raise typer.Exit(2 if comparison.unusable else 0 if same else 1)

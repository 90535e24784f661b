"""Render the report: one self-contained page; tables as CSV and LaTeX, figures as SVG and PDF.

The page is a function of the config, the records, the published numbers and the templates: the same
of these give the same bytes. Where its pictures are too many for one file, they lie beside it.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from markupsafe import Markup

from hitsr.base.files import write_bytes, write_text
from hitsr.report.abstract import abstract
from hitsr.report.budget import Budget, budget_of
from hitsr.report.embedding import PagePicture, data_uri, fits, relative_uri, write_beside
from hitsr.report.explorer import explorer_data
from hitsr.report.gather import gather, select
from hitsr.report.index import Summary
from hitsr.report.latex import to_latex
from hitsr.report.measures import Evidence
from hitsr.report.names import family_key, label, role_of, short_label
from hitsr.report.published import read_published
from hitsr.report.section import Section
from hitsr.report.sections import protocol_section, sections
from hitsr.report.sections.ablations import ablation_finding, ablations_section
from hitsr.report.sections.provenance import commit_words, machine_words, work_words
from hitsr.report.svg import inline, standalone, to_pdf
from hitsr.report.tables import frames, to_csv, with_quotes
from hitsr.report.templating import fill
from hitsr.report.typeset import counted, size
from hitsr.specs.ablation import Resolved
from hitsr.specs.claims import read_claims
from hitsr.specs.config import Config

_SCRIPTS = ("script.js", "pictures.js")


def render(
    config: Config,
    results: Path,
    reports: Path,
    out: Path,
    ablations: Mapping[str, Resolved] = MappingProxyType({}),
) -> None:
    """Write `out`/index.html, *.csv, *.tex, figures/*.svg and *.pdf and, if need be, pictures/.

    Each is written whole or not at all, the page last.

    `results` is a results folder such as results/demo; `reports` holds templates/, published/ and
    claims.yaml.
    What was not measured is shown as "not run". RecordError for a damaged or outdated record,
    DataError for an unreadable picture, template, claim or published table, OSError where nothing
    can be written.
    """
    claims = read_claims(reports / "claims.yaml")
    evidence = replace(_evidence(config, results, reports, ablations), claims=claims)
    budget = budget_of(evidence)
    shown = sections(evidence, budget)
    words = Words(config.title, abstract(evidence, budget))
    comparisons = sorted(path.name for path in out.glob("compare*.html"))
    page = to_html(evidence, budget, shown, reports / "templates", words, comparisons)
    for name, frame in frames(evidence.results).items():
        write_text(out / f"{name}.csv", to_csv(with_quotes(name, frame, evidence.published)))
    _write_companions(shown, out)
    summary(evidence, budget, words).save(out)
    write_beside(_beside(shown), out)
    write_text(out / "index.html", page)


def render_ablation(
    config: Config, results: Path, reports: Path, out: Path, name: str, resolved: Resolved
) -> Path:
    """Write one ablation alone: `out`/<name>.html, its table as LaTeX, its figures as SVG and PDF.

    Returns the page; raises as `render` does.
    """
    evidence = _evidence(config, results, reports, {name: resolved})
    budget = budget_of(evidence)
    shown = [ablations_section(evidence, budget), protocol_section()]
    words = Words(resolved.ablation.question, [ablation_finding(evidence, resolved)])
    page = to_html(evidence, budget, shown, reports / "templates", words)
    _write_companions(shown, out)
    write_text(out / f"{name}.html", page)
    return out / f"{name}.html"


class Words(NamedTuple):
    """What stands above the sections."""

    title: str
    abstract: list[str]


def to_html(
    evidence: Evidence,
    budget: Budget,
    shown: list[Section],
    templates: Path,
    above: Words,
    comparisons: Sequence[str] = (),
) -> str:
    """The page; `comparisons` are pages of `hitsr compare` that lie beside it."""
    beside = bool(_beside(shown))
    address = relative_uri if beside else data_uri
    of_names = (label, short_label, family_key, role_of)
    of_records = (commit_words, machine_words, work_words)
    words = (counted, size, *of_names, *of_records)
    filters = {
        **{word.__name__: word for word in words},
        "inline": inline,
        "breakable": _breakable,
        "number": _number,
        "address": address,
        "explorer_data": partial(explorer_data, address=address),
    }
    values = {
        "config": evidence.config,
        "records": evidence.results.records,
        "budget": budget,
        "title": above.title,
        "abstract": above.abstract,
        "sections": shown,
        "beside": beside,
        "comparisons": comparisons,
    }
    return fill(templates, "page.html", values, filters, _SCRIPTS)


def summary(evidence: Evidence, budget: Budget, above: Words) -> Summary:
    config, records = evidence.config, evidence.results.records
    return Summary(
        name=config.name,
        title=above.title,
        networks=tuple(label(network) for network in evidence.networks),
        scales=config.scales,
        tested=tuple(evidence.set_name(dataset) for dataset in config.data.test),
        budget=budget.steps + (", reduced in size" if budget.reduction else ""),
        abstract=tuple(above.abstract),
        records=len(records),
        machine=machine_words(records),
        code=commit_words(records),
    )


def _evidence(
    config: Config, results: Path, reports: Path, ablations: Mapping[str, Resolved]
) -> Evidence:
    rows = [row for resolved in ablations.values() for row in resolved.rows]
    selected = select(config, gather(results), rows)
    return Evidence(config, selected, read_published(reports / "published"), ablations)


def _write_companions(shown: list[Section], out: Path) -> None:
    """Each table as LaTeX, each panel as SVG, and what else a section has."""
    for section in shown:
        for name, text in section.files.items():
            write_text(out / name, text)
        for view in section.tables:
            write_text(out / f"{view.table.name}.tex", to_latex(view.table, view.caption.text))
        for panel in section.panels:
            write_text(out / f"figures/{panel.name}.svg", standalone(panel))
            write_bytes(out / f"figures/{panel.name}.pdf", to_pdf(panel))


def _beside(shown: list[Section]) -> list[PagePicture]:
    """Pictures that lie beside the page: none where all fit into it."""
    pictures = [picture for section in shown for picture in section.pictures]
    return [] if fits(pictures) else pictures


def _breakable(text: str) -> Markup:
    """A metric signature may break after each bar."""
    return Markup("|<wbr>").join(text.split("|"))


def _number(value: float) -> str:
    """For scripts to sort by: JavaScript's spelling."""
    return f"{value:.6g}" if math.isfinite(value) else f"{'-' * (value < 0)}Infinity"

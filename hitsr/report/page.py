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

from hitsr.base.files import visible, write_bytes, write_text
from hitsr.plan.planning import Plan
from hitsr.records import TrainingRecord
from hitsr.report.abstract import abstract
from hitsr.report.budget import Budget, budget_of
from hitsr.report.courses import doubtful_lines
from hitsr.report.csv_tables import frames, to_csv
from hitsr.report.embedding import PagePicture, data_uri, fits, relative_uri, write_beside
from hitsr.report.evidence import Evidence, Resolved
from hitsr.report.explorer import explorer_data
from hitsr.report.facts import facts_of
from hitsr.report.gather import gather
from hitsr.report.index import Summary
from hitsr.report.latex import to_latex
from hitsr.report.names import family_key, label, role_of, short_label
from hitsr.report.published import read_published
from hitsr.report.section import Section
from hitsr.report.sections import protocol_section, sections
from hitsr.report.sections.ablations import ablation_finding, ablations_section
from hitsr.report.sections.provenance import commit_words, machine_words, work_words
from hitsr.report.svg import inline, standalone, to_pdf
from hitsr.report.templating import fill
from hitsr.report.typeset import counted, size
from hitsr.specs.ablation import Ablation
from hitsr.specs.claims import read_claims

_SCRIPTS = ("script.js", "pictures.js")


def render(
    plan: Plan, reports: Path, out: Path, ablations: Mapping[str, Ablation] = MappingProxyType({})
) -> tuple[Path, list[str]]:
    """Write `out`/index.html, *.csv, *.tex, figures/*.svg and *.pdf and, if need be, pictures/.

    Each is written whole or not at all, the page last. Returns the page, and a sentence about each
    job that failed and each file of the results that cannot be used, which the page says too.

    `reports` holds templates/, published/ and claims.yaml; `ablations` are those of the plan's
    config, by name. What was not measured, or cannot be used, is shown as "not run". DataError for
    an unreadable picture, template, claim or published table, OSError where nothing can be written.
    """
    evidence = evidence_of(plan, reports, ablations)
    budget = budget_of(evidence)
    page = Page(
        evidence, budget, plan.config.title, abstract(evidence, budget), sections(evidence, budget)
    )
    comparisons = [path.name for path in visible(out, "compare*.html")]
    html = to_html(page, reports / "templates", comparisons)
    for name, frame in frames(evidence).items():
        write_text(out / f"{name}.csv", to_csv(frame))
    _write_companions(page.sections, out)
    summary(page).save(out)
    write_beside(page.beside, out)
    write_text(out / "index.html", html)
    return out / "index.html", evidence.results.told


def render_ablation(
    plan: Plan, reports: Path, out: Path, name: str, ablation: Ablation
) -> tuple[Path, list[str]]:
    """Write one ablation alone: `out`/<name>.html, its table as LaTeX, its figures as SVG and PDF.

    Returns and raises as `render` does.
    """
    alone = replace(plan, config=plan.config.model_copy(update={"ablations": (name,)}))
    evidence = evidence_of(alone, reports, {name: ablation})
    budget = budget_of(evidence)
    finding = ablation_finding(evidence, evidence.ablations[name])
    shown = [ablations_section(evidence, budget), protocol_section()]
    page = Page(evidence, budget, ablation.question, [finding], shown)
    html = to_html(page, reports / "templates")
    _write_companions(shown, out)
    write_text(out / f"{name}.html", html)
    return out / f"{name}.html", evidence.results.told


class Page(NamedTuple):
    """A page before it is laid out."""

    evidence: Evidence
    budget: Budget
    title: str
    abstract: list[str]
    sections: list[Section]

    @property
    def beside(self) -> list[PagePicture]:
        """Pictures that lie beside the page: none where all fit into it."""
        pictures = [picture for section in self.sections for picture in section.pictures]
        return [] if fits(pictures) else pictures


def to_html(page: Page, templates: Path, comparisons: Sequence[str] = ()) -> str:
    """The page; `comparisons` are pages of `hitsr compare` that lie beside it."""
    address = relative_uri if page.beside else data_uri
    of_names = (label, short_label, family_key, role_of)
    of_records = (commit_words, machine_words, work_words)
    filters = {
        **{word.__name__: word for word in (counted, size, *of_names, *of_records)},
        "inline": inline,
        "breakable": _breakable,
        "number": _number,
        "address": address,
        "explorer_data": partial(explorer_data, address=address),
    }
    values = {
        **page._asdict(),
        "config": page.evidence.config,
        "records": page.evidence.results.records,
        "problems": page.evidence.results.problems,
        "failed": list(page.evidence.results.failed.values()),
        "doubtful": doubtful_lines(page.evidence.results.of(TrainingRecord)),
        "beside": bool(page.beside),
        "comparisons": comparisons,
    }
    return fill(templates, "page.html", values, filters, _SCRIPTS)


def summary(page: Page) -> Summary:
    config, records = page.evidence.config, page.evidence.results.records
    return Summary(
        name=config.name,
        title=page.title,
        networks=tuple(label(network) for network in page.evidence.networks),
        scales=config.scales,
        tested=tuple(page.evidence.set_name(dataset) for dataset in config.data.test),
        budget=page.budget.steps + (", reduced in size" if page.budget.reduction else ""),
        abstract=tuple(page.abstract),
        records=len(records),
        machine=machine_words(records),
        code=commit_words(records),
    )


def evidence_of(
    plan: Plan, reports: Path, ablations: Mapping[str, Ablation] = MappingProxyType({})
) -> Evidence:
    """Read all that a page is written from; raises as `render` does."""
    results, published = gather(plan), read_published(reports / "published")
    return Evidence(
        plan=plan,
        results=results,
        published=published,
        facts=facts_of(results, published),
        ablations={
            name: Resolved(ablation, plan.ablations[name]) for name, ablation in ablations.items()
        },
        claims=read_claims(reports / "claims.yaml"),
    )


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


def _breakable(text: str) -> Markup:
    """A metric signature may break after each bar."""
    return Markup("|<wbr>").join(text.split("|"))


def _number(value: float) -> str:
    """For scripts to sort by: JavaScript's spelling."""
    return f"{value:.6g}" if math.isfinite(value) else f"{'-' * (value < 0)}Infinity"

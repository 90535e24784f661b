"""Render the report: one self-contained page, its tables as CSV and LaTeX, its figures as SVG.

The page is a function of the config, the records, the published numbers and the templates: the same
of these give the same bytes. Where its pictures are too many for one file, they lie beside it.
"""

import base64
import math
import re
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from types import MappingProxyType

from jinja2 import Environment, FileSystemLoader, StrictUndefined, TemplateError
from markupsafe import Markup

from hitsr.ablation import Resolved
from hitsr.config import Config
from hitsr.errors import DataError
from hitsr.files import write_text
from hitsr.report.abstract import abstract
from hitsr.report.budget import Budget, budget_of
from hitsr.report.embedding import PagePicture, data_uri, fits, relative_uri, write_beside
from hitsr.report.explorer import explorer_data
from hitsr.report.gather import gather, select
from hitsr.report.latex import to_latex
from hitsr.report.measures import Evidence
from hitsr.report.names import family_key, label, role_of
from hitsr.report.published import read_published
from hitsr.report.section import Section
from hitsr.report.sections import sections
from hitsr.report.sections.provenance import commit_words, machine_words, work_words
from hitsr.report.svg import inline, standalone
from hitsr.report.tables import frames, to_csv, with_quotes
from hitsr.report.typeset import counted, size

_SCRIPTS = ("script.js", "pictures.js")


def render(
    config: Config,
    results: Path,
    reports: Path,
    out: Path,
    ablations: Mapping[str, Resolved] = MappingProxyType({}),
) -> None:
    """Write `out`/index.html, *.csv, *.tex, figures/*.svg and, if need be, pictures/.

    Each is written whole or not at all, the page last.

    `results` is a results folder such as results/demo; `reports` holds templates/ and published/.
    What was not measured is shown as "not run". RecordError for a damaged or outdated record,
    DataError for an unreadable picture, template or published table, OSError where nothing can be
    written.
    """
    rows = [row for resolved in ablations.values() for row in resolved.rows]
    selected = select(config, gather(results), rows)
    evidence = Evidence(config, selected, read_published(reports / "published"), ablations)
    budget = budget_of(evidence)
    shown = sections(evidence, budget)
    page = to_html(evidence, budget, shown, reports / "templates")
    for name, text in companions(evidence, shown).items():
        write_text(out / name, text)
    write_beside(_beside(shown), out)
    write_text(out / "index.html", page)


def to_html(evidence: Evidence, budget: Budget, shown: list[Section], templates: Path) -> str:
    beside = bool(_beside(shown))
    address = relative_uri if beside else data_uri
    environment = Environment(
        loader=FileSystemLoader(templates),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    words = (counted, size, label, family_key, role_of, commit_words, machine_words, work_words)
    environment.filters.update({filter.__name__: filter for filter in words})
    environment.filters.update(inline=inline, breakable=_breakable, number=_number)
    environment.filters.update(
        address=address, explorer_data=partial(explorer_data, address=address)
    )
    try:
        return environment.get_template("page.html").render(
            config=evidence.config,
            records=evidence.results.records,
            budget=budget,
            abstract=abstract(evidence, budget),
            sections=shown,
            beside=beside,
            style=Markup(embedded(templates / "style.css")),
            script=Markup("".join((templates / name).read_text() for name in _SCRIPTS)),
        )
    except (TemplateError, OSError) as error:
        raise DataError(f"{templates}: {error!r}; restore it from the repository") from error


def companions(evidence: Evidence, shown: list[Section]) -> dict[str, str]:
    """The files beside the page, by name: each table as CSV and LaTeX, each panel as SVG."""
    made = {
        f"{name}.csv": to_csv(with_quotes(name, frame, evidence.published))
        for name, frame in frames(evidence.results).items()
    }
    for section in shown:
        for view in section.tables:
            made[f"{view.table.name}.tex"] = to_latex(view.table, view.caption.text)
        for panel in section.panels:
            made[f"figures/{panel.name}.svg"] = standalone(panel)
    return made


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


def embedded(style: Path) -> str:
    """The style sheet with its fonts as data URIs."""

    def data_uri(match: re.Match[str]) -> str:
        font = (style.parent / match.group(1)).read_bytes()
        return f"url(data:font/woff2;base64,{base64.b64encode(font).decode()})"

    return re.sub(r'url\("([^"]+\.woff2)"\)', data_uri, style.read_text())

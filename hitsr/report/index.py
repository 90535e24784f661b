"""One page over the reports of a folder: what each run was, what it found, and where to read on.

A report leaves a summary beside it; the index reads no records. It says no date: the same summaries
give the same bytes.
"""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, Self

from hitsr.base.errors import DataError, SpecError
from hitsr.base.files import visible, write_text
from hitsr.base.values import Value
from hitsr.report.templating import fill
from hitsr.report.typeset import counted, listed
from hitsr.specs.network import Scale

_FILE = "summary.json"
_RECORDS = ("records/*/*.json", "weights/*/record.json")


class Summary(Value):
    """What an index says of a report; lies beside it."""

    name: str  # of the config
    title: str
    networks: tuple[str, ...]
    scales: tuple[Scale, ...]
    tested: tuple[str, ...]  # sets
    budget: str  # "900 of 500 000 iterations, reduced in size"
    abstract: tuple[str, ...]  # sentences
    records: int
    machine: str
    code: str

    def save(self, report: Path) -> None:
        write_text(report / _FILE, self.to_json())

    @classmethod
    def load(cls, report: Path) -> Self | None:
        """None if the folder holds no report; DataError for another version's summary."""
        try:
            return cls.read(report / _FILE) if (report / _FILE).is_file() else None
        except SpecError as error:
            raise DataError(f"{error}; rerun `hitsr report`") from None


class Entry(NamedTuple):
    """A results folder; without a summary, it has no report yet."""

    folder: str
    records: int  # files
    summary: Summary | None
    pages: tuple[str, ...]  # comparisons and single ablations, relative to the index


def write_index(results: Path, templates: Path) -> None:
    """Write `results`/index.html. DataError for a summary or template that cannot be read."""
    found = runs(results)
    finished = sum(entry.summary is not None for entry in found)
    values = {
        "heading": f"{counted(finished, 'report')} of {counted(len(found), 'run')}",
        "runs": found,
        "comparisons": [page.name for page in visible(results, "compare*.html")],
    }
    filters: dict[str, Callable[..., str]] = {"listed": listed, "counted": counted}
    write_text(results / "index.html", fill(templates, "index.html", values, filters))


def runs(results: Path) -> list[Entry]:
    """Folders in `results` with a report or records, by name."""
    found = [_entry(folder) for folder in visible(results, "*") if folder.is_dir()]
    return [entry for entry in found if entry.summary or entry.records]


def _entry(folder: Path) -> Entry:
    report = folder / "report"
    pages = [*visible(report, "compare*.html"), *visible(report, "ablations/*.html")]
    return Entry(
        folder=folder.name,
        records=sum(len(visible(folder, kind)) for kind in _RECORDS),
        summary=Summary.load(report),
        pages=tuple(page.relative_to(folder.parent).as_posix() for page in pages),
    )

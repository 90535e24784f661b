"""Section: commands, code, versions, machine, durations, and what is missing."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

from hitsr.records import Provenance, Record
from hitsr.report.cells import Cell, Column, Group, Row, Table, here
from hitsr.report.gather import missing
from hitsr.report.measures import Evidence
from hitsr.report.panels import Panel
from hitsr.report.sections.captions import TableView
from hitsr.report.typeset import counted, listed
from hitsr.report.words import commit_words, machine_words, work_words

Facts = list[tuple[str, list[str]]]  # term, lines

_SHOWN = 4  # names of missing results before "and n more"


class Job(NamedTuple):
    name: str
    extent: str


@dataclass(frozen=True)
class ProvenanceSection:
    key: ClassVar[str] = "provenance"
    nav: ClassVar[str] = "Provenance"
    heading: ClassVar[str] = "Where every number comes from"
    tables: ClassVar[list[TableView]] = []
    panels: ClassVar[list[Panel]] = []
    commit: str | None  # None: no single clean commit made all records
    command: str
    columns: list[Facts]
    jobs: list[Job]
    records: Table


def provenance_section(evidence: Evidence) -> ProvenanceSection:
    commit = _single_commit(evidence.results.records)
    return ProvenanceSection(
        commit=commit,
        command=_command(evidence, commit),
        columns=[_sources(evidence), _circumstances(evidence)],
        jobs=_jobs(evidence),
        records=_records(evidence),
    )


def _command(evidence: Evidence, commit: str | None) -> str:
    rerun = f"snakemake --configfile configs/{evidence.config.name}.yaml"
    return f"git checkout {commit} && {rerun}" if commit else rerun


def _single_commit(records: list[Record]) -> str | None:
    """The clean commit that all records come from, if there is one."""
    codes = {(record.provenance.commit, record.provenance.dirty) for record in records}
    commit, dirty = codes.pop() if len(codes) == 1 else (None, None)
    return None if dirty else commit


def _sources(evidence: Evidence) -> Facts:
    config, results = evidence.config, evidence.results
    signatures = dict.fromkeys(
        signature
        for record in results.quality.values()
        for _, signature in sorted(record.signatures.items())
    )
    return [
        ("code", [commit_words(_provenances(results.records))]),
        ("configuration", [f"configs/{config.name}.yaml, content {config.hash}"]),
        ("metrics", list(signatures) or ["not run"]),
        ("quoted from", evidence.published.sources(config.networks) or ["nothing"]),
    ]


def _circumstances(evidence: Evidence) -> Facts:
    results = evidence.results
    trainings = [training.record for training in results.training.values()]
    measured = [r for r in results.records if r.KIND != "training"]
    return [
        ("versions", _versions(results.records)),
        ("machine", [machine_words(_provenances(results.records))]),
        (
            "durations",
            [
                f"training {work_words(_provenances(trainings))}",
                f"measuring {work_words(_provenances(measured))}",
            ],
        ),
        ("seeds", [", ".join(map(str, evidence.config.train.seeds))]),
        ("not there", _missing(evidence)),
    ]


def _missing(evidence: Evidence) -> list[str]:
    absent = missing(evidence.config, evidence.results)
    return [
        f"{kind}, {len(names)} not run: {listed(_shortened(names))}"
        for kind, names in absent.items()
    ] or ["nothing: every job of this configuration has its record"]


def _shortened(names: list[str]) -> list[str]:
    if len(names) <= _SHOWN:
        return names
    return [*names[:_SHOWN], f"{len(names) - _SHOWN} more"]


def _versions(records: list[Record]) -> list[str]:
    """Each package once; with all its versions where records disagree."""
    found: dict[str, set[str]] = {}
    for provenance in _provenances(records):
        for package, version in provenance.versions.items():
            found.setdefault(package, set()).add(version)
    words = [f"{package} {' or '.join(sorted(found[package]))}" for package in sorted(found)]
    return [", ".join(words)] if words else ["not run"]


def _jobs(evidence: Evidence) -> list[Job]:
    """The chain of work, each link with its number of records and their summed time."""
    results = evidence.results
    trainings = [training.record for training in results.training.values()]
    chains: list[tuple[str, list[Record]]] = [
        ("train", list(trainings)),
        ("restore, quality", list(results.quality.values())),
        ("complexity", list(results.complexity.values())),
        ("latency", list(results.latency.values())),
    ]
    jobs = [
        Job(name, f"{counted(len(records), 'record')}, {work_words(_provenances(records))}")
        for name, records in chains
        if records
    ]
    total = counted(len(results.records), "record")
    return [*jobs, Job("collect", total), Job("report", "this page")]


def _records(evidence: Evidence) -> Table:
    columns = (
        Column("time", "s"),
        Column("threads"),
        Column("device"),
        Column("command", is_text=True),
    )
    rows = tuple(
        Row(
            f"{record.KIND}, {record.subject}",
            "ctl",
            None,
            (
                here(record.provenance.seconds, 1),
                here(record.provenance.threads),
                Cell(text=record.provenance.device),
                Cell(text=record.provenance.command, kind="text"),
            ),
        )
        for record in evidence.results.records
    )
    return Table("records", "Records", "Record", columns, (Group("", rows),))


def _provenances(records: Iterable[Record]) -> list[Provenance]:
    return [record.provenance for record in records]

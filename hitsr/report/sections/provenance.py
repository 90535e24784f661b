"""Section: commands, code, versions, machine, durations, and what is missing."""

from collections.abc import Sequence

import yaml

from hitsr.records import Record
from hitsr.report.cells import Cell, Column, Row, Table, here, listing
from hitsr.report.gather import missing
from hitsr.report.jobs import drawn, jobs
from hitsr.report.measures import Evidence
from hitsr.report.section import Section
from hitsr.report.typeset import duration, listed
from hitsr.specs.config import Config

_SHOWN = 4  # names of missing results before "and n more"


def provenance_section(evidence: Evidence) -> Section:
    config, results = evidence.config, evidence.results
    signatures = dict.fromkeys(
        signature
        for record in results.quality.values()
        for _, signature in sorted(record.signatures.items())
    )
    measured = [record for record in results.records if record.KIND != "training"]
    commit, seeds = _single_commit(results.records), config.train.seeds if config.train else ()
    rerun = f"snakemake --configfile configs/{config.name}.yaml"
    return Section(
        key="provenance",
        nav="Provenance",
        heading="Where every number comes from",
        parts={
            "commit": commit,
            "command": f"git checkout {commit} && {rerun}" if commit else rerun,
            "sources": {
                "code": [commit_words(results.records)],
                "configuration": [f"configs/{config.name}.yaml, content {config.hash}"],
                "metrics": list(signatures) or ["not run"],
                "quoted from": evidence.published.sources(config.networks) or ["nothing"],
            },
            "circumstances": {
                "versions": [_versions(results.records)],
                "machine": [machine_words(results.records)],
                "durations": [
                    f"training {work_words(results.trainings)}",
                    f"measuring {work_words(measured)}",
                ],
                "seeds": [", ".join(map(str, seeds)) or "nothing trained"],
                "not there": _missing(evidence),
            },
            "jobs": drawn(jobs(evidence)),
            "config": to_yaml(config),
            "records": _records(results.records),
        },
    )


def to_yaml(config: Config) -> str:
    """The whole of it, defaults too, as a file that makes the same config."""
    data = config.model_dump(mode="json")
    return str(yaml.safe_dump(data, sort_keys=False, allow_unicode=True, default_flow_style=None))


def machine_words(records: Sequence[Record]) -> str:
    """Devices by name, with the threads their jobs used."""
    threads: dict[str, set[int]] = {}
    for provenance in (record.provenance for record in records):
        threads.setdefault(provenance.device_name, set()).add(provenance.threads)
    machines = (
        f"{name}, {' or '.join(map(str, sorted(used)))} thread{'s' * (used != {1})}"
        for name, used in sorted(threads.items())
    )
    return "; ".join(machines) or "not run"


def work_words(records: Sequence[Record]) -> str:
    """Their durations, summed."""
    return duration(sum(r.provenance.seconds for r in records)) if records else "not run"


def commit_words(records: Sequence[Record]) -> str:
    """Short commits of the code that measured, and whether it differed from them."""
    codes = dict.fromkeys((r.provenance.commit, r.provenance.dirty) for r in records)
    words = (
        f"{commit[:10]}, {'with uncommitted changes' if dirty else 'clean'}"
        if commit
        else "outside a git checkout"
        for commit, dirty in codes
    )
    return "; ".join(words) or "not run"


def _single_commit(records: Sequence[Record]) -> str | None:
    """The clean commit that all records come from, if there is one."""
    codes = {(record.provenance.commit, record.provenance.dirty) for record in records}
    commit, dirty = codes.pop() if len(codes) == 1 else (None, None)
    return None if dirty else commit


def _missing(evidence: Evidence) -> list[str]:
    lines = []
    for kind, names in missing(evidence.config, evidence.results).items():
        more = len(names) - _SHOWN
        shown = [*names[:_SHOWN], f"{more} more"] if more > 0 else names
        lines.append(f"{kind}, {len(names)} not run: {listed(shown)}")
    return lines or ["nothing: every job of this configuration has its record"]


def _versions(records: Sequence[Record]) -> str:
    """Each package once; with all its versions where records disagree."""
    found: dict[str, set[str]] = {}
    for record in records:
        for package, version in record.provenance.versions.items():
            found.setdefault(package, set()).add(version)
    words = (f"{package} {' or '.join(sorted(found[package]))}" for package in sorted(found))
    return ", ".join(words) or "not run"


def _records(records: Sequence[Record]) -> Table:
    columns = [
        Column("time", "s"),
        Column("threads"),
        Column("device"),
        Column("command", is_text=True),
    ]
    return listing("records", "Record", columns, map(_record_row, records))


def _record_row(record: Record) -> Row:
    provenance = record.provenance
    cells = (
        here(provenance.seconds, 1),
        here(provenance.threads),
        Cell(text=provenance.device),
        Cell(text=provenance.command, kind="text"),
    )
    return Row(f"{record.KIND}, {record.subject}", cells)

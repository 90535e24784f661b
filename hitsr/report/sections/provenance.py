"""Section: commands, code, versions, machine, durations, and what is missing."""

from collections.abc import Sequence

import yaml

from hitsr.base.values import Value
from hitsr.records import AttributionRecord, QualityRecord, Record, TrainingRecord
from hitsr.report.cells import Cell, Column, Row, Table, here, listing
from hitsr.report.courses import course_lines, doubtful_lines
from hitsr.report.evidence import Evidence
from hitsr.report.facts import PAPER
from hitsr.report.job_graph import drawn, job_groups
from hitsr.report.section import Section
from hitsr.report.typeset import counted, duration, listed
from hitsr.specs.config import Config

_SHOWN = 4  # names of missing results before "and n more"


def provenance_section(evidence: Evidence) -> Section:
    config, results = evidence.config, evidence.results
    signatures = dict.fromkeys(
        signature
        for record in results.of(QualityRecord)
        for _, signature in sorted(record.signatures.items())
    )
    measured = [record for record in results.records if record.KIND != "training"]
    commit, seeds = _single_commit(results.records), config.train.seeds if config.train else ()
    trainings = results.of(TrainingRecord)
    told = {
        "trainings": course_lines(trainings, _SHOWN),
        "doubtful trainings": doubtful_lines(trainings),
    }
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
                "quoted from": _sources(evidence),
            },
            "circumstances": {
                "versions": [_versions(results.records)],
                "machine": [machine_words(results.records)],
                "durations": [
                    f"training {work_words(results.of(TrainingRecord))}",
                    f"measuring {work_words(measured)}",
                ],
                "seeds": [", ".join(map(str, seeds)) or "nothing trained"],
                **{term: lines for term, lines in told.items() if lines},
                "not there": _missing(evidence),
                **_unknown_origin(results.records),
            },
            "jobs": drawn(job_groups(evidence)),
            "config": to_yaml(config),
            "records": _records(results.records),
        },
    )


def to_yaml(config: Config) -> str:
    """The whole of it, defaults too, as a file that makes the same config."""
    data = config.model_dump(mode="json")
    return str(yaml.safe_dump(data, sort_keys=False, allow_unicode=True, default_flow_style=None))


def machine_words(records: Sequence[Record]) -> str:
    """Devices by name, with the threads their jobs used; of trainings, those of all sessions."""
    threads: dict[str, set[int]] = {}
    for record in records:
        sessions = record.sessions if isinstance(record, TrainingRecord) else ()
        for place in [session.place for session in sessions] or [record.provenance.device_name]:
            threads.setdefault(place, set()).add(record.provenance.threads)
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
    states = {True: ", with uncommitted changes", False: ", clean", None: ""}
    words = (
        f"{commit[:10]}{states[dirty]}" if commit else "outside a git checkout"
        for commit, dirty in _codes(records)
    )
    return "; ".join(words) or "not run"


def _single_commit(records: Sequence[Record]) -> str | None:
    """The clean commit that all records come from, if there is one."""
    codes = _codes(records)
    commit, dirty = codes[0] if len(codes) == 1 else (None, None)
    return None if dirty else commit


def _codes(records: Sequence[Record]) -> list[tuple[str | None, bool | None]]:
    """Commits, and whether the code differed from them, each once.

    Of a training also those of earlier sessions, of which only the commit is known.
    """
    found: dict[tuple[str | None, bool | None], None] = {}
    for record in records:
        made = record.provenance
        found[made.commit, made.dirty] = None
        sessions = record.sessions if isinstance(record, TrainingRecord) else ()
        for session in sessions:
            if session.commit != made.commit:
                found[session.commit, None] = None
    return list(found)


def _sources(evidence: Evidence) -> list[str]:
    """The distinct sources of what is quoted about the config's networks."""
    networks = evidence.config.networks
    rows = (row for row in evidence.facts.rows if row.speaker == PAPER and row.network in networks)
    trainings = evidence.results.of(TrainingRecord)
    gates = (result.gate.source for record in trainings for result in record.gates)
    return list(dict.fromkeys([*(row.source for row in rows), *gates])) or ["nothing"]


def _missing(evidence: Evidence) -> list[str]:
    """Jobs that were not run, by their verb; those that failed; files that cannot be used."""
    by_kind: dict[str, list[str]] = {}
    for job in evidence.results.missing:
        if job.output in evidence.results.failed:
            continue
        by_kind.setdefault(job.kind.replace("_", "-"), []).append(job.name)
    lines = []
    for kind, names in by_kind.items():
        more = len(names) - _SHOWN
        shown = [*names[:_SHOWN], f"{more} more"] if more > 0 else names
        lines.append(f"{kind}, {len(names)} not run: {listed(shown)}")
    lines += evidence.results.told
    return lines or ["nothing: every job of this report has its output"]


def _unknown_origin(records: Sequence[Record]) -> dict[str, list[str]]:
    """How many records name no hashes of their files; nothing where all do."""
    old = sum(map(_names_no_files, records))
    if not old:
        return {}
    said = f"{counted(old, 'record')} of an earlier version, without hashes of pictures, maps, logs"
    return {"origin unknown": [f"{said}: whether these were replaced cannot be told"]}


def _names_no_files(record: Record) -> bool:
    parts: Sequence[Value] = ()
    match record:
        case QualityRecord():
            parts = record.pictures
        case AttributionRecord():
            parts = record.windows
        case TrainingRecord():
            parts = (record,)
    hashes = (value for part in parts for name, value in part if name.endswith("_sha256"))
    return None in hashes


def _versions(records: Sequence[Record]) -> str:
    """Each package once; with all its versions where records disagree."""
    found: dict[str, set[str]] = {}
    for record in records:
        for package, version in record.provenance.versions.items():
            found.setdefault(package, set()).add(version)
    words = (f"{package} {' or '.join(sorted(found[package]))}" for package in sorted(found))
    return ", ".join(words) or "not run"


def _records(records: Sequence[Record]) -> Table:
    columns = (
        Column("time", "s"),
        Column("threads"),
        Column("device"),
        Column("command", is_text=True),
    )
    rows = []
    for record in records:
        made = record.provenance
        numbers = (here(made.seconds, 1), here(made.threads))
        texts = (Cell(text=made.device), Cell(text=made.command, kind="text"))
        rows.append(Row(f"{record.KIND}, {record.subject}", (*numbers, *texts)))
    return listing("records", "Record", columns, rows)

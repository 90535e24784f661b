"""Pack results for an archive with a DOI: an RO-Crate, that is, files and one file that says what
they are.

Metadata follow RO-Crate 1.1 and the profile Workflow Run Crate 0.5. Paths in a crate are those of a
working folder, so that what is unpacked is verified and reported as it was where it was made. The
same files and options give the same bytes.
"""

import json
import os
import re
import shutil
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import IO, NamedTuple, Self, TypeVar
from urllib.parse import quote

from rocrate.model.contextentity import ContextEntity
from rocrate.model.entity import Entity
from rocrate.rocrate import ROCrate

from hitsr.base.errors import SpecError
from hitsr.base.files import replacing, sha256, visible
from hitsr.base.progress import Progress
from hitsr.plan.jobs import Job
from hitsr.plan.layout import Layout, file_name
from hitsr.plan.manifest import artefacts, manifest_line
from hitsr.records import DatasetRecord, Record
from hitsr.specs.config import Config
from hitsr.specs.source import read_source

T = TypeVar("T")

METADATA = "ro-crate-metadata.json"
WORKFLOW = "workflow/Snakefile"
_TERMS = "https://w3id.org/ro/terms/workflow-run/context"  # names `sha256`
_PROFILES = {
    "https://w3id.org/ro/wfrun/process/0.5": "Process Run Crate",
    "https://w3id.org/ro/wfrun/workflow/0.5": "Workflow Run Crate",
    "https://w3id.org/workflowhub/workflow-ro-crate/1.0": "Workflow RO-Crate",
}
_TYPES = {
    ".csv": "text/csv",
    ".html": "text/html",
    ".json": "application/json",
    ".jsonl": "application/jsonl",
    ".log": "text/plain",
    ".pdf": "application/pdf",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".tex": "application/x-tex",
    ".yaml": "application/yaml",
}
_COMPRESSED = (".png", ".pdf", ".safetensors")  # deflate gains little on these
_MANY = 1000  # files, from which on progress is shown
_CHUNK = 2**20  # bytes


class Author(NamedTuple):
    """Who made the results."""

    name: str
    url: str | None  # an ORCID, such as https://orcid.org/0000-0002-1825-0097

    @classmethod
    def parse(cls, text: str) -> Self:
        """ "Ada Lovelace <https://orcid.org/0000-0002-1825-0097>", or a name alone."""
        match = re.fullmatch(r"([^<>]*[^<>\s])(?:\s+<(https?://[^<>\s]+)>)?", text.strip())
        if not match:
            raise SpecError(
                f"--author {text!r}: must be a name, and may have an address after it, such as "
                "'Ada Lovelace <https://orcid.org/0000-0002-1825-0097>'"
            )
        return cls(*match.groups())


class License(NamedTuple):
    """On what terms others may use the results."""

    name: str
    url: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """ "CC-BY-4.0", or the address of a licence."""
        if re.fullmatch(r"https?://[^<>\s]+", text):
            return cls(text, text)
        if re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9.+-]*", text):
            return cls(text, f"https://spdx.org/licenses/{text}")
        raise SpecError(
            f"--license {text!r}: must be an identifier of https://spdx.org/licenses, such as "
            "CC-BY-4.0, or an address"
        )


class Described(NamedTuple):
    """What people say of an archive."""

    authors: tuple[Author, ...]
    license: License
    published: date
    title: str
    abstract: str
    machine: str  # in words


class Chosen(NamedTuple):
    """Which of the large files are packed."""

    weights: bool
    pictures: bool  # SR pictures

    def leaves_out(self, name: str) -> bool:
        """Whether a file of a results folder is not packed; checkpoints never are."""
        first, *rest = name.split("/")
        is_weights = first == "weights" and rest[-1] == "weights.safetensors"
        return (
            (first == "pictures" and not self.pictures)
            or (is_weights and not self.weights)
            or (first == "weights" and "checkpoints" in rest)
        )


class Content(NamedTuple):
    """The files of a crate by their place in it, and its results folder."""

    files: Mapping[str, Path]
    results: str  # "results/demo"


def content_of(
    layout: Layout, config: Config, chosen: Chosen, folders: Mapping[str, Sequence[Path]]
) -> Content:
    """Choose the files: results, the code of users' own networks, and other folders by name.

    Of files with the same name in several folders of one name, the last one is packed.
    """
    place = config.folder.as_posix()
    own = (read_source(each.source).file for each in config.own.values())
    code = [file for file in own if file and file.suffix == ".py" and file.is_file()]
    files = {
        f"{place}/{name}": layout.results / name
        for name in artefacts(layout)
        if not chosen.leaves_out(name)
    }
    for name, folder in ((name, each) for name, several in folders.items() for each in several):
        found = (file for file in visible(folder, "**/*") if file.is_file())
        files |= {f"{name}/{file.relative_to(folder).as_posix()}": file for file in found}
    files |= {f.as_posix(): f for f in code if not f.is_absolute() and ".." not in f.parts}
    return Content(dict(sorted(files.items())), place)


def naming_folders(files: Mapping[str, Path], folders: Iterable[Path]) -> list[str]:
    """The packed files, but for pictures and weights, in which one of these folders is named."""
    absolute = (each for each in folders if each.is_absolute() and each != Path(each.anchor))
    sought = [os.fsencode(folder) for folder in absolute]
    texts = (n for n in files if not n.endswith((*_COMPRESSED, ".npy")))
    return [n for n in texts if any(folder in files[n].read_bytes() for folder in sought)]


def pack(
    content: Content,
    out: Path,
    described: Described,
    jobs: Sequence[Job],
    records: Sequence[Record],
) -> int:
    """Write the crate: a zip file if `out` ends in .zip, else a new folder; returns its files.

    SpecError if there is something at `out` already, unless it is a file to be replaced.
    """
    if out.is_dir() and (out.suffix == ".zip" or any(out.iterdir())):
        raise SpecError(f"{out}: is there already; delete it, or name another with --out")
    digests = {name: sha256(file) for name, file in _shown(content.files, "hash")}
    made: dict[str, bytes | Path] = dict(content.files)
    inside = {
        name.removeprefix(f"{content.results}/"): digest
        for name, digest in digests.items()
        if name.startswith(f"{content.results}/")
    }
    manifest = Layout(Path(content.results)).manifest.as_posix()
    made[manifest] = b"".join(manifest_line(*each) for each in inside.items())
    crate = describe(content, digests, described, jobs, records)
    made[METADATA] = json.dumps(crate, indent=2, sort_keys=True, ensure_ascii=False).encode()
    ordered = dict(sorted(made.items()))
    if out.suffix == ".zip":
        with replacing(out) as temporary, zipfile.ZipFile(temporary, "w") as archive:
            for name, data in _shown(ordered, "pack"):
                # Without a date, the entry has that of ZIP's first day; all bits are set here.
                entry = zipfile.ZipInfo(name)
                entry.external_attr = 0o100644 << 16
                is_small = not name.endswith(_COMPRESSED)
                entry.compress_type = zipfile.ZIP_DEFLATED if is_small else zipfile.ZIP_STORED
                with archive.open(entry, "w", force_zip64=True) as target:
                    _copy(data, target)
        return len(ordered)
    for name, data in _shown(ordered, "pack"):
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        with (out / name).open("wb") as target:
            _copy(data, target)
    return len(ordered)


def _copy(data: bytes | Path, target: IO[bytes]) -> None:
    if isinstance(data, bytes):
        target.write(data)
        return
    with data.open("rb") as source:
        shutil.copyfileobj(source, target, _CHUNK)


def _shown(files: Mapping[str, T], verb: str) -> Iterator[tuple[str, T]]:
    """The files, with progress if they are many."""
    with Progress(verb, len(files), "file", quiet=len(files) < _MANY) as progress:
        for entry in files.items():
            yield entry
            progress.advance()


def describe(
    content: Content,
    digests: Mapping[str, str],
    described: Described,
    jobs: Sequence[Job],
    records: Sequence[Record],
) -> dict[str, object]:
    """The metadata of a crate, as JSON-LD. `digests` holds the SHA-256 of its files."""
    crate = ROCrate(version="1.1")
    crate.metadata.extra_contexts.append(_TERMS)
    root, folder = crate.root_dataset, f"{content.results}/"
    authors = [
        _add(crate, author.url or f"#author-{number}", "Person", name=author.name)
        for number, author in enumerate(described.authors, 1)
    ]
    licence = _add(crate, described.license.url, "CreativeWork", name=described.license.name)
    ours = License.parse("Apache-2.0")  # of the pipeline’s files
    apache = _add(crate, ours.url, "CreativeWork", name=ours.name)
    profiles = [
        _add(crate, url, "CreativeWork", name=name, version=url.rpartition("/")[2])
        for url, name in _PROFILES.items()
    ]
    workflow = crate.add_workflow(
        dest_path=WORKFLOW,
        main=True,
        lang="snakemake",
        properties={"name": "The pipeline of hitsr", **_of_file(content, digests, WORKFLOW)},
    )
    workflow["license"] = apache
    workflow["softwareRequirements"] = list(_software(crate, records))
    files = {WORKFLOW: workflow}
    for name in content.files:
        if name != WORKFLOW:
            files[name] = crate.add_file(
                dest_path=name, properties=_of_file(content, digests, name)
            )
        if name.startswith("workflow/"):
            files[name]["license"] = apache
    made = [name for name in content.files if name.startswith(folder)]
    results = crate.add_dataset(dest_path=folder, properties={"name": "All results"})
    results["hasPart"] = [files[name] for name in made]
    layout = Layout(Path(content.results))
    config, manifest = layout.config.as_posix(), layout.manifest.as_posix()
    page = files.get((layout.report / "index.html").as_posix())
    about = {"name": "SHA-256 of all results", "encodingFormat": "text/plain"}
    listing = crate.add_file(dest_path=manifest, properties=about)
    given = content.files.keys() - {*made} | {config}
    inputs = [files[name] for name in sorted(given) if not name.startswith("workflow/")]
    run = _add(
        crate,
        "#run",
        "CreateAction",
        name="Run of the pipeline",
        description=f"{described.title}; {described.machine}",
        instrument=workflow,
        agent=authors[0],
        object=[*inputs, *_sets(crate, content, records), *_other_inputs(crate, content, jobs)],
        result=[*filter(None, [page]), listing, results],
    )
    facts = {
        "name": described.title,
        "description": described.abstract or described.title,
        "datePublished": described.published.isoformat(),
        "author": authors,
        "license": licence,
        "conformsTo": profiles,
        "mentions": [run],
    }
    for key, value in facts.items():
        root[key] = value
    if page:
        page["name"] = "The report"
        root["mainEntityOfPage"] = page
    return dict(crate.metadata.generate())


def _add(crate: ROCrate, place: str, kind: str, **properties: object) -> Entity:
    """Add an entity that is no file of the crate."""
    entity = crate.add(ContextEntity(crate, place, properties={"@type": kind}))
    for key, value in properties.items():
        entity[key] = value
    return entity


def _of_file(content: Content, digests: Mapping[str, str], name: str) -> dict[str, str]:
    found = {
        "name": Path(name).name,
        "contentSize": str(content.files[name].stat().st_size),
        "sha256": digests[name],
    }
    kind = _TYPES.get(Path(name).suffix)
    return {**found, "encodingFormat": kind} if kind else found


def _software(crate: ROCrate, records: Iterable[Record]) -> Iterator[Entity]:
    """The packages that numbers depend on, in each version that records name."""
    used = sorted({pair for record in records for pair in record.provenance.versions.items()})
    codes = {(record.provenance.commit, record.provenance.dirty) for record in records}
    words = ", ".join(
        f"commit {commit}{' with changes' if dirty else ''}"
        for commit, dirty in sorted(codes, key=str)
        if commit
    )
    for name, version in used:
        is_public = name not in ("hitsr", "python")
        place = f"https://pypi.org/project/{name}/{version}/" if is_public else f"#{name}-{version}"
        more = {"description": words} if name == "hitsr" and words else {}
        yield _add(crate, place, "SoftwareApplication", name=name, softwareVersion=version, **more)


def _sets(crate: ROCrate, content: Content, records: Iterable[Record]) -> Iterator[Entity]:
    """The sets of pictures: named, and their pictures by the hashes in a record, but not packed."""
    for record in records:
        if isinstance(record, DatasetRecord):
            name = file_name(f"{record.subject}-x{record.scale}")
            place = Layout(Path(content.results)).output("prepare", name).as_posix()
            yield _add(
                crate,
                f"#set-{quote(name)}",
                "CreativeWork",
                name=f"{record.subject}, x{record.scale}",
                description=(
                    f"{len(record.pictures)} pairs of pictures, which are not in this archive; "
                    f"{place} has the sizes and SHA-256 of their files"
                ),
                subjectOf=crate.get(quote(place)) or place,
            )


def _other_inputs(crate: ROCrate, content: Content, jobs: Iterable[Job]) -> Iterator[Entity]:
    """Files that jobs read from elsewhere, such as released weights: by name and hash."""
    read = sorted({path for job in jobs for path in job.inputs.values()})
    for number, path in enumerate(read):
        # An absolute path would tell of folders of this machine, and lead nowhere on others.
        place = f"{number}/{path.name}" if path.is_absolute() else path.as_posix()
        if path.is_relative_to(content.results) or place in content.files:
            continue
        there = path.is_file()
        when = "its SHA-256 is of when the archive was made" if there else "it was not there"
        more = {"sha256": sha256(path)} if there else {}
        description = f"an input, which is not in this archive; {when}"
        yield _add(
            crate,
            f"#input-{quote(place)}",
            "CreativeWork",
            name=path.name,
            description=description,
            **more,
        )

"""Why a record is not used: it says otherwise than its job, or than what lies beside it.

Each function returns words to follow the name of the record's file, with what to do, or nothing.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from hitsr.base.errors import shortened
from hitsr.base.files import sha256
from hitsr.plan.jobs import (
    CountJob,
    Job,
    MapJob,
    PrepareJob,
    QualityJob,
    TimeGrowthJob,
    TimeJob,
    TrainJob,
    device_kind,
)
from hitsr.plan.layout import Layout
from hitsr.plan.subjects import CONTROLS, TrainedNetwork
from hitsr.records import (
    AttributionRecord,
    DatasetRecord,
    QualityRecord,
    Record,
    TrainingRecord,
)
from hitsr.report.dotted import at
from hitsr.specs.network import Scale

_ANEW = "; delete it and rerun"
# Fields that jobs and their records share by name, but in which they say different things.
_OWN = {"subject", "windows", "warmup", "graph", "gates"}
# The least that the luma of two different 8-bit pictures differs in one pixel: a step of blue.
_LEAST_LUMA = 24_966 / 255_000


def contradiction(job: Job, record: Record) -> str:
    """What a record says otherwise than its job: another set, border, output size, device."""
    for path, asked in _asked(job, record).items():
        found = at(record, path)
        if found != asked:
            return f"{path} is {shortened(found)}, but its job asks for {shortened(asked)}{_ANEW}"
    if isinstance(job, TimeJob | TimeGrowthJob):
        places = (job.device, record.provenance.device)
        asked, found = map(device_kind, places)
        if found != asked:
            return f"was measured on {found}, but its job asks for {asked}{_ANEW}"
    if isinstance(job, CountJob) and job.subject.kind == "built" and not at(record, "params"):
        return f"params is 0, which no network of hitsr has{_ANEW}"
    return ""


def _asked(job: Job, record: Record) -> dict[str, Any]:
    """What a record must say of a job, by the path of its field."""
    shared = (type(record).model_fields.keys() & type(job).model_fields.keys()) - _OWN
    asked = {name: getattr(job, name) for name in sorted(shared)}
    if isinstance(job, PrepareJob):
        return asked | {"subject": job.dataset}
    subject = job.run if isinstance(job, TrainJob) else job.subject
    asked["subject"] = subject.name
    if isinstance(job, TrainJob):
        return asked
    named = "method" if isinstance(job, QualityJob) else "network"
    asked |= {"scale": job.subject.scale, named: job.subject.network_name}
    match job:
        case QualityJob():
            asked["border"] = job.subject.scale
        case MapJob():
            asked["settings.steps"] = job.steps
    return asked


def replaced_files(
    layout: Layout, job: Job, record: Record, digest: Callable[[Path], str] = sha256
) -> str:
    """Which files beside a record are not those that it was made with; files may be absent.

    Maps may not: the page shows them. `digest` tells a file's SHA-256.
    """
    expected: list[tuple[Path, str | None]] = []
    if isinstance(record, TrainingRecord):
        expected = [(layout.weights(job.name), record.weights_sha256)]
    elif isinstance(record, QualityRecord):
        folder = layout.output("restore", job.name)
        expected = [(folder / f"{each.name}.png", each.sr_sha256) for each in record.pictures]
    elif isinstance(record, AttributionRecord):
        assert job.output is not None
        folder = job.output.parent
        expected = [(folder / w.channels, w.channels_sha256) for w in record.windows]
        expected += [(folder / w.overlay, w.overlay_sha256) for w in record.windows]
        for path, _ in expected:
            if not path.is_file():
                return f"its map {path.name} is not there{_ANEW}"
    there = [(path, known) for path, known in expected if known and path.is_file()]
    with ThreadPoolExecutor() as pool:  # hashing leaves Python free
        found = pool.map(digest, (path for path, _ in there))
        changed = [path for (path, known), hashed in zip(there, found) if hashed != known]
    if not changed:
        return ""
    more = f" and {len(changed) - 1} more" if len(changed) > 1 else ""
    return f"{changed[0]}{more} changed since; delete {changed[0].parent} and rerun"


def unlike_set(record: Record, sets: Mapping[tuple[str, Scale], DatasetRecord]) -> str:
    """Whether scores or maps are of other pictures than those of the set, or cannot be of them.

    `sets` has prepared sets by name and scale.
    """
    if not isinstance(record, QualityRecord | AttributionRecord):
        return ""
    prepared = sets.get((record.dataset or "", record.scale))
    if prepared is None:
        return ""
    known = {picture.name: picture for picture in prepared.pictures}
    if isinstance(record, QualityRecord):
        names = {picture.name for picture in record.pictures}
        if names != known.keys():
            some = ", ".join(sorted(names ^ known.keys())[:3])
            return f"not the pictures that {record.dataset} was prepared with ({some}){_ANEW}"
        for picture in record.pictures:
            is_copy = picture.psnr_db is None and picture.sr_sha256 == picture.hr_sha256
            if is_copy and record.method not in CONTROLS and picture.sr_sha256:
                return f"{picture.name} is the HR picture itself; delete the SR pictures and rerun"
            if picture.hr_sha256 not in (None, known[picture.name].hr_sha256):
                return f"{picture.name} was scored against another HR than the set has{_ANEW}"
            limit_db = most_psnr_db(*known[picture.name].hr_size)
            if picture.psnr_db is not None and picture.psnr_db > limit_db:
                return (
                    f"{picture.name} has {picture.psnr_db:g} dB, more than the {limit_db:.0f} dB "
                    f"that different 8-bit pictures of its size can have{_ANEW}"
                )
        return ""
    for window in record.windows:
        mapped = known.get(window.picture)
        if mapped is None or mapped.lr_sha256 != window.lr_sha256:
            return f"{window.picture} is another LR picture than the set has{_ANEW}"
    return ""


def most_psnr_db(width: int, height: int) -> float:
    """The PSNR of luma of two pictures of this size, one sample of which differs by one step."""
    return 10 * math.log10(255**2 * width * height / _LEAST_LUMA**2)


# Of results that stand side by side: what must be equal in all of one place, by kind of job.
_Traits = tuple[tuple[str, Callable[[Record], Any]], ...]
_TIMED: _Traits = (
    ("timed on", lambda record: record.provenance.device_name),
    ("threads", lambda record: record.provenance.threads),
)
_TRAITS: dict[str, _Traits] = {
    "quality": (
        ("scored as", lambda record: _shown(at(record, "signatures"))),
        ("pictures", lambda record: sorted(picture.name for picture in at(record, "pictures"))),
    ),
    "lam": (
        ("attributed with settings", lambda record: at(record, "settings").model_dump()),
        (
            "windows",
            lambda record: [(w.picture, w.corner, w.window) for w in at(record, "windows")],
        ),
    ),
    "latency": _TIMED,
    "scaling_time": _TIMED,
}


def _shown(signatures: Mapping[str, str]) -> dict[str, str]:
    """Signatures of the scores that the page shows; pyiqa's metrics may not load everywhere."""
    return {name: how for name, how in signatures.items() if name.startswith(("psnr", "ssim"))}


def outliers(done: Iterable[tuple[Job, Record]]) -> Iterator[tuple[Job, str]]:
    """Jobs whose records were not measured as most of those are that stand beside them.

    Scores and maps stand beside those of their set and scale, times beside those of their scale and
    device, with which they make ratios. Where as many were measured one way as another, those that
    are listed first stand.
    """
    places: dict[tuple[object, ...], list[tuple[Job, Record]]] = {}
    for job, record in done:
        if isinstance(record, QualityRecord | AttributionRecord):
            place: tuple[object, ...] = (job.kind, record.dataset, record.scale)
        elif isinstance(job, TimeJob | TimeGrowthJob):
            place = (job.kind, job.device, job.subject.scale)
        else:
            continue
        places.setdefault(place, []).append((job, record))
    for (kind, *_), rows in places.items():
        for name, trait in _TRAITS[str(kind)]:
            values = [trait(record) for _, record in rows]
            usual = max(values, key=values.count)
            for (job, _), value in zip(rows, values):
                if value != usual:
                    here, there = map(shortened, _apart(value, usual))
                    yield job, f"{name} {here}, where most beside it have {there}{_ANEW}"


def _apart(a: object, b: object) -> tuple[object, object]:
    """Two values, or what stands first where two mappings differ."""
    if isinstance(a, dict) and isinstance(b, dict):
        return next((a.get(key), b.get(key)) for key in a | b if a.get(key) != b.get(key))
    return a, b


def of_other_weights(job: Job, record: Record, trained: Mapping[str, str | None]) -> str:
    """Whether a result is of other weights than its run was trained to.

    `trained` has the hash of each run's weights; None where they changed after training.
    """
    subject = getattr(job, "subject", None)
    if not isinstance(subject, TrainedNetwork) or subject.name not in trained:
        return ""
    known = trained[subject.name]
    if known is None:
        return f"the weights of {subject.name} changed after its training; rerun that"
    if isinstance(record, AttributionRecord) and record.weights_sha256 != known:
        return f"maps of other weights than {subject.name} was trained to{_ANEW}"
    return ""

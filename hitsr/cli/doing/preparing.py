"""Lay out the pictures of a set as LR/HR pairs."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import cast, get_args

from hitsr.base.errors import SpecError
from hitsr.base.files import visible
from hitsr.cli.options import say
from hitsr.data import sources
from hitsr.data.images import list_pictures
from hitsr.data.origins import Origins, degradation
from hitsr.data.packs import packed_pairs
from hitsr.data.patches import check_patch
from hitsr.data.photographs import Split, photographs
from hitsr.data.workers import on_all_cores
from hitsr.plan.jobs import PrepareJob
from hitsr.plan.picture_sets import holds_pictures, hr_folder
from hitsr.plan.watching import see
from hitsr.records import DatasetRecord, PictureFile
from hitsr.records.provenance import provenance

_WHEELS = "wheels:"


def prepare(job: PrepareJob) -> DatasetRecord:
    """Write missing pictures, check existing ones, and decode them into packs if asked to."""
    started, since_ns = time.monotonic(), time.time_ns()
    hr, lr = _given_pictures(job)
    done = sources.prepare(hr, job.folder, (job.scale,), say, lr)
    print(f"{job.folder}: x{job.scale}, {done.written} files written, {done.kept} kept")
    pairs = sources.pairs(job.folder, job.scale)
    pictures = _pictures(job, pairs, done.origins[0])
    if job.packs:
        packed_pairs(job.folder, job.scale, job.packs / job.dataset)
    record = DatasetRecord(
        subject=job.dataset,
        job_hash=job.hash,
        provenance=provenance("cpu", time.monotonic() - started),
        scale=job.scale,
        degradation=degradation((each.lr_sha256, each.lr_origin) for each in pictures),
        pictures=tuple(pictures),
    )
    found = list(zip(pairs, pictures, strict=True))
    see(
        job,
        hr={pair.hr: each.hr_sha256 for pair, each in found},
        lr={pair.lr: each.lr_sha256 for pair, each in found},
        since_ns=since_ns,
    )
    if job.output:
        record.save(job.output)
    return record


def _given_pictures(job: PrepareJob) -> tuple[dict[str, Path], dict[str, Path]]:
    """HR pictures by name; and LR pictures, where the source is another folder that has some."""
    if not job.source.startswith(_WHEELS):
        folder = Path(job.source)
        place = hr_folder(folder, job.scale)
        for inner in visible(place or folder, "*/"):
            if holds_pictures(inner):
                say(f"{inner}: not read, as no subfolder is; move its pictures up to add them")
        if place is None:
            return list_pictures(folder), {}
        hr, lr = sources.find_pictures(folder, job.scale)
        return hr, {} if folder.resolve() == job.folder.resolve() else dict(lr.files)
    split = job.source.removeprefix(_WHEELS)
    if split not in get_args(Split):
        known = " or ".join(get_args(Split))
        raise SpecError(f"{split}: not a set of the packaged photographs; name {known}")
    return {photo.name: photo.locate() for photo in photographs(cast(Split, split))}, {}


def _pictures(
    job: PrepareJob, pairs: Sequence[sources.Pair], origins: Origins
) -> list[PictureFile]:
    """The pairs of the prepared set; DataError names all that are smaller than a training patch."""

    def describe(pair: sources.Pair) -> PictureFile:
        origin = origins.files[pair.lr.name]
        if job.patch:
            check_patch(str(pair.lr), origin.lr_size[::-1], job.patch)
        return PictureFile(
            name=pair.name,
            lr_size=origin.lr_size,
            hr_size=origin.hr_size,
            lr_sha256=origin.lr_sha256,
            hr_sha256=origin.hr_sha256,
            lr_origin=origin.origin,
        )

    return on_all_cores(f"list {job.dataset} x{job.scale}", describe, pairs)

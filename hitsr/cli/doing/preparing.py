"""Lay out the pictures of a set as LR/HR pairs."""

import time
from pathlib import Path
from typing import cast, get_args

from PIL import Image

from hitsr.base.errors import SpecError
from hitsr.base.files import sha256
from hitsr.cli.options import say
from hitsr.data import sources
from hitsr.data.images import list_pictures
from hitsr.data.packs import packed_pairs
from hitsr.plan.jobs import PrepareJob
from hitsr.records import DatasetRecord, PictureFile
from hitsr.records.provenance import provenance

_WHEELS = "wheels:"


def prepare(job: PrepareJob) -> DatasetRecord:
    """Write missing pictures, check existing ones, and decode them into packs if asked to."""
    started = time.monotonic()
    done = sources.prepare(_hr_pictures(job.source), job.folder, (job.scale,), say)
    print(f"{job.folder}: x{job.scale}, {done.written} files written, {done.kept} kept")
    if job.packs:
        packed_pairs(job.folder, job.scale, job.packs / job.dataset)
    record = DatasetRecord(
        subject=job.dataset,
        job_hash=job.hash,
        provenance=provenance("cpu", time.monotonic() - started),
        scale=job.scale,
        pictures=tuple(map(_picture, sources.pairs(job.folder, job.scale))),
    )
    if job.output:
        record.save(job.output)
    return record


def _hr_pictures(source: str) -> dict[str, Path]:
    if not source.startswith(_WHEELS):
        folder = Path(source)
        return list_pictures(folder / "HR" if (folder / "HR").is_dir() else folder)
    split = source.removeprefix(_WHEELS)
    if split not in get_args(sources.Split):
        known = " or ".join(get_args(sources.Split))
        raise SpecError(f"{split}: not a set of the packaged photographs; name {known}")
    chosen = sources.photographs(cast(sources.Split, split))
    return {photograph.name: photograph.locate() for photograph in chosen}


def _picture(pair: sources.Pair) -> PictureFile:
    return PictureFile(
        name=pair.name,
        lr_size=_size(pair.lr),
        hr_size=_size(pair.hr),
        lr_sha256=sha256(pair.lr),
        hr_sha256=sha256(pair.hr),
    )


def _size(path: Path) -> tuple[int, int]:
    with Image.open(path) as picture:
        return picture.size

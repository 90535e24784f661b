"""Score finished pictures against HR. Loads torch only for metrics beyond PSNR and SSIM."""

import time
from collections.abc import Sequence
from pathlib import Path

from hitsr.base.errors import DataError, RecordError
from hitsr.data.origins import UNSTATED, check_hr, degradation_of, read_origins
from hitsr.data.sources import find_pictures
from hitsr.measure.quality import score_folders, signatures
from hitsr.plan.jobs import QualityJob
from hitsr.plan.layout import Layout
from hitsr.plan.picture_sets import hr_folder
from hitsr.records import DatasetRecord, PictureScore, QualityRecord, RestoredRecord
from hitsr.records.provenance import provenance
from hitsr.specs.config import Device


def score(job: QualityJob, device: Device = "auto") -> QualityRecord:
    """PSNR and SSIM of every picture; the job's other metrics are computed on `device`."""
    started, degradation = time.monotonic(), _degradation(job)
    scores, taken, unavailable, place = {}, signatures(degradation), {}, "cpu"
    if job.metrics:
        from hitsr.measure.perceptual import load_metrics
        from hitsr.runtime.devices import pick_device

        torch_device = pick_device(device)
        loaded = load_metrics(job.metrics, torch_device)
        scores, unavailable, place = loaded.scores, loaded.unavailable, str(torch_device)
        taken |= loaded.signatures
    scale = job.subject.scale
    hr = _named(job, job.inputs["hr"]) if "hr" in job.inputs else find_pictures(job.data, scale)[0]
    pictures = score_folders(job.inputs["sr"], hr, scale, scores)
    is_by_hand = "data" not in job.inputs and job.degradation is None
    if "data" in job.inputs:
        _check_restored(job, pictures)
    if is_by_hand and degradation != UNSTATED:
        _check_hr(job, pictures)
    return QualityRecord(
        subject=job.subject.name,
        job_hash=job.hash,
        provenance=provenance(place, time.monotonic() - started),
        method=job.subject.network_name,
        dataset=job.dataset,
        scale=scale,
        border=scale,
        signatures=taken,
        unavailable=unavailable,
        pictures=pictures,
    )


def _check_restored(job: QualityJob, pictures: Sequence[PictureScore]) -> None:
    """Raise RecordError unless the pictures are those that the pipeline's job made."""
    folder = job.inputs["sr"]
    anew = f"; delete {folder} and rerun"
    try:
        made = RestoredRecord.load(Layout.restored(folder), job.restored_hash)
    except RecordError as error:
        raise RecordError(str(error).replace("; delete it and rerun", anew)) from None
    for each in pictures:
        if made.pictures.get(each.name) != each.sr_sha256:
            raise RecordError(f"{folder}: {each.name} is not as {made.subject} made it{anew}")


def _named(job: QualityJob, hr: Path) -> Path | dict[str, Path]:
    """A folder of HR pictures; if it is a set's, its pictures by name, without endings as `_HR`."""
    try:
        place = hr_folder(job.data, job.subject.scale)
        is_of_set = place is not None and hr.is_dir() and place.samefile(hr)
        return find_pictures(job.data, job.subject.scale)[0] if is_of_set else hr
    except DataError:  # several folders: `prepare` tells which
        return hr


def _check_hr(job: QualityJob, pictures: Sequence[PictureScore]) -> None:
    """Raise DataError if HR pictures of a prepared set were replaced: the SR ones show others."""
    place = hr_folder(job.data, job.subject.scale)
    if place is None or not place.samefile(job.inputs["hr"]):
        return
    hr, lr = find_pictures(job.data, job.subject.scale)
    origins, hashes = read_origins(lr.folder), {each.name: each.hr_sha256 for each in pictures}
    for name, path in lr.files.items():
        digest = hashes.get(name)
        if digest:
            check_hr(path, hr[name], digest, origins)


def _degradation(job: QualityJob) -> str:
    """How the LR pictures were made: as given, or as the preparation of the set found."""
    if job.degradation is not None:
        return job.degradation
    if "data" in job.inputs:
        return DatasetRecord.load(job.inputs["data"], job.prepared_hash).degradation
    return degradation_of(job.data, job.subject.scale)

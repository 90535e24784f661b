"""Score finished pictures against HR. Loads torch only for metrics beyond PSNR and SSIM."""

import time

from hitsr.data.origins import degradation_of
from hitsr.data.sources import find_pictures
from hitsr.measure.quality import score_folders, signatures
from hitsr.plan.jobs import QualityJob
from hitsr.records import DatasetRecord, QualityRecord
from hitsr.records.provenance import provenance
from hitsr.specs.config import Device


def score(job: QualityJob, device: Device = "auto") -> QualityRecord:
    """PSNR and SSIM of every picture; the job's other metrics are computed on `device`."""
    started = time.monotonic()
    scores, taken, unavailable, place = {}, signatures(_degradation(job)), {}, "cpu"
    if job.metrics:
        from hitsr.measure.perceptual import load_metrics
        from hitsr.runtime.devices import pick_device

        torch_device = pick_device(device)
        loaded = load_metrics(job.metrics, torch_device)
        scores, unavailable, place = loaded.scores, loaded.unavailable, str(torch_device)
        taken |= loaded.signatures
    scale = job.subject.scale
    hr = job.inputs.get("hr") or find_pictures(job.data, scale)[0]
    pictures = score_folders(job.inputs["sr"], hr, scale, scores)
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


def _degradation(job: QualityJob) -> str:
    """How the LR pictures were made: as given, or as the preparation of the set found."""
    if job.degradation is not None:
        return job.degradation
    if "data" in job.inputs:
        return DatasetRecord.load(job.inputs["data"]).degradation
    return degradation_of(job.data, job.subject.scale)

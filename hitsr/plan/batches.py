"""Group jobs into batches, each for one process, and name the jobs of timings."""

import re
from collections.abc import Iterable

from hitsr.plan.jobs import CountJob, GrowthJob, Job, TimeGrowthJob, TimeJob

# Values of `asked_by`, besides the names of ablations.
CONFIG = "config"  # shown in the report
LATENCY = "latency"  # requested by `make latency`, at every scale

CostJob = CountJob | TimeJob | GrowthJob | TimeGrowthJob


def time_name(job: TimeJob) -> str:
    """`hit_sir-x2.cuda.fused`, `hit_sir-x2.cuda.fused.b4.float16.graph`.

    Default values (one picture, float32, eager, no other layout) are left out.
    """
    parts = (
        job.subject.name,
        job.device.replace(":", ""),
        job.formulation or "own",
        f"b{job.batch}" if job.batch > 1 else "",
        job.precision if job.precision != "float32" else "",
        job.launch if job.launch != "eager" else "",
        "channels_last" if job.channels_last else "",
    )
    return ".".join(filter(None, parts))


def cost_batches(jobs: Iterable[Job]) -> dict[str, list[CostJob]]:
    """Group jobs of costs into batches, by name; one process measures a batch.

    The config's jobs are grouped: latencies at one scale and batch take turns, so that they
    can be compared as ratios of neighbouring forwards; counts share the start of a process. A job
    that only ablations request has its own batch, so that a changed variant reruns nothing else.
    """
    found: dict[str, list[CostJob]] = {}
    for job in jobs:
        if isinstance(job, CostJob):
            found.setdefault(_batch_name(job), []).append(job)
    return found


def rule_name(batch: str) -> str:
    """The name of a batch as that of its rule in the pipeline, and of its log."""
    return re.sub(r"\W", "_", batch)


def _batch_name(job: CostJob) -> str:
    if not {CONFIG, LATENCY} & set(job.asked_by):
        return f"{job.kind}.{job.name}"
    scale = f"x{job.subject.scale}"
    match job:
        case TimeJob():
            batch = f".b{job.batch}" if job.batch > 1 else ""
            return f"latency.{scale}.{job.device}{batch}"
        case GrowthJob():
            return f"scaling.{scale}.{job.over}"
        case _:
            return f"{job.kind}.{scale}"

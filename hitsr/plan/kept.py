"""Records that wait until all jobs of their batch are done.

The pipeline deletes the outputs of a failed batch. Copies of its finished records stay, so that
they are shown, and are not measured again when the batch is repeated.
"""

import glob
import json
from collections.abc import Iterable
from pathlib import Path

from hitsr.base.files import write_bytes
from hitsr.plan.fingerprint import code_of
from hitsr.plan.jobs import Job


def kept_file(job: Job) -> Path:
    """Where the record of a job waits: apart from those that other code made."""
    assert job.output is not None
    return job.output.parent / ".kept" / code_of(job.kind) / job.output.name


def is_kept(job: Job) -> bool:
    """Whether a record of this very job waits."""
    try:
        return bool(json.loads(kept_file(job).read_bytes())["job_hash"] == job.hash)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def publish_kept(jobs: Iterable[Job]) -> None:
    """Copy waiting records to the outputs of their jobs."""
    for job in jobs:
        if is_kept(job):
            assert job.output is not None
            write_bytes(job.output, kept_file(job).read_bytes())


def forget_kept(jobs: Iterable[Job]) -> None:
    """Delete the waiting records of these jobs, those that other code made too."""
    for job in jobs:
        assert job.output is not None
        for file in (job.output.parent / ".kept").glob(f"*/{glob.escape(job.output.name)}"):
            file.unlink(missing_ok=True)

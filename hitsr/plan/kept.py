"""Results that wait for the pipeline: of an unfinished batch, and of jobs that were done ahead.

The pipeline deletes the outputs of a failed batch. Copies of its finished records stay, so that
they are shown, and are not measured again when the batch is repeated. Folders of pictures and of
attribution maps wait as a whole, until the pipeline starts their job.
"""

import glob
import hashlib
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import TypeVar

from hitsr.base.files import content_of, sha256, write_bytes, write_text
from hitsr.base.reading import MOST_JSON, parse_json
from hitsr.plan.fingerprint import code_of
from hitsr.plan.jobs import Job, MapJob, RestoreJob

FolderJob = RestoreJob | MapJob
F = TypeVar("F", RestoreJob, MapJob)


def result_of(job: Job) -> Path:
    """All that a job makes: its output; for maps, the folder around it."""
    assert job.output is not None
    return job.output.parent if isinstance(job, MapJob) else job.output


def kept_file(job: Job) -> Path:
    """Where the record or folder of a job waits: apart from those that other code made."""
    result = result_of(job)
    return result.parent / ".kept" / code_of(job.kind) / result.name


def begin(job: F) -> F:
    """The job with its output in a waiting folder; files of it are kept if they are of this job."""
    folder, state = kept_file(job), _state(job)
    if _read(_begun(job)) != state:
        shutil.rmtree(folder, ignore_errors=True)
        write_text(_begun(job), state)
    assert job.output is not None
    folder.mkdir(parents=True, exist_ok=True)
    return job.model_copy(update={"output": folder / job.output.relative_to(result_of(job))})


def finish(job: FolderJob) -> None:
    """Mark the waiting folder of a job as complete."""
    _begun(job).replace(_done(job))


def is_kept(job: Job) -> bool:
    """Whether a result of this very job waits; a folder also of these very inputs."""
    if isinstance(job, FolderJob):
        return kept_file(job).is_dir() and _read(_done(job)) == _state(job)
    try:
        return bool(parse_json(content_of(kept_file(job), MOST_JSON))["job_hash"] == job.hash)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def publish_kept(jobs: Iterable[Job]) -> None:
    """Copy waiting records to the outputs of their jobs, and move waiting folders there."""
    for job in jobs:
        if not is_kept(job):
            continue
        if isinstance(job, FolderJob):
            shutil.rmtree(result_of(job), ignore_errors=True)
            kept_file(job).rename(result_of(job))
            forget_kept([job])
        else:
            write_bytes(result_of(job), kept_file(job).read_bytes())


def forget_kept(jobs: Iterable[Job]) -> None:
    """Delete the waiting results of these jobs, those that other code made too."""
    for job in jobs:
        result = result_of(job)
        for name in (result.name, _begun(job).name, _done(job).name):
            for path in (result.parent / ".kept").glob(f"*/{glob.escape(name)}"):
                if path.is_dir():
                    shutil.rmtree(path)
                else:
                    path.unlink(missing_ok=True)


def _state(job: Job) -> str:
    """A hash of a job and of all files that it reads."""
    read = {role: path.is_file() and sha256(path) for role, path in sorted(job.inputs.items())}
    return hashlib.sha256(f"{job.hash} {read}".encode()).hexdigest()


def _begun(job: Job) -> Path:
    """Beside a waiting folder: of which job and inputs its files are."""
    return kept_file(job).with_name(f"{result_of(job).name}.begun")


def _done(job: Job) -> Path:
    """What the file `_begun` becomes when the folder is complete."""
    return kept_file(job).with_name(f"{result_of(job).name}.done")


def _read(path: Path) -> str | None:
    return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else None

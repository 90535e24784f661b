"""Records that wait for the rest of their batch."""

import json
from pathlib import Path

import pytest

from hitsr.plan import kept
from hitsr.plan.jobs import Job
from hitsr.plan.kept import forget_kept, is_kept, kept_file, publish_kept


@pytest.fixture
def job(planned, tmp_path: Path) -> Job:
    """A timing whose record waits."""
    found: Job = planned().find("results/tiny/records/latency/hit_sir-x2.cpu.fused.json")
    found = found.model_copy(update={"output": tmp_path / "latency/a[1].json"})
    wait(found, found.hash)
    return found


def wait(job: Job, job_hash: str) -> None:
    kept_file(job).parent.mkdir(parents=True, exist_ok=True)
    kept_file(job).write_text(json.dumps({"job_hash": job_hash}))


def test_a_waiting_record_is_published_and_forgotten(job: Job) -> None:
    assert is_kept(job)
    assert job.output is not None
    publish_kept([job])
    assert json.loads(job.output.read_text()) == {"job_hash": job.hash}
    forget_kept([job])
    assert not is_kept(job)
    assert job.output.is_file()


@pytest.mark.parametrize("harm", ["other job", "other code", "damaged"])
def test_a_record_of_another_job_or_code_does_not_count(
    job: Job, monkeypatch: pytest.MonkeyPatch, harm: str
) -> None:
    match harm:
        case "other job":
            wait(job, "0123456789abcdef")
        case "damaged":
            kept_file(job).write_text("[")
        case _:
            monkeypatch.setattr(kept, "code_of", lambda _: "0" * 16)
    assert not is_kept(job)
    publish_kept([job])
    assert job.output is not None
    assert not job.output.exists()
